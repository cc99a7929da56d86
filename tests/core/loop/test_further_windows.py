"""The best of a run with a validation pipeline of the user's own is tested on windows that it has not had."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import BasePipeline, EpisodeReturnEvaluator, LoopCallback, RLOptimizer
from tensor_optix.core.faults import PlayStoppedError
from tensor_optix.core.loop.further_windows import MOST_LOOKS, FurtherWindows
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import BadDataError
from tests.helpers import NumpyAgent, ScriptedPipeline, window_of

TRUE, SPREAD = -21.0, 10.0


def endless(*windows: EpisodeData) -> FurtherWindows:
    return FurtherWindows(iter(windows * 50).__next__)


class TestFurtherWindows:
    def test_each_play_is_the_next_window(self) -> None:
        windows = [window_of(1.0), window_of(2.0)]
        further = endless(*windows)
        assert further.fresh_seeds() == []
        assert [further.play([]), further.play([])] == windows

    def test_what_the_pipeline_raises_says_that_it_has_no_more(self) -> None:
        def fail() -> EpisodeData:
            raise LookupError("the file has ended")

        with pytest.raises(BadDataError, match="no further window: the file has ended"):
            FurtherWindows(fail).play([])

    def test_a_wish_to_end_is_no_failure(self) -> None:
        def stop() -> EpisodeData:
            raise PlayStoppedError

        with pytest.raises(PlayStoppedError):
            FurtherWindows(stop).play([])

    @pytest.mark.parametrize(("scores", "looks", "repeats"), [
        ([1.0, 1.0], 0, True),
        ([1.0, 2.0], 0, False),
        ([1.0, 2.0, 3.0], 3, False),
        ([1.0, 2.0, 3.0], 4, True),
    ])  # fmt: skip
    def test_windows_that_come_again_are_seen(self, scores: list[float], looks: int, repeats: bool) -> None:
        further = endless(*(window_of(score) for score in scores))
        assert (further.repeat(looks) is not None) is repeats

    def test_it_looks_no_further_than_is_worth_it(self) -> None:
        windows = [window_of(float(n)) for n in range(MOST_LOOKS + 5)]
        further = FurtherWindows(iter(windows).__next__)
        assert further.repeat(10**6) is None
        assert further.play([]) is windows[MOST_LOOKS]


class HeldOut(BasePipeline):
    """Returns that have nothing to do with the policy."""

    def __init__(self, score: Callable[[np.random.Generator], float], most: int | None = None) -> None:
        self.score, self.left, self.rng = score, most, np.random.default_rng(0)

    def episodes(self) -> Iterator[EpisodeData]:
        while self.left is None or self.left > 0:
            self.left = None if self.left is None else self.left - 1
            yield window_of(self.score(self.rng), length=20)


def lucky(rng: np.random.Generator) -> float:
    return float(rng.normal(TRUE, SPREAD))


def run(folder: Path, held_out: BasePipeline, windows: int = 40, **options: Any) -> TrainingReport:
    return RLOptimizer(
        NumpyAgent(),
        ScriptedPipeline([0.0] * windows),
        val_pipeline=held_out,
        evaluator=EpisodeReturnEvaluator(),
        checkpoint_dir=folder,
        **{"validation_share": None, "max_interval_episodes": 1, "dormant_threshold": 10**6, **options},
    ).run()


def test_the_highest_of_many_scores_is_not_reported_but_that_of_further_episodes(tmp_path: Path) -> None:
    report = run(tmp_path, HeldOut(lucky))
    assert report.confirmed
    assert report.best_interval is not None
    assert report.best_interval.low < TRUE < report.best_interval.high
    assert "unconfirmed" not in str(report)


@pytest.mark.parametrize(
    "held_out",
    [HeldOut(lambda rng: 3.0), HeldOut(lucky, most=40)],
    ids=["the same again", "no more"],
)
def test_where_it_can_give_no_further_episodes_the_best_is_unconfirmed(tmp_path: Path, held_out: HeldOut) -> None:
    report = run(tmp_path, held_out)
    assert not report.confirmed
    assert "unconfirmed" in str(report)


def test_a_pass_over_a_few_windows_is_known_for_what_it_is(tmp_path: Path) -> None:
    class Recorded(BasePipeline):
        def episodes(self) -> Iterator[EpisodeData]:
            yield from (window_of(float(n)) for n in range(5))

    assert not run(tmp_path, Recorded(), windows=12).confirmed


def test_a_live_pipeline_is_not_waited_for(tmp_path: Path) -> None:
    held_out = HeldOut(lucky, most=40)
    held_out.is_live = True
    assert not run(tmp_path, held_out).confirmed
    assert held_out.left == 0


def test_a_run_that_is_stopped_leaves_the_next_windows_to_itself(tmp_path: Path) -> None:
    held_out = HeldOut(lucky, most=5)
    optimizer = RLOptimizer(
        NumpyAgent(),
        ScriptedPipeline([0.0] * 5),
        val_pipeline=held_out,
        evaluator=EpisodeReturnEvaluator(),
        checkpoint_dir=tmp_path,
        callbacks=[Stopper(lambda: optimizer.stop())],
    )
    report = optimizer.run()
    assert (report.reason, report.confirmed, held_out.left) == ("stopped", False, 2)


class Stopper(LoopCallback):
    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        if window_id == 2:
            self.stop()


def test_a_score_that_counts_no_episodes_is_confirmed_too(tmp_path: Path) -> None:
    class Plain(EpisodeReturnEvaluator):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> Any:
            return replace(super().score(episode_data, train_diagnostics), metrics={})

    report = RLOptimizer(
        NumpyAgent(), ScriptedPipeline([0.0] * 5), HeldOut(lucky), Plain(), checkpoint_dir=tmp_path
    ).run()
    assert report.confirmed
