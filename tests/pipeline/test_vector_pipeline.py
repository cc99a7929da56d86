import json
import os
import signal
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from tensor_optix import RLOptimizer, VectorBatchPipeline, make_agent
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import (
    ContractError,
    EnvironmentFailedError,
    EnvironmentNotFoundError,
    InvalidArgumentError,
    SpaceError,
)
from tests.fakes.echo import Echo
from tests.fakes.vectors import ByStepAgent, CountingEnv, makers, windows_of
from tests.helpers import NumpyAgent


def test_one_forward_pass_per_step() -> None:
    class Counting(ByStepAgent):
        batches: list[int] = []

        def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
            self.batches.append(len(observations))
            return super().act_batch(observations)

    agent = Counting()
    windows_of(VectorBatchPipeline(makers(3), agent, window_size=6), 1)
    assert agent.batches == [3] * 6


def test_the_same_seed_repeats_the_stream() -> None:
    def stream(seed: int) -> np.ndarray:
        agent = make_agent("CartPole-v1", framework="torch", seed=0)
        return windows_of(VectorBatchPipeline(("CartPole-v1", 3), agent, window_size=40, seed=seed), 1)[0].observations

    np.testing.assert_array_equal(stream(1), stream(1))
    assert not np.array_equal(stream(1), stream(2))


def test_gymnasiums_own_vectorised_environment_is_taken_where_there_is_one() -> None:
    pipeline = VectorBatchPipeline(("CartPole-v1", 4), NumpyAgent())
    assert not isinstance(pipeline.env, SyncVectorEnv | AsyncVectorEnv)
    assert isinstance(VectorBatchPipeline(("Acrobot-v1", 2), NumpyAgent()).env, SyncVectorEnv)


def test_box_actions_are_rescaled_for_all_environments() -> None:
    agent = make_agent("Pendulum-v1", "ppo", "torch", seed=0)
    window = windows_of(VectorBatchPipeline(("Pendulum-v1", 2), agent, window_size=10, seed=0), 1)[0]
    assert window.actions.shape == (20, 1)
    assert np.abs(window.actions).max() > 1.0  # the policy's own scale is kept for learning


@pytest.mark.slow
def test_ppo_learns_from_it_with_validation(tmp_path: Any) -> None:
    agent = make_agent("CartPole-v1", framework="torch", seed=0, hyperparams={"learning_rate": 1e-3})
    pipeline = VectorBatchPipeline([lambda: gym.make("CartPole-v1")] * 8, window_size=256)
    report = RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, max_episodes=12, seed=0, val_episodes=3).run()
    assert report.env_steps == 12 * 8 * 256
    assert report.best_score > 150


class TestBadInput:
    @pytest.mark.parametrize("env_fns", [[], [3], "CartPole-v1", None, 5])
    def test_what_is_no_list_of_makers_is_refused(self, env_fns: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="env_fns must be functions"):
            VectorBatchPipeline(env_fns)

    def test_unknown_id_and_bad_number(self) -> None:
        with pytest.raises(EnvironmentNotFoundError, match="Did you mean 'CartPole-v1'"):
            VectorBatchPipeline(("CartPol-v1", 2))
        with pytest.raises(InvalidArgumentError, match=r"num_envs .* must be an integer of at least 1"):
            VectorBatchPipeline(("CartPole-v1", 0))
        with pytest.raises(InvalidArgumentError, match="window_size"):
            VectorBatchPipeline(("CartPole-v1", 2), window_size=0)

    def test_different_spaces(self) -> None:
        with pytest.raises(SpaceError, match="same spaces"):
            VectorBatchPipeline([lambda: gym.make("CartPole-v1"), lambda: gym.make("Acrobot-v1")])

    def test_an_undeclared_autoreset_mode(self) -> None:
        env = SyncVectorEnv(makers(2))
        env.metadata = {}
        with pytest.raises(InvalidArgumentError, match="must declare metadata"):
            VectorBatchPipeline(env)

    def test_an_agent_that_does_not_fit(self) -> None:
        agent: BaseAgent = make_agent("Acrobot-v1", framework="torch", seed=0)
        with pytest.raises(Exception, match="cannot take observations"):
            VectorBatchPipeline(("CartPole-v1", 2), agent).setup()


class FailingEnv(CountingEnv):
    """Number 1 fails after its sixth step, or in its second reset, in the way that it is told."""

    def __init__(self, number: int, where: str, fail: Any) -> None:
        super().__init__(number)
        self.where, self.fail = where, fail

    def reset(self, **arguments: Any) -> Any:
        if self.number == 1 and self.where == "reset" and self.episodes == 1:
            self.fail()
        return super().reset(**arguments)

    def step(self, action: int) -> Any:
        if self.number == 1 and self.where == "step" and self.steps > 6:
            self.fail()
        return super().step(action)


def raise_value_error() -> None:
    raise ValueError("the wheels came off")


def raise_unpicklable() -> None:
    class LocalError(Exception):
        pass

    raise LocalError("from inside")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def failing(where: str, fail: Any, mode: AutoresetMode, kind: Any) -> VectorBatchPipeline:
    env = kind([lambda i=i: FailingEnv(i, where, fail) for i in range(3)], autoreset_mode=mode)
    return VectorBatchPipeline(env, ByStepAgent(), window_size=40)


def assert_nothing_left(pipeline: VectorBatchPipeline) -> None:
    pipeline.teardown()
    pipeline.teardown()
    assert not any(process.is_alive() for process in getattr(pipeline.env, "processes", ()))
    assert pipeline.env.closed


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium prints the worker's traceback as warnings
class TestFailures:
    @pytest.mark.parametrize("where", ["step", "reset"])
    @pytest.mark.parametrize("mode", list(AutoresetMode))
    @pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
    def test_an_environment_that_raises_is_named_with_its_error_and_traceback(
        self, where: str, mode: AutoresetMode, kind: Any
    ) -> None:
        pipeline = failing(where, raise_value_error, mode, kind)
        with pytest.raises(EnvironmentFailedError, match="Environment 1 of 3") as caught:
            next(pipeline.episodes())
        for part in ("ValueError: the wheels came off", "in raise_value_error", "BatchPipeline"):
            assert part in str(caught.value)
        assert caught.value.code == "environment-failed"
        assert_nothing_left(pipeline)

    @pytest.mark.parametrize("where", ["step", "reset"])
    def test_a_worker_that_is_killed_is_named_with_its_signal(self, where: str) -> None:
        pipeline = failing(where, die, AutoresetMode.DISABLED, AsyncVectorEnv)
        with pytest.raises(EnvironmentFailedError, match=f"Environment 1 of 3 failed in {where}.*signal 9"):
            next(pipeline.episodes())
        assert_nothing_left(pipeline)

    def test_an_error_that_cannot_be_sent_does_not_hang(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tensor_optix.pipeline.environment.failures._REPORT_SECONDS", 0.2)
        pipeline = failing("step", raise_unpicklable, AutoresetMode.SAME_STEP, AsyncVectorEnv)
        with pytest.raises(EnvironmentFailedError, match="Environment 1 of 3"):
            next(pipeline.episodes())
        assert_nothing_left(pipeline)

    def test_a_process_that_ends_while_its_environment_is_made(self) -> None:
        here = os.getpid()
        with pytest.raises(EnvironmentFailedError, match="while it was made"):
            VectorBatchPipeline([lambda: CountingEnv(0) if os.getpid() == here else os._exit(3)] * 2, async_envs=True)  # type: ignore[list-item]

    def test_the_run_ends_with_everything_saved(self, tmp_path: Any) -> None:
        env = AsyncVectorEnv([lambda i=i: FailingEnv(i, "step", raise_value_error) for i in range(2)])
        pipeline = VectorBatchPipeline(env, ByStepAgent(), window_size=3)
        optimizer = RLOptimizer(pipeline.agent, pipeline, val_pipeline=None, checkpoint_dir=tmp_path)  # type: ignore[arg-type]
        with pytest.raises(EnvironmentFailedError, match="Environment 1"):
            optimizer.run()
        assert optimizer.registry.snapshots()
        assert_nothing_left(pipeline)


@pytest.mark.parametrize("is_async", [False, True])
def test_after_a_teardown_it_goes_on_with_other_episodes(is_async: bool) -> None:
    pipeline = VectorBatchPipeline(
        [lambda: gym.make("CartPole-v1")] * 2, ByStepAgent(), window_size=5, async_envs=is_async, seed=3
    )
    pipeline.agent = NumpyAgent()
    first, second = windows_of(pipeline, 1)[0], windows_of(pipeline, 1)[0]
    assert (first.episode_id, second.episode_id) == (0, 1)
    assert not np.array_equal(first.observations[0], second.observations[0])


def test_a_ready_vector_that_was_closed_is_named() -> None:
    pipeline = VectorBatchPipeline(SyncVectorEnv(makers(2)), ByStepAgent(), window_size=5)
    windows_of(pipeline, 1)
    with pytest.raises(ContractError, match="closed by teardown"):
        next(pipeline.episodes())


def test_observations_that_cannot_be_saved_are_followed_by_new_episodes(caplog: pytest.LogCaptureFixture) -> None:
    def pipeline() -> VectorBatchPipeline:
        kinds = spaces.Sequence(spaces.Discrete(3)), spaces.Discrete(2)
        return VectorBatchPipeline([partial(Echo, *kinds, seed) for seed in range(2)], NumpyAgent(), 7, seed=0)

    left, gone_on = pipeline(), pipeline()
    next(left.episodes())
    gone_on.restore_stream(json.loads(json.dumps(left.stream_state())))
    window = next(gone_on.episodes())
    assert window.episode_id == 1
    assert "a new one begins" in caplog.text
