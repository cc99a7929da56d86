"""Learning from windows: what is refused, what is tried again, and what follows from a divergence."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.faults import BAD_STEPS, FAILED_EPISODES, MOST_IN_A_ROW, BadStepsError, EpisodesFailedError
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.learning import (
    DIVERGENCE,
    WINDOW,
    Fault,
    Learning,
    after_divergence,
    non_finite_loss,
    window_fault,
)
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import BadDataError, ContractError, NonFiniteError
from tests.fakes.loops import FixedOptimizer
from tests.helpers import NumpyAgent, window_of


class Rig:
    def __init__(self, folder: Path, agent: NumpyAgent | None = None) -> None:
        self.agent = agent or NumpyAgent(learning_rate=0.5)
        self.registry, self.health, self.optimizer = CheckpointRegistry(folder), Health(), Forgetting()
        self.learning = Learning(Single(self.agent), self.registry, self.optimizer, self.health)


class Forgetting(FixedOptimizer):
    forgotten = 0

    def on_divergence(self) -> None:
        self.forgotten += 1


class Diverging(NumpyAgent):
    """Leaves another weight behind, and a loss that is not finite, or no number in its weights."""

    def __init__(self, loss: float = math.nan, tensor: str | None = None) -> None:
        super().__init__(learning_rate=0.5)
        self.loss, self.tensor = loss, tensor

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        super().learn(episode_data)
        return {"loss": self.loss}

    def first_non_finite(self) -> str | None:
        return self.tensor


class Restored(Diverging):
    def snapshot(self) -> object:
        return self.weight

    def restore(self, state: Any) -> None:
        self.weight = state


def bad_window() -> EpisodeData:
    return EpisodeData(**{**vars(window_of(1.0)), "rewards": np.array([math.nan, 1.0], np.float32)})


class TestCollecting:
    def test_the_end_of_a_pipeline_is_no_window(self, tmp_path: Path) -> None:
        assert Rig(tmp_path).learning.collected(iter(())) is None

    def test_bad_steps_on_the_way_are_counted_whatever_their_kind(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path)
        window = EpisodeData(**{**vars(window_of(1.0)), "metadata": {BAD_STEPS: {"NaN": 2, "shape": 1}}})
        assert rig.learning.collected(iter([window])) is window
        assert rig.learning.collected(iter([window_of(1.0)])) is not None
        assert rig.health.counts == {"step": 3}

    def test_failed_episodes_are_counted_by_how_their_environment_failed(self, tmp_path: Path) -> None:
        def failing() -> Iterator[EpisodeData]:
            yield EpisodeData(**{**vars(window_of(1.0)), "metadata": {FAILED_EPISODES: {"hung": hangs}}})
            raise EpisodesFailedError("three times in a row", {"died": {"a": 3}})

        hangs = {f"Environment {i} of 2 hung in step: no answer in 1 s": i + 1 for i in range(2)}

        rig, windows = Rig(tmp_path), failing()
        rig.learning.collected(windows)
        with pytest.raises(EpisodesFailedError, match="three times"):
            rig.learning.collected(windows)
        assert rig.health.counts == {"environment hung": 3, "environment died": 3}
        reasons = {"hung": {"step: no answer in 1 s": 3}, "died": {"a": 3}}
        assert rig.health.failed_episodes == reasons

    def test_those_of_a_window_that_never_came_are_counted_too(self, tmp_path: Path) -> None:
        def broken() -> Iterator[EpisodeData]:
            raise BadStepsError("nothing but NaN", {"NaN": 3})
            yield

        rig = Rig(tmp_path)
        with pytest.raises(BadStepsError, match="nothing but NaN"):
            rig.learning.collected(broken())
        assert rig.health.counts == {"step": 3}


class TestLearn:
    def test_a_good_window_is_learned_and_ends_every_streak(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path)
        for kind in (WINDOW, DIVERGENCE, "learn"):
            rig.health.fault(kind)
        assert rig.learning.learn(window_of(1.0), 0) == {"loss": 1.0}
        assert rig.health.in_a_row == {}
        assert rig.agent.weight == 0.5

    def test_a_bad_window_does_not_reach_the_agent(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path)
        fault = rig.learning.learn(bad_window(), 7)
        assert isinstance(fault, Fault)
        assert fault.kind == WINDOW
        assert str(fault) == (
            "window: Window 7 is not learned from: rewards is not finite in row 0 (environment 0, step 0)"
        )
        assert not rig.agent.learned

    @pytest.mark.parametrize(
        ("agent", "text"),
        [
            (Restored(math.inf), "learn() reported loss=inf in window 7"),
            (Restored(0.5, "actor.0.weight"), "actor.0.weight is not finite after learn() in window 7"),
        ],
    )
    def test_a_divergence_is_named_and_undone(self, tmp_path: Path, agent: Restored, text: str) -> None:
        agent.weight = 3.0
        assert Rig(tmp_path, agent).learning.learn(window_of(1.0), 7) == Fault(DIVERGENCE, text)
        assert agent.weight == 3.0

    def test_an_agent_that_cannot_be_copied_gets_the_best_snapshot(self, tmp_path: Path) -> None:
        agent = Diverging()
        rig = Rig(tmp_path, agent)
        agent.weight = 4.0
        rig.registry.save(agent, EvalMetrics(1.0))
        agent.weight = 9.0
        rig.learning.learn(window_of(1.0), 0)
        rig.registry.close()
        assert agent.weight == 4.0

    def test_without_a_copy_or_a_snapshot_it_is_left_as_it_is(self, tmp_path: Path) -> None:
        agent = Diverging()
        Rig(tmp_path, agent).learning.learn(window_of(1.0), 0)
        assert agent.weight == 0.5

    def test_a_learn_that_raises_twice_raises_out_with_the_agent_restored(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Raising(Restored):
            def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
                super().learn(episode_data)
                raise MemoryError(f"time {len(self.learned)}")

        agent = Raising()
        rig = Rig(tmp_path, agent)
        with pytest.raises(MemoryError, match="time 2"):
            rig.learning.learn(window_of(1.0), 0)
        assert agent.weight == 0.0
        assert rig.health.counts == {"learn": 1}
        assert "learn() raised in window 0, and is tried once more: MemoryError('time 1')" in caplog.messages


class TestRecovering:
    GOOD = HyperparamSet({"learning_rate": 0.4, "gamma": 0.9})

    def test_after_a_divergence_milder_values_are_in_force_and_the_trial_is_forgotten(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path)
        milder = rig.learning.recover(Fault(DIVERGENCE, "loss=nan"), 3, self.GOOD)
        assert milder is not None
        assert milder.params == rig.agent.params == {"learning_rate": 0.2, "gamma": 0.9}
        assert rig.optimizer.forgotten == 1

    def test_a_bad_window_changes_no_values(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path)
        assert rig.learning.recover(Fault(WINDOW, "NaN"), 3, self.GOOD) is None
        assert (rig.agent.params, rig.optimizer.forgotten) == ({"learning_rate": 0.5}, 0)

    @pytest.mark.parametrize(
        ("kind", "error", "advice"),
        [
            (WINDOW, BadDataError, "Look where the environment makes its observations and rewards"),
            (DIVERGENCE, NonFiniteError, "no snapshot could be scored before.*Lower the learning rate"),
        ],
    )
    def test_the_third_in_a_row_ends_the_run_with_advice(
        self, tmp_path: Path, kind: str, error: type[Exception], advice: str
    ) -> None:
        rig = Rig(tmp_path)
        for _ in range(MOST_IN_A_ROW - 1):
            rig.learning.recover(Fault(kind, "bad"), 0, self.GOOD)
        with pytest.raises(error, match=f"^bad.*{advice}"):
            rig.learning.recover(Fault(kind, "bad"), 0, self.GOOD)

    def test_the_snapshot_that_is_left_is_named(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path)
        saved = rig.registry.save(rig.agent, EvalMetrics(1.0))
        for _ in range(MOST_IN_A_ROW - 1):
            rig.learning.recover(Fault(DIVERGENCE, "bad"), 0, self.GOOD)
        with pytest.raises(NonFiniteError, match=f"snapshot {saved.snapshot_id} is kept"):
            rig.learning.recover(Fault(DIVERGENCE, "bad"), 0, self.GOOD)
        rig.registry.close()


def test_a_rate_that_is_no_number_is_left_as_it_is() -> None:
    assert after_divergence(NumpyAgent(), HyperparamSet({"learning_rate": "auto"})).params == {"learning_rate": "auto"}


def test_the_environment_and_the_step_of_a_bad_row_are_named() -> None:
    rewards = np.zeros(6, np.float32)
    rewards[4] = math.inf
    window = EpisodeData(**{**vars(window_of(1.0, length=6)), "rewards": rewards, "n_envs": 3})
    assert window_fault(window) == "rewards is not finite in row 4 (environment 2, step 0)"


def test_the_environment_of_a_bad_row_is_named_where_each_has_one_step() -> None:
    window = EpisodeData(**{**vars(window_of(math.inf, length=2)), "n_envs": 2})
    window.rewards[0] = 0.0
    assert window_fault(window) == "rewards is not finite in row 1 (environment 1, step 0)"


def test_observations_without_rows_are_a_fault() -> None:
    window = EpisodeData(**{**vars(window_of(1.0)), "observations": np.float32(0.0)})
    assert window_fault(window) == "observations has no rows, where the rewards have 2"


def test_observations_in_parts_are_looked_at_part_by_part() -> None:
    seen = {"a": np.zeros(2, np.float32), "b": (np.zeros((2, 3), np.float32), np.zeros(2, np.float32))}
    window = EpisodeData(**{**vars(window_of(1.0)), "observations": seen})
    assert window_fault(window) is None
    seen["b"][0][1, 2] = math.nan
    assert window_fault(window) == "observations is not finite in row 1 (environment 0, step 1)"
    seen["b"] = (np.zeros((3, 3), np.float32),)  # type: ignore[assignment]
    assert window_fault(window) == "observations has 3 rows, where the rewards have 2"


def test_a_tuple_may_be_of_rows() -> None:
    rows = (np.zeros(3, np.float32), np.full(3, math.inf, np.float32))
    window = EpisodeData(**{**vars(window_of(1.0)), "observations": rows})
    assert window_fault(window) == "observations is not finite in row 1 (environment 0, step 1)"


@pytest.mark.parametrize(
    ("diagnostics", "told"),
    [
        ({"loss": 1.0, "kl": math.nan}, None),
        ({"policy_loss": math.inf}, "learn() reported policy_loss=inf"),
        ({"loss": np.float32("nan")}, "learn() reported loss=nan"),
        ({"loss": "nan", "loss_parts": [1.0, 2.0], "value_loss": None}, None),
        ({"loss_parts": {}, "value_loss": -math.inf}, "learn() reported value_loss=-inf"),
    ],
)
def test_only_losses_that_are_numbers_are_looked_at(diagnostics: dict[str, Any], told: str | None) -> None:
    assert non_finite_loss(diagnostics) == told


def test_a_learn_without_diagnostics_says_what_it_must_return(tmp_path: Path) -> None:
    class Silent(NumpyAgent):
        def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
            return None  # type: ignore[return-value]

    with pytest.raises(ContractError, match=r"Silent\.learn must return diagnostics by name, but returned 'None'"):
        Rig(tmp_path, Silent()).learning.learn(window_of(1.0), 0)


def test_half_the_rate_stays_within_the_bounds_of_the_agent() -> None:
    class Bounded(NumpyAgent):
        default_param_bounds = {"learning_rate": (0.3, 1.0)}

    assert after_divergence(Bounded(), HyperparamSet({"learning_rate": 0.4})).params == {"learning_rate": 0.3}
    assert after_divergence(Bounded(), HyperparamSet({"learning_rate": 0.8})).params == {"learning_rate": 0.4}
    assert after_divergence(Bounded(), HyperparamSet({"gamma": 0.9}, 4)) == HyperparamSet({"gamma": 0.9}, 4)
