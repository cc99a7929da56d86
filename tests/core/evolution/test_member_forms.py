"""Members that see and act each in a form of its own: what they see, agree on, and learn from."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import BatchPipeline, EnsembleAgent, LivePipeline, PolicyManager, VectorBatchPipeline
from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.errors import ContractError
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tests.helpers import NumpyAgent


class Valve(gym.Env):
    """Observation {"kind": 0 to 2, "level": (1,)}; action: 0 to 100 %."""

    observation_space = spaces.Dict({"kind": spaces.Discrete(3), "level": spaces.Box(-1, 1, (1,), np.float32)})
    action_space = spaces.Box(0.0, 100.0, (1,), np.float32)

    def __init__(self) -> None:
        self.got: list[float] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.now = 0
        return self.seen(), {}

    def seen(self) -> Any:
        return {"kind": self.now % 3, "level": np.array([0.5], np.float32)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.now += 1
        self.got.append(float(action[0]))
        return self.seen(), 0.0, False, self.now == 4, {}


class Controller(NumpyAgent):
    """Answers 30 %, or ten more than the kind that it sees."""

    def act(self, observation: Any) -> Any:
        self.saw = observation
        return np.array([30.0], np.float32)

    def learn(self, episode_data: Any) -> dict[str, Any]:
        self.window = episode_data
        return {}


class Squashed(Controller):
    """Answers 0.8 of [-1, 1], which is 90 %."""

    action_range = (-1.0, 1.0)
    takes_flat_observations = True

    def act(self, observation: Any) -> Any:
        self.saw = observation
        return np.array([0.8], np.float32)


def mixed(folder: Path, *agents: NumpyAgent) -> EnsembleAgent:
    pm = PolicyManager(CheckpointRegistry(folder))
    for agent in agents:
        pm.add_agent(agent)
    return EnsembleAgent(pm, agents[0], seed=0)


def windows_of(agent: EnsembleAgent) -> Any:
    env = Valve()
    yield BatchPipeline(env, agent, window_size=6), env
    vector = gym.vector.SyncVectorEnv([Valve, Valve])
    yield VectorBatchPipeline(vector, agent, window_size=6), vector.envs[0]
    env = Valve()
    yield LivePipeline(EnvironmentSource(env), agent, LivePipeline.every_n_steps(6)), env


@pytest.mark.parametrize("primary", [Controller, Squashed])
def test_a_controller_and_a_squashed_policy_meet_in_the_environments_units(tmp_path: Path, primary: Any) -> None:
    own, squashed = Controller(), Squashed()
    agent = mixed(tmp_path, *((own, squashed) if primary is Controller else (squashed, own)))
    assert agent.action_range is None
    assert not agent.takes_flat_observations
    for pipeline, env in windows_of(agent):
        pipeline.setup()
        window = next(iter(pipeline.episodes()))
        pipeline.teardown()
        assert set(env.got) == {60.0}
        assert set(window.actions.reshape(-1).tolist()) == {60.0}
        assert window.observations["kind"].dtype == np.int64
        assert int(own.saw["kind"]) in (0, 1, 2)
        assert squashed.saw.shape == (4,)
        agent.learn(window)
        if primary is Controller:
            assert own.window.actions is window.actions
            assert own.window.observations is window.observations
        else:
            np.testing.assert_allclose(squashed.window.actions.reshape(-1), 0.2, rtol=1e-6)
            assert squashed.window.observations.shape == squashed.window.next_observations.shape == (window.length, 4)


def test_whole_percents_are_averaged_with_others(tmp_path: Path) -> None:
    class Whole(Controller):
        def act(self, observation: Any) -> Any:
            return np.array([30])

    agent, env = mixed(tmp_path, Whole(), Squashed()), Valve()
    next(BatchPipeline(env, agent, window_size=3).episodes())
    assert env.got == [60.0] * 3


def test_members_of_one_form_keep_it(tmp_path: Path) -> None:
    agent, env = mixed(tmp_path, Squashed(), Squashed()), Valve()
    assert agent.action_range == (-1.0, 1.0)
    assert agent.takes_flat_observations
    pipeline = BatchPipeline(env, agent, window_size=3)
    window = next(pipeline.episodes())
    np.testing.assert_allclose(window.actions.reshape(-1), 0.8, rtol=1e-6)
    assert window.observations.shape == (3, 4)
    assert env.got == pytest.approx([90.0] * 3)


def test_a_member_that_joins_later_is_translated_for_from_the_next_window_on(tmp_path: Path) -> None:
    agent, env = mixed(tmp_path, Squashed()), Valve()
    windows = BatchPipeline(env, agent, window_size=3).episodes()
    assert next(windows).observations.shape == (3, 4)
    agent._pm.add_agent(Controller())
    window = next(windows)
    assert window.observations["level"].shape == (3, 1)
    assert env.got == pytest.approx([90.0] * 3 + [60.0] * 3)


def test_the_greedy_view_of_an_ensemble_is_translated_for_too(tmp_path: Path) -> None:
    agent, env = mixed(tmp_path, Controller(), Squashed()), Valve()
    next(BatchPipeline(env, GreedyAgent(agent), window_size=3).episodes())
    assert env.got == [60.0] * 3


def test_before_it_is_wired_a_mixed_ensemble_says_what_it_lacks(tmp_path: Path) -> None:
    agent = mixed(tmp_path, Controller(), Squashed())
    with pytest.raises(ContractError, match=r"declare different forms.*Squashed: \(-1\.0, 1\.0\), True"):
        agent.act(Valve().observation_space.sample())


class Choosing(gym.Env):
    """Actions 3 and 4."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2, start=3)

    def __init__(self) -> None:
        self.got: list[int] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.got.append(int(action))
        return np.zeros(1, np.float32), 0.0, False, False, {}


class Chooser(NumpyAgent):
    """Takes the second of two actions, in the environment's numbers."""

    def act(self, observation: Any) -> Any:
        return 4


class FlatChooser(NumpyAgent):
    """The same, counted from 0."""

    gives_flat_actions = True

    def act(self, observation: Any) -> Any:
        return 1


class Telling(FlatChooser):
    """The same, with probabilities."""

    def action_probs(self, observations: Any, action_masks: Any = None) -> Any:
        return np.tile([0.0, 1.0], (len(observations), 1))


@pytest.mark.parametrize(
    ("agents", "flat"),
    [
        ([Chooser, FlatChooser], False),
        ([FlatChooser, Chooser], False),
        ([FlatChooser, FlatChooser], True),
        ([Telling, Telling], True),
        ([Telling, FlatChooser], True),
    ],
)
def test_members_that_count_otherwise_agree_on_one_action(tmp_path: Path, agents: list[Any], flat: bool) -> None:
    env, agent = Choosing(), mixed(tmp_path, *(make() for make in agents))
    pipeline = BatchPipeline(env, agent, window_size=4)
    pipeline.setup()
    next(pipeline.episodes())
    assert env.got == [4] * 4
    assert agent.gives_flat_actions is GreedyAgent(agent).gives_flat_actions is flat


def test_what_was_chosen_is_counted_from_zero_to_learn_how_likely_it_was(tmp_path: Path) -> None:
    class Own(Chooser):
        action_probs = Telling.action_probs

    class Learning(Telling):
        def learn(self, episode_data: Any) -> dict[str, Any]:
            self.window = episode_data
            return {}

    flat = Learning()
    agent = mixed(tmp_path, flat, Own())
    pipeline = BatchPipeline(Choosing(), agent, window_size=4)
    pipeline.setup()
    window = next(pipeline.episodes())
    assert window.actions.tolist() == [4] * 4
    agent.learn(window)
    assert flat.window.actions.tolist() == [1] * 4
    np.testing.assert_allclose(np.exp(flat.window.log_probs), 1.0)
