"""Windows of a fixed number of steps from one environment."""

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tensor_optix.core.types import EpisodeData
from tensor_optix.pipeline._environment import (
    ActionScaler,
    check_agent_fits,
    check_size,
    checked_reward,
    make_environment,
    rebuild,
)
from tensor_optix.pipeline._infos import MaskedActing, mask_in
from tensor_optix.pipeline._normalization import Normalization
from tensor_optix.pipeline._observations import ObservationFlattener
from tensor_optix.pipeline._rollout import RolloutBuilder
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline, held_out


class BatchPipeline(BasePipeline):
    """Steps an environment without a pause and cuts the stream into windows.

    Episodes run on across windows, and across calls of `episodes()`; nothing is reset at a window's edge. Observations
    that are no arrays are flattened; where infos carry an `"action_mask"`, an agent that has `act_masked` keeps to it.

    Args:
        env: a Gymnasium environment, or an id to make one from.
        agent: who acts; `RLOptimizer` fills it in.
        window_size: T, steps per window.
        n_episodes: yield this many whole episodes per window, however many steps they take, instead of `window_size`.
        deterministic: act greedily where the agent can.
        seed: seed of the environment's first reset; None leaves it to `RLOptimizer(seed=...)`, or to chance.
        rescale_actions: map actions from [-1, 1] onto a Box with finite bounds.
        normalize_observations: scale observations by running statistics, which are saved with each snapshot; True, or
            a normaliser of your own.
        normalize_rewards: divide rewards by the deviation of the running return; `completed` keeps the raw returns.

    Raises:
        InvalidArgumentError: `window_size` or `n_episodes` below 1.
        EnvironmentNotFoundError: an unknown id.
        SpaceError: observations that can be neither passed nor flattened.
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
        normalize_observations: bool | ObsNormalizer = False,
        normalize_rewards: bool | RewardNormalizer = False,
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
        self._flattener = ObservationFlattener(self.env.observation_space)
        self._normalization = Normalization(normalize_observations, normalize_rewards, self._flattener.space)
        self._act_masked = MaskedActing()
        self._builder = RolloutBuilder()
        self._observation: Any = None
        self._mask: np.ndarray | None = None
        self._is_first_reset = True
        self._next_window_id = 0

    def seed(self, seed: int) -> None:
        """Seed the environment's first reset, where the constructor did not."""
        if self._seed is None:
            self._seed = seed

    def setup(self) -> None:
        """Check that the agent fits the environment."""
        self._checked_agent()

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows without end."""
        agent = self._checked_agent()
        while True:
            yield self._collect(agent)

    def teardown(self) -> None:
        """Close the environment."""
        self.env.close()
        self._observation = self._mask = None
        self._builder = RolloutBuilder()
        self._normalization.end_stream()

    @property
    def observation_normalizer(self) -> ObsNormalizer | None:
        """What observations are normalised with; None where they are not."""
        return self._normalization.observations

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics of the normalisers."""
        return self._normalization.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the statistics of the normalisers."""
        self._normalization.load_state_dict(state)

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> ValidationPipeline | None:
        """Return a held-out pipeline on copies of the environment, or None (with a warning) if it cannot be rebuilt.

        It normalises observations with this pipeline's statistics and never changes them; its rewards are raw.
        """
        return held_out(
            lambda: [rebuild(self.env)],
            n_episodes,
            self.agent,
            seed=seed,
            rescale_actions=self._rescale_actions,
            observation_normalizer=self.observation_normalizer,
        )

    def _checked_agent(self) -> BaseAgent:
        return check_agent_fits(self.agent, self._normalization.space, self.env.action_space)

    def _collect(self, agent: BaseAgent) -> EpisodeData:
        env, builder, to_env, to_array = self.env, self._builder, self._to_env, self._flattener.one
        n_episodes, window_size = self.n_episodes, self.window_size
        self._normalization.begin_window()
        observation, mask = self._observation, self._mask
        if observation is None:
            observation, mask = self._reset(seed=self._seed if self._is_first_reset else None)
            self._is_first_reset = False
        while (len(builder) < window_size) if n_episodes is None else (builder.episodes_completed < n_episodes):
            action = self._act(agent, observation, mask)
            following, reward, terminated, truncated, info = env.step(to_env(action))
            following, next_mask = to_array(following), mask_in(info)
            builder.add(
                observation,
                action,
                checked_reward(reward, env),
                terminated,
                truncated,
                info,
                following,
                mask,
                next_mask,
            )
            observation, mask = self._reset() if terminated or truncated else (following, next_mask)
        self._observation, self._mask = observation, mask
        self._next_window_id += 1
        return self._normalization.apply(builder.build(self._next_window_id - 1, observation, mask))

    def _act(self, agent: BaseAgent, observation: Any, mask: np.ndarray | None) -> Any:
        if self._normalization.observations is not None:
            observation = self._normalization.observations.normalize(observation)
        if mask is not None:
            return self._act_masked(agent, [observation], mask[None], deterministic=self._deterministic)[0]
        if self._deterministic:
            return agent.act_batch([observation], deterministic=True)[0]
        return agent.act(observation)

    def _reset(self, seed: int | None = None) -> tuple[Any, np.ndarray | None]:
        observation, info = self.env.reset(seed=seed)
        return self._flattener.one(observation), mask_in(info)
