"""Faults of windows and of learning in whole runs: what is learned, what is undone, and what ends the run."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer
from tensor_optix.core.loop.learning import (
    after_divergence,
    non_finite_loss,
    window_fault,
)
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import BadDataError, ContractError, NonFiniteError
from tests.fakes.loops import LoopRig
from tests.fakes.windows import windows
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


def invalid(field: str, place: Any, value: float) -> EpisodeData:
    (window,) = windows(1)
    array = np.array(getattr(window, field), np.float64)
    array[place] = value
    return EpisodeData(**{**vars(window), field: array})


class TestWindows:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize(
        ("field", "place"), [("observations", (5, 2)), ("next_observations", (5, 0)), ("rewards", 5), ("actions", 5)]
    )
    def test_a_value_that_is_not_finite_is_named_by_field_and_row(self, field: str, place: Any, value: float) -> None:
        fault = window_fault(invalid(field, place, value))
        assert fault == f"{field} is not finite in row 5 (environment 0, step 5)"

    def test_a_good_one_has_no_fault_and_one_with_rows_missing_has(self) -> None:
        (window,) = windows(1)
        assert window_fault(window) is None
        short = EpisodeData(**{**vars(window), "observations": window.observations[:-1]})
        assert window_fault(short) == "observations has 31 rows, where the rewards have 32"

    def test_a_bad_window_is_not_learned_and_the_third_in_a_row_ends_the_run(self, tmp_path: Path) -> None:
        class Invalid(ScriptedPipeline):
            def __init__(self, bad: set[int]) -> None:
                super().__init__([1.0] * 6)
                self.bad = bad

            def episodes(self):
                for number, window in enumerate(super().episodes()):
                    rewards = np.array(window.rewards)
                    if number in self.bad:
                        rewards[0] = math.nan
                    yield EpisodeData(**{**vars(window), "rewards": rewards})

        agent = NumpyAgent()
        optimizer = RLOptimizer(
            agent, Invalid({1, 2, 4}), val_pipeline=None, evaluator=ScoreEvaluator(), checkpoint_dir=tmp_path / "some"
        )
        assert optimizer.run().health == {"window": 3}
        assert agent.learned == [0, 3, 5]
        with pytest.raises(BadDataError, match="rewards is not finite in row 0"):
            RLOptimizer(NumpyAgent(), Invalid({1, 2, 3}), val_pipeline=None, checkpoint_dir=tmp_path / "many").run()


class TestDivergences:
    def test_half_the_learning_rate_and_the_values_before_within_the_bounds(self) -> None:
        class Bounded(NumpyAgent):
            default_param_bounds = {"learning_rate": (0.04, 1.0)}

        agent = Bounded(learning_rate=0.5)
        assert after_divergence(agent, HyperparamSet({"learning_rate": 0.1})).params == {"learning_rate": 0.05}
        assert after_divergence(agent, HyperparamSet({"learning_rate": 0.05})).params == {"learning_rate": 0.04}
        assert after_divergence(agent, HyperparamSet({"gamma": 0.9})).params == {"gamma": 0.9}

    def test_only_a_loss_that_is_a_number_and_not_finite_is_a_fault(self) -> None:
        assert non_finite_loss({"loss": 1.0, "entropy": math.nan, "loss_kind": "nan", "loss_parts": [1.0]}) is None
        assert non_finite_loss({"value_loss": np.float32("inf")}) == "learn() reported value_loss=inf"

    def test_a_learn_that_raises_is_tried_once_more_from_what_the_agent_was(self, tmp_path: Path) -> None:
        class Once(NumpyAgent):
            times = 0

            def snapshot(self) -> object:
                return self.weight

            def restore(self, state: Any) -> None:
                self.weight = state

            def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
                super().learn(episode_data)
                if episode_data.episode_id == 1:
                    self.times += 1
                    if self.times == 1:
                        self.weight = 99.0
                        raise MemoryError("full")
                return {}

        agent = Once()
        report = RLOptimizer(
            agent,
            ScriptedPipeline([1.0, 2.0, 3.0]),
            val_pipeline=None,
            evaluator=ScoreEvaluator(),
            checkpoint_dir=tmp_path,
            restore_best=False,
        ).run()
        assert report.health == {"learn": 1}
        assert agent.weight == pytest.approx(0.3)

    @pytest.mark.parametrize("returned", [None, [1], 0.5, "loss"])
    def test_a_learn_that_returns_no_diagnostics_is_told_so(self, returned: Any, tmp_path: Path) -> None:
        class Silent(NumpyAgent):
            def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
                return returned

        with pytest.raises(ContractError, match=r"Silent\.learn must return diagnostics by name"):
            RLOptimizer(Silent(), ScriptedPipeline([1.0]), None, ScoreEvaluator(), checkpoint_dir=tmp_path).run()


def test_three_divergences_leave_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    class Diverging(NumpyAgent):
        diverges = True

        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            super().learn(episode_data)
            return {"loss": math.nan if self.diverges and episode_data.episode_id >= 3 else 0.5}

    def optimizer(agent: NumpyAgent, *, resume: bool) -> RLOptimizer:
        pipeline = BatchPipeline("CartPole-v1", window_size=40)
        return RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, max_episodes=8, seed=1, resume=resume)

    with pytest.raises(NonFiniteError, match="the third time in a row"):
        optimizer(Diverging(), resume=False).run()
    mended = Diverging()
    mended.diverges = False
    report = optimizer(mended, resume=True).run()
    assert (report.windows, report.reason) == (8, "max_episodes")


def test_window_of_is_good() -> None:
    assert window_fault(window_of(1.0)) is None


@pytest.mark.parametrize("loss", [np.float32("nan"), np.array(np.inf), float("nan")])
def test_a_loss_of_any_number_type_that_is_not_finite_is_seen(tmp_path: Path, loss: Any) -> None:
    class Diverging(NumpyAgent):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            return {"loss": loss, "loss_kind": "mse", "loss_parts": [1.0]}

    with pytest.raises(NonFiniteError):
        LoopRig(tmp_path, [1.0] * 3, agent=Diverging()).run()
