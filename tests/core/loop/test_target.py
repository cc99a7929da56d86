"""The end of a run at a target score: what counts as reached, and what a lucky evaluation comes to."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, LoopCallback, RLOptimizer
from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.target import Target
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tests.fakes.basins import ENV, LOCAL, Climber
from tests.helpers import NumpyAgent


def best(score: float, *, tested: bool) -> PolicySnapshot:
    return PolicySnapshot(
        snapshot_id="000000",
        sequence=0,
        window_id=0,
        eval_metrics=EvalMetrics(score, {"final_episodes": 100.0} if tested else {}),
        hyperparams=HyperparamSet({}),
        created_at="2026-01-01T00:00:00",
    )


def seeded() -> Any:
    return SimpleNamespace(is_there=True, seeded=object())


class Rig:
    """A target of 9, a best, and a last test that shows a given score."""

    def __init__(self, score: float | None, *, tested: bool = False, shows: float = 0.0, **config: Any) -> None:
        snapshot = None if score is None else best(score, tested=tested)
        state = RunState(position=BackoffScheduler().initial(), best=snapshot)
        config = {"final_evaluation": True, "target_score": 9.0, **config}
        self.run: Any = SimpleNamespace(state=state, config=LoopConfig(**config))
        self.shows, self.tests = shows, 0
        self.target = Target(self.run, seeded(), self.settle)

    def settle(self) -> None:
        self.tests += 1
        self.run.state = replace(self.run.state, best=best(self.shows, tested=True))


@pytest.mark.parametrize(
    ("rig", "is_reached", "tests"),
    [
        (Rig(None), False, 0),
        (Rig(8.9), False, 0),
        (Rig(9.0, shows=9.0), True, 1),
        (Rig(9.9, shows=3.0), False, 1),
        (Rig(9.0, tested=True), True, 0),
        (Rig(99.0, target_score=None), False, 0),
        (Rig(9.0, final_evaluation=False), True, 0),
        (Rig(8.9, final_evaluation=False), False, 0),
    ],
    ids=["no best", "below", "claims rightly", "was lucky", "tested", "no target", "cannot be tested", "nor reaches"],
)
def test_a_claim_is_tested_once_before_it_counts(rig: Rig, is_reached: bool, tests: int) -> None:
    assert rig.target.is_reached() is is_reached
    assert rig.target.is_reached() is is_reached
    assert rig.tests == tests


def test_a_test_that_fails_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(9.0)
    assert not Target(rig.run, seeded(), failing).is_reached()
    assert "could not be tested" in caplog.text


@pytest.mark.parametrize(("shows", "tested", "is_reached"), [(9.0, True, True), (3.0, True, False), (9.9, False, True)])
def test_a_pipeline_without_seeds_is_asked_and_believed_where_it_gives_no_further_episodes(
    shows: float, tested: bool, is_reached: bool
) -> None:
    rig = Rig(9.9)

    def settle() -> None:
        rig.tests += 1
        rig.run.state = replace(rig.run.state, best=best(shows, tested=tested))

    validation: Any = SimpleNamespace(is_there=True, seeded=None)
    assert Target(rig.run, validation, settle).is_reached() is is_reached
    assert rig.tests == 1


def failing() -> None:
    raise OSError("the disk is full")


def run(folder: Path, agent: NumpyAgent, env: str, **arguments: Any) -> TrainingReport:
    given: dict[str, Any] = {"val_episodes": 2, "seed": 1, "max_windows": 40, "escape": False}
    pipeline = BatchPipeline(env, window_size=10)
    return RLOptimizer(agent, pipeline, checkpoint_dir=folder, **(given | arguments)).run()


def test_a_run_ends_with_the_window_in_which_its_confirmed_score_reaches_the_target(tmp_path: Path) -> None:
    report = run(tmp_path, Climber(), ENV, target_score=LOCAL - 0.1)
    assert (report.reason, report.confirmed) == ("target", True)
    assert report.best_score >= LOCAL - 0.1
    assert report.best_window == report.windows - 1
    assert report.windows < 15
    assert "target_score is reached" in str(report)


def test_a_resumed_run_goes_on_to_a_higher_target_and_stays_ended_at_the_same(tmp_path: Path) -> None:
    first = run(tmp_path, Climber(), ENV, target_score=LOCAL - 1.0)
    again = run(tmp_path, Climber(), ENV, target_score=LOCAL - 1.0, resume=True)
    further = run(tmp_path, Climber(), ENV, target_score=LOCAL - 0.1, resume=True)
    assert (again.reason, again.windows) == ("target", first.windows)
    assert further.reason == "target"
    assert further.windows > first.windows
    assert further.best_score >= LOCAL - 0.1


class Lottery(gym.Env):
    """One step an episode, which pays 10 or, every third time or so, nothing, whatever is done."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), 10.0 * float(self.np_random.random() < 0.7), True, False, {}


gym.register("tests/Lottery-v0", entry_point=f"{__name__}:Lottery")


def test_an_evaluation_that_was_lucky_does_not_end_a_run(tmp_path: Path) -> None:
    class Claims(LoopCallback):
        def on_improvement(self, snapshot: PolicySnapshot) -> None:
            claims.append(snapshot.eval_metrics.primary_score)

    claims: list[float] = []
    given: dict[str, Any] = {"target_score": 9.0, "max_windows": 3, "val_episodes": 1, "callbacks": [Claims()]}
    reports = [run(tmp_path / str(n), NumpyAgent(), "tests/Lottery-v0", seed=n, **given) for n in range(6)]
    assert max(claims) == 10.0
    assert [report.reason for report in reports] == ["max_episodes"] * 6
