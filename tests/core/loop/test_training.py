"""One window of training: what is learned, what is scored, and whose policy is kept for it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.schedules import LinearSchedule
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.learning import DIVERGENCE, WINDOW, Learning
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scheduling import Scheduling
from tensor_optix.core.loop.scoring import Scorer
from tensor_optix.core.loop.training import Training
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import CheckpointStorageError
from tests.fakes.checkpoints import litter
from tests.fakes.loops import FixedOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


class Probing(FixedOptimizer):
    probed_param = "learning_rate"


class Rig:
    def __init__(
        self,
        folder: Path,
        *,
        agent: NumpyAgent | None = None,
        held_out: BasePipeline | None = None,
        evaluator: ScoreEvaluator | None = None,
        schedules: Mapping[str, LinearSchedule] | None = None,
    ) -> None:
        self.folder = folder
        self.agent = agent or NumpyAgent(learning_rate=0.5)
        self.registry, self.progress = CheckpointRegistry(folder), RunProgress(lambda: 0.0)
        slot, optimizer = Single(self.agent), Probing(probing=True)
        self.scorer = Scorer(slot, self.registry, evaluator or ScoreEvaluator(), held_out, LoopConfig(), self.progress)
        self.training = Training(
            slot,
            self.registry,
            optimizer,
            Learning(slot, self.registry, optimizer, self.progress.health),
            self.scorer,
            self.progress,
            Scheduling(slot, schedules or {}, LoopConfig(max_episodes=10)),
        )

    def step(self, window: EpisodeData, *, is_due: bool = True) -> Outcome:
        state = RunState(position=BackoffScheduler().initial(), window_id=3, next_evaluation=3 if is_due else 4)
        return self.training.step(state, window)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.registry.close()


def test_a_window_that_is_not_due_is_learned_and_not_scored(rig: Rig) -> None:
    outcome = rig.step(window_of(1.0), is_due=False)
    assert rig.agent.weight == 0.5
    assert (outcome.metrics, outcome.staged, outcome.fault) == (None, None, None)
    assert (outcome.hyperparams.params, outcome.probed_param) == ({"learning_rate": 0.5}, "learning_rate")
    assert not litter(rig.folder)


def test_a_window_that_is_due_has_its_score_and_the_policy_that_collected_it(rig: Rig) -> None:
    rig.agent.weight = 4.0
    outcome = rig.step(window_of(7.0))
    assert outcome.metrics is not None
    assert (outcome.metrics.primary_score, outcome.is_best, outcome.is_validated) == (7.0, True, False)
    assert outcome.is_probing
    assert rig.agent.weight == 4.5
    assert outcome.staged is not None
    saved = rig.registry.commit(outcome.staged, outcome.metrics, 3, rig.agent.get_hyperparams())
    rig.registry.load_best(rig.agent, saved)
    assert rig.agent.weight == 4.0


def test_with_validation_what_has_learned_is_scored_and_nothing_is_staged(tmp_path: Path) -> None:
    rig = Rig(tmp_path, held_out=ScriptedPipeline([2.0]))
    outcome = rig.step(window_of(7.0))
    assert outcome.metrics is not None
    assert (outcome.metrics.primary_score, outcome.staged, outcome.is_validated) == (2.0, None, True)
    assert not litter(rig.folder)


def test_the_values_are_those_in_force_while_the_window_was_collected(tmp_path: Path) -> None:
    class Decaying(NumpyAgent):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            self.params["learning_rate"] /= 2
            return {}

    outcome = Rig(tmp_path, agent=Decaying(0.5)).step(window_of(1.0), is_due=False)
    assert outcome.hyperparams.params == {"learning_rate": 0.5}


class Diverging(NumpyAgent):
    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {"loss": float("nan")}


class Raising(NumpyAgent):
    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        raise MemoryError("full")


@pytest.mark.parametrize("kind", [WINDOW, DIVERGENCE])
def test_a_fault_is_not_scored_and_leaves_no_staged_policy(tmp_path: Path, kind: str) -> None:
    rig = Rig(tmp_path, agent=Diverging() if kind == DIVERGENCE else NumpyAgent())
    window = window_of(1.0)
    if kind == WINDOW:
        window = EpisodeData(**{**vars(window), "rewards": np.full(2, np.nan, np.float32)})
    outcome = rig.step(window)
    assert outcome.fault is not None
    assert (outcome.fault.kind, outcome.metrics, outcome.staged) == (kind, None, None)
    assert not litter(rig.folder)
    rig.registry.close()


def test_an_error_of_the_agent_leaves_no_staged_policy(tmp_path: Path) -> None:
    rig = Rig(tmp_path, agent=Raising())
    with pytest.raises(MemoryError, match="full"):
        rig.step(window_of(1.0))
    assert not litter(rig.folder)
    rig.registry.close()


def test_an_error_of_the_evaluator_leaves_no_staged_policy(tmp_path: Path) -> None:
    class Stopped(ScoreEvaluator):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
            raise KeyboardInterrupt

    rig = Rig(tmp_path, evaluator=Stopped())
    with pytest.raises(KeyboardInterrupt):
        rig.step(window_of(1.0))
    assert not litter(rig.folder)
    rig.registry.close()


def test_a_disk_that_does_not_take_the_policy_costs_the_crown_and_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Any:
        raise CheckpointStorageError("No space left on device")

    rig = Rig(tmp_path)
    monkeypatch.setattr(rig.registry, "stage", full)
    outcome = rig.step(window_of(7.0))
    assert outcome.metrics is not None
    assert (outcome.metrics.primary_score, outcome.is_best, outcome.staged) == (7.0, False, None)
    assert (rig.agent.weight, rig.progress.health.counts) == (0.5, {"storage": 1})
