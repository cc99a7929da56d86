import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of

BEST, LUCKY, LAST = 5.0, 9.0, 3.0


class HeldOut(BasePipeline):
    """The first policy is worth 5. The last one is worth 3, and looks like 9 on the episodes that nobody challenged."""

    def __init__(
        self, agent: NumpyAgent, on_final_play: Callable[[], object], on_last_score: Callable[[], object]
    ) -> None:
        self.agent, self.on_final_play, self.on_last_score = agent, on_final_play, on_last_score

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            if self.agent.weight == 2.0:
                self.on_last_score()
            yield window_of(BEST if self.agent.weight == 1.0 else LUCKY)

    def fresh_seeds(self) -> list[int]:
        return [0]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        if self.agent.weight == 2.0:
            self.on_final_play()
        return window_of(BEST if self.agent.weight == 1.0 else LAST)


def interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise OSError("the environment died")


def loop_in(
    folder: Path,
    agent: NumpyAgent,
    on_final_play: Callable[[], object],
    on_last_score: Callable[[], object] = lambda: None,
) -> LoopController:
    registry = CheckpointRegistry(folder)
    registry.open()
    return LoopController(
        LoopParts(
            agent=agent,
            pipeline=ScriptedPipeline([0.0, 0.0], agent),
            val_pipeline=HeldOut(agent, on_final_play, on_last_score),
            evaluator=ScoreEvaluator(),
            optimizer=BackoffOptimizer({}),
            registry=registry,
            history=History(folder / "history.jsonl"),
        ),
        LoopConfig(scheduler=BackoffScheduler(base_interval=2, max_interval=2), final_evaluation=True),
    )


def test_a_last_policy_that_has_lost_the_last_test_does_not_rank(tmp_path: Path) -> None:
    agent = NumpyAgent(learning_rate=1.0)
    report = loop_in(tmp_path, agent, lambda: None).run()
    assert (report.best_score, report.best_window, agent.weight) == (BEST, 0, 1.0)
    scores = [s.eval_metrics.primary_score for s in CheckpointRegistry(tmp_path).ranked_snapshots]
    assert scores == [BEST]


def test_a_last_policy_that_cannot_be_played_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def bad_step() -> None:
        raise BadDataError("a bad step")

    agent = NumpyAgent(learning_rate=1.0)
    loop = loop_in(tmp_path, agent, lambda: None, bad_step)
    report = loop.run()
    assert (report.reason, report.best_score, report.best_window, agent.weight) == ("exhausted", BEST, 0, 1.0)
    assert "The last policy is not among those that are tested: a bad step" in caplog.text


@pytest.mark.parametrize("how", ["stopped", "interrupted", "failed"])
def test_a_last_policy_that_was_not_tested_is_not_the_best(tmp_path: Path, how: str) -> None:
    agent = NumpyAgent(learning_rate=1.0)
    on_final_play = {"stopped": lambda: loop.stop(), "interrupted": interrupt, "failed": fail}[how]
    loop = loop_in(tmp_path, agent, on_final_play)
    if how == "failed":
        with pytest.raises(OSError, match="the environment died"):
            loop.run()
    else:
        loop.run()
    report = loop.report()
    assert (report.best_score, report.best_window, agent.weight) == (BEST, 0, 1.0)
    registry = CheckpointRegistry(tmp_path)
    assert [s.eval_metrics.primary_score for s in registry.ranked_snapshots] == [BEST]
    assert len(registry.snapshots()) == 2  # it is kept, for whoever wants it
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [listed["score"] for listed in manifest["snapshots"]] == [BEST, None]
