"""Windows of a fixed number of steps from one environment."""

from collections.abc import Iterator

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.types import EpisodeData
from tensor_optix.pipeline._environment import (
    ActionScaler,
    check_agent_fits,
    check_size,
    checked_reward,
    make_environment,
    rebuild,
)
from tensor_optix.pipeline._rollout import RolloutBuilder
from tensor_optix.pipeline.validation_pipeline import held_out


class BatchPipeline(BasePipeline):
    """Steps an environment without a pause and cuts the stream into windows.

    Episodes run on across windows, and across calls of `episodes()`; nothing is reset at a window's edge.

    Args:
        env: a Gymnasium environment, or an id to make one from.
        agent: who acts; `RLOptimizer` fills it in.
        window_size: T, steps per window.
        n_episodes: yield this many whole episodes per window, however many steps they take, instead of `window_size`.
        deterministic: act greedily where the agent can.
        seed: seed of the environment's first reset; None leaves it to `RLOptimizer(seed=...)`, or to chance.
        rescale_actions: map actions from [-1, 1] onto a Box with finite bounds.

    Raises:
        InvalidArgumentError: `window_size` or `n_episodes` below 1.
        EnvironmentNotFoundError: an unknown id.
    """

    def __init__(
        self,
        env: str | gym.Env,
        agent: BaseAgent | None = None,
        window_size: int = 200,
        *,
        n_episodes: int | None = None,
        deterministic: bool = False,
        seed: int | None = None,
        rescale_actions: bool = True,
    ) -> None:
        for name, value in (("window_size", window_size), ("n_episodes", 1 if n_episodes is None else n_episodes)):
            check_size(name, value)
        self.env = make_environment(env)
        self.agent = agent
        self.window_size = window_size
        self.n_episodes = n_episodes
        self._deterministic = deterministic
        self._seed = seed
        self._rescale_actions = rescale_actions
        self._to_env = ActionScaler(self.env.action_space, rescale_actions)
        self._builder = RolloutBuilder()
        self._observation = None
        self._is_first_reset = True
        self._next_window_id = 0

    def seed(self, seed: int) -> None:
        """Seed the environment's first reset, where the constructor did not."""
        if self._seed is None:
            self._seed = seed

    def setup(self) -> None:
        """Check that the agent fits the environment."""
        check_agent_fits(self.agent, self.env)

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows without end."""
        agent = check_agent_fits(self.agent, self.env)
        while True:
            yield self._collect(agent)

    def teardown(self) -> None:
        """Close the environment."""
        self.env.close()
        self._observation = None
        self._builder = RolloutBuilder()

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> BasePipeline | None:
        """Return a held-out pipeline on copies of the environment, or None (with a warning) if it cannot be rebuilt."""
        return held_out(
            lambda: [rebuild(self.env)], n_episodes, self.agent, seed=seed, rescale_actions=self._rescale_actions
        )

    def _collect(self, agent: BaseAgent) -> EpisodeData:
        env, builder, to_env = self.env, self._builder, self._to_env
        n_episodes, window_size = self.n_episodes, self.window_size
        act = self._greedy if self._deterministic else agent.act
        observation = self._observation
        if observation is None:
            observation, _ = env.reset(seed=self._seed if self._is_first_reset else None)
            self._is_first_reset = False
        while (len(builder) < window_size) if n_episodes is None else (builder.episodes_completed < n_episodes):
            if isinstance(observation, np.ndarray):  # the environment may go on changing it
                observation = observation.copy()
            action = act(observation)
            next_observation, reward, terminated, truncated, info = env.step(to_env(action))
            builder.add(
                observation,
                action,
                checked_reward(reward, env),
                terminated,
                truncated,
                info,
                next_observation,
            )
            observation = env.reset()[0] if terminated or truncated else next_observation
        self._observation = observation
        self._next_window_id += 1
        return builder.build(self._next_window_id - 1, observation)

    def _greedy(self, observation: object) -> object:
        assert self.agent is not None  # noqa: S101 - for the type checker; episodes() has looked
        return self.agent.act_batch([observation], deterministic=True)[0]
