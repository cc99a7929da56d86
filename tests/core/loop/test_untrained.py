"""The untrained policy plays at the start, and a best that is not ahead of it has learned nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.faults import CUT_EPISODES, EPISODE_LIMIT
from tensor_optix.core.loop.untrained import FEWEST_EPISODES, LONGEST, MOST_EPISODES, SHORT_STEPS
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import BadDataError
from tests.fakes.loops import LoopRig
from tests.helpers import NumpyAgent, ScriptedPipeline, window_of


class Held(ScriptedPipeline):
    """Validation whose return depends on the policy's weight and on the seed."""

    def __init__(self, agent: NumpyAgent, worth: Callable[[float, int], float], size: int = 5, length: int = 2) -> None:
        super().__init__([], agent)
        self.worth, self.size, self.length, self.seeds = worth, size, length, 0
        self.max_episode_steps = 10_000
        self.played: list[tuple[float, tuple[int, ...]]] = []
        self.limits: list[int] = []

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        self.seeds += self.size
        return list(range(self.seeds - self.size, self.seeds))

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        assert isinstance(self.agent, NumpyAgent)
        weight = self.agent.weight
        self.played.append((weight, tuple(seeds)))
        self.limits.append(self.max_episode_steps)
        length = min(self.length, self.max_episode_steps)
        window = EpisodeData.concatenate([window_of(self.worth(weight, seed), length=length) for seed in seeds])
        is_cut = length < self.length
        return replace(window, metadata={EPISODE_LIMIT: length, CUT_EPISODES: len(seeds)} if is_cut else {})


class Rig(LoopRig):
    """A loop with held-out episodes; `worth` of a policy by its weight, which each window raises by 0.1."""

    def __init__(
        self,
        folder: Path,
        worth: Callable[[float, int], float],
        windows: int = 60,
        *,
        held: dict[str, Any] | None = None,
        held_out: type[Held] = Held,
        **more: Any,
    ) -> None:
        agent = NumpyAgent()
        self.held = held_out(agent, worth, **(held or {}))
        values: dict[str, Any] = {"evaluator": EpisodeReturnEvaluator(), "final_evaluation": True, "tick": 0.01}
        super().__init__(folder, [0.0] * windows, agent=agent, val_pipeline=self.held, **values | more)

    @property
    def start(self) -> list[tuple[int, ...]]:
        """Seeds of what the untrained policy played."""
        return [seeds for weight, seeds in self.held.played if weight == 0.0]


def learning(weight: float, seed: int) -> float:
    return min(10.0 * weight, 20.0) + seed % 3


def never(weight: float, seed: int) -> float:
    return 0.0


def noise(weight: float, seed: int) -> float:
    """Returns that vary with the seed and the policy, and do not rise."""
    return float(np.random.default_rng([round(10 * weight), seed]).integers(7))


def test_a_best_that_is_ahead_has_converged(tmp_path: Path) -> None:
    rig = Rig(tmp_path, learning)
    report = rig.run()
    assert (report.reason, report.converged, report.ahead_of_start, report.advice) == ("converged", True, True, "")
    assert report.start_score == pytest.approx(1.0, abs=0.02)
    assert report.start_interval is not None
    assert 0.0 < report.start_std_err < 0.1


@pytest.mark.parametrize(
    ("worth", "words"),
    [(never, "Every episode had the return 0"), (noise, "Returns differ, but no policy came out ahead")],
)
def test_a_best_that_is_not_ahead_has_learned_nothing(
    tmp_path: Path, worth: Callable[[float, int], float], words: str
) -> None:
    report = Rig(tmp_path, worth).run()
    assert (report.reason, report.converged, report.ahead_of_start) == ("nothing_learned", False, False)
    assert report.advice.startswith(words)
    assert str(report).splitlines()[1] == "  Nothing Learned"
    assert "  Untrained        : " in str(report)


@pytest.mark.parametrize(("target", "is_ahead"), [(None, True), (100.0, False), (15.0, True)])
def test_what_is_hardly_nearer_to_the_target_has_learned_nothing(
    tmp_path: Path, target: float | None, is_ahead: bool
) -> None:
    def hardly(weight: float, seed: int) -> float:
        return min(weight, 0.5) / 3.0 + 0.01 * (seed % 3)

    report = Rig(tmp_path, hardly, patience=Patience(is_scaled=False, reward_threshold=target)).run()
    assert report.ahead_of_start is is_ahead
    assert report.reason == ("converged" if is_ahead else "nothing_learned")


def test_the_untrained_policy_plays_before_anything_else_and_its_seeds_are_nobody_elses(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never)
    rig.run()
    n = len(rig.start)
    assert [weight for weight, _ in rig.held.played[:n]] == [0.0] * n
    assert sum(len(seeds) for seeds in rig.start) == MOST_EPISODES
    assert len(set(rig.start)) == n
    others = {seeds for weight, seeds in rig.held.played if weight != 0.0}
    assert rig.held.played[-n:] == [(0.1, seeds) for seeds in rig.start]  # the best of window 0, after the last test
    assert len(others) > n


@pytest.mark.parametrize(
    ("size", "length", "episodes"),
    [(5, 100, 25), (5, 1_000, 5), (5, 9_999, 5), (1, 1_000, 5), (1, 300, 7), (40, 1_000, 5), (3, 9_999, 6)],
)
def test_its_episodes_are_few_where_they_are_long(tmp_path: Path, size: int, length: int, episodes: int) -> None:
    rig = Rig(tmp_path, never, windows=1, held={"size": size, "length": length})
    rig.run()
    is_cut_short = length > SHORT_STEPS  # then the first window is played again
    assert sum(len(seeds) for seeds in rig.start[is_cut_short:]) == episodes >= FEWEST_EPISODES
    spent = rig.loop.state.validation
    assert 0 < spent.start <= spent.steps
    assert rig.held.limits[: len(rig.start)] == [SHORT_STEPS, *[LONGEST] * (len(rig.start) - 1)]
    assert rig.start[0] == rig.start[int(is_cut_short)]
    assert (rig.loop.state.validation.cut == 0) is (length <= LONGEST)
    assert 10_000 in rig.held.limits
    assert rig.held.max_episode_steps == 10_000


def test_in_a_slow_simulator_they_are_cut_short_and_the_best_plays_them_as_long(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never, windows=1, held={"length": 9_999}, tick=3.0)
    report = rig.run()
    played = zip(rig.held.played, rig.held.limits, strict=True)
    compared = [(weight, limit) for (weight, seeds), limit in played if seeds in rig.start]
    assert compared == [*[(0.0, SHORT_STEPS)] * 3, *[(pytest.approx(0.1), SHORT_STEPS)] * 3]
    assert report.start_limit == SHORT_STEPS
    assert f", cut after {SHORT_STEPS} steps" in str(report)


def test_returns_of_episodes_that_were_cut_at_different_lengths_are_not_compared(tmp_path: Path) -> None:
    class Endless(Held):
        """Each step pays 1, and no policy comes to an end."""

        def play(self, seeds: Sequence[int]) -> EpisodeData:
            self.worth = lambda weight, seed: float(self.max_episode_steps)
            return super().play(seeds)

    rig = Rig(tmp_path, never, held={"length": 99_999}, held_out=Endless)
    report = rig.run()
    assert (report.start_score, report.best_score) == (LONGEST, 10_000) == (report.start_limit, report.best_limit)
    assert (report.reason, report.ahead_of_start) == ("nothing_learned", False)


@pytest.mark.parametrize(
    ("reason", "expected"), [(StopReason.BUDGET, "nothing_learned"), (StopReason.STOPPED, "stopped")]
)
def test_a_spent_spawn_budget_does_not_hide_that_nothing_was_learned(
    tmp_path: Path, reason: StopReason, expected: str
) -> None:
    class Ends(LoopCallback):
        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            if window_id == 2:
                rig.loop.stop(reason)

    rig = Rig(tmp_path, never, callbacks=[Ends()])
    report = rig.run()
    assert (report.reason, report.converged, report.ahead_of_start) == (expected, False, False)


def test_a_best_that_is_ahead_beyond_doubt_does_not_play_them_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, learning)
    rig.run()
    assert not [seeds for weight, seeds in rig.held.played if weight > 0.0 and seeds in rig.start]


@pytest.mark.parametrize("worth", [20.0, 19.0])
def test_a_target_that_the_untrained_policy_reaches_is_no_failure(tmp_path: Path, worth: float) -> None:
    rig = Rig(tmp_path, lambda weight, seed: worth, patience=Patience(is_scaled=False, reward_threshold=20.0))
    report = rig.run()
    assert report.ahead_of_start is False
    assert (report.reason, report.advice == "") == (
        ("converged", True) if worth == 20.0 else ("nothing_learned", False)
    )


def test_a_run_that_ends_early_keeps_its_reason_and_says_it_all_the_same(tmp_path: Path) -> None:
    report = Rig(tmp_path, never, max_episodes=3).run()
    assert (report.reason, report.ahead_of_start) == ("max_episodes", False)
    assert report.advice.startswith("Train longer first.")
    text = " ".join(str(report).split())
    assert "The best is not ahead of the untrained policy. Train longer first." in text


def test_a_run_that_is_stopped_plays_no_more_and_judges_by_what_it_has(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never)
    worth = rig.held.worth
    rig.held.worth = lambda weight, seed: (rig.loop.stop() if weight > 0.25 else None) or worth(weight, seed)
    report = rig.run()
    assert (report.reason, report.ahead_of_start) == ("stopped", False)
    assert len(rig.start) == len({seeds for _, seeds in rig.held.played if seeds in rig.start})
    assert not [seeds for weight, seeds in rig.held.played if weight > 0.0 and seeds in rig.start]


def test_episodes_that_cannot_be_played_compare_with_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never)

    def broken(weight: float, seed: int) -> float:
        if weight == 0.0:
            raise BadDataError("a bad step")
        return 0.0

    rig.held.worth = broken
    report = rig.run()
    assert rig.loop.state.start == ()
    # The first validation was after learning, and the one episode of the first window says nothing.
    assert (report.reason, report.ahead_of_start, report.start_score) == ("converged", None, 0.0)


def test_the_agent_holds_the_best_and_the_learner_its_own(tmp_path: Path) -> None:
    for restores, weight in ((True, 0.1), (False, 0.5)):
        rig = Rig(tmp_path / str(restores), never, restore_best=restores)
        rig.run()
        assert rig.agent.weight == pytest.approx(weight)


def test_each_record_of_the_history_has_the_score_of_the_start(tmp_path: Path) -> None:
    rig = Rig(tmp_path, learning)
    rig.run()
    assert {record.start_score for record in rig.history()} == {rig.loop.state.start_score}


class TestWithoutSeeds:
    def run(self, folder: Path, scores: list[float], error: float | None = 0.0, **more: Any) -> Any:
        class Known(EpisodeReturnEvaluator):
            def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
                metrics = super().score(episode_data, train_diagnostics)
                extra = {} if error is None else {"score_std_err": error}
                return EvalMetrics(metrics.primary_score, {**metrics.metrics, **extra}, metrics.episode_id)

        return LoopRig(folder, scores, evaluator=Known(), dormant=8, **more).run()

    def test_the_first_window_is_the_start(self, tmp_path: Path) -> None:
        report = self.run(tmp_path, [3.0] * 30, 0.1)
        assert (report.reason, report.start_score, report.start_std_err) == ("nothing_learned", 3.0, 0.1)
        risen = self.run(tmp_path / "risen", [float(min(n, 20)) for n in range(60)], 0.1)
        assert (risen.reason, risen.ahead_of_start, risen.start_score) == ("converged", True, 0.0)

    def test_without_a_known_error_nothing_is_said(self, tmp_path: Path) -> None:
        report = self.run(tmp_path, [3.0] * 30, None)
        assert (report.reason, report.ahead_of_start, report.start_interval) == ("converged", None, None)

    def test_a_run_in_which_no_episode_ends_says_so(self, tmp_path: Path) -> None:
        report = LoopRig(tmp_path, [None] * 5, evaluator=EpisodeReturnEvaluator()).run()
        assert (report.reason, report.ahead_of_start) == ("exhausted", None)
        assert report.advice.startswith("No training episode has ended.")
