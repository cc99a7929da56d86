"""Windows of a fixed number of steps from one environment."""

from collections.abc import Iterator
from dataclasses import replace

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tensor_optix.core.types import Action, EpisodeData, Observation
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline._normalization import Normalization
from tensor_optix.pipeline._rollout import RolloutBuilder
from tensor_optix.pipeline.environment.acting import EpisodeActing
from tensor_optix.pipeline.environment.bad_steps import BadSteps, StepCheck
from tensor_optix.pipeline.environment.environment import check_agent_fits, check_size
from tensor_optix.pipeline.environment.episodes import (
    EpisodeTrace,
    encoded_or_none,
    episode_seed,
    is_same,
    replay,
    warn_of_new_episodes,
)
from tensor_optix.pipeline.environment.failed_episodes import FailedEpisodes, failure_of
from tensor_optix.pipeline.environment.naming import name_of
from tensor_optix.pipeline.environment.own_code import EnvLike
from tensor_optix.pipeline.environment.single import SingleEnvironment
from tensor_optix.pipeline.environment.targets import reward_threshold_of
from tensor_optix.pipeline.environment.wiring import Wiring
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline, held_out
from tensor_optix.support.arguments import check_flags, check_seed
from tensor_optix.support.plain import SavedState
from tensor_optix.support.trees import copied, rows, taken


class BatchPipeline(BasePipeline):
    """Steps an environment without a pause and cuts the stream into windows.

    Episodes run on across windows, and across calls of `episodes()`; nothing is reset at a window's edge. Observations
    and actions pass as they are, or in the form that the agent declares (`TakesFlatObservations`, `ActsInRange`); where
    infos carry an `"action_mask"`, an agent that has `act_masked` keeps to it.
    A step that must not be acted on or learned from (NaN, another shape, a reward that is no number) ends its episode:
    its steps until then are kept, truncated, and the window's `metadata["bad_steps"]` says what was found. So does an
    exception, or with `isolate` a process that hangs or dies (`"failed_episodes"`); then the environment is made anew.

    Args:
        env: a Gymnasium environment, an id to make one from, or a class or function that makes one.
        agent: the acting policy; `RLOptimizer` fills it in.
        window_size: T, steps per window.
        n_episodes: yield this many whole episodes per window, however many steps they take, instead of `window_size`.
        deterministic: act greedily where the agent can.
        seed: seed of the environment's first episode, from which those of the others are drawn; None leaves it to
            `RLOptimizer(seed=...)`, or to chance.
        normalize_observations: scale them by running statistics, saved with each snapshot; True, or your normaliser.
        normalize_rewards: divide rewards by the deviation of the running return; `completed` keeps the raw returns.
        isolate: run the environment in a process of its own, and those of validation, too: one that hangs, crashes or
            leaks does not end the run. It takes an id, a class or a function, and no ready-made environment.
        step_timeout: with `isolate`: as in `VectorBatchPipeline`.
        max_worker_rss: with `isolate`: as in `VectorBatchPipeline`.

    Raises:
        InvalidArgumentError: an argument out of its range, or a ready-made environment that is to be isolated.
        EnvironmentFailedError: `episodes()` raises it after three failures in a row without a whole episode between.
        EnvironmentNotFoundError: an unknown id.
        ContractError: no environment, or one that cannot be reset as its wrappers do.
        SpaceError: observations that cannot be in the form that the agent declares, or not normalised.
        BadDataError: `episodes()` raises it after three bad steps in a row without a good one between.
    """

    def __init__(
        self,
        env: EnvLike,
        agent: BaseAgent | None = None,
        window_size: int = 200,
        *,
        n_episodes: int | None = None,
        deterministic: bool = False,
        seed: int | None = None,
        normalize_observations: bool | ObsNormalizer = False,
        normalize_rewards: bool | RewardNormalizer = False,
        isolate: bool = False,
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
    ) -> None:
        for name, value in (("window_size", window_size), ("n_episodes", 1 if n_episodes is None else n_episodes)):
            check_size(name, value)
        check_seed(seed)
        check_flags(deterministic=deterministic, isolate=isolate)
        self.env_name, self.env_kwargs = name_of(env)
        self._single = SingleEnvironment(env, isolate, step_timeout, max_worker_rss)
        self.reward_threshold = reward_threshold_of(self.env)
        self.agent = agent
        self.window_size = int(window_size)
        self.n_episodes = None if n_episodes is None else int(n_episodes)
        self._deterministic = deterministic
        self._seed = None if seed is None else int(seed)
        self._wiring = Wiring(self.env.observation_space, self.env.action_space)
        self._normalization = Normalization(normalize_observations, normalize_rewards, self.env.observation_space)
        self._acting = EpisodeActing(wiring=self._wiring)
        self._check = StepCheck(self._wiring.form)
        self._bad, self._failed = BadSteps(), FailedEpisodes()
        self._builder = RolloutBuilder(self._wiring.stacked_observations, self._wiring.stacked_actions)
        self._observation: object = None
        self._mask: np.ndarray | None = None
        self._episode = -1
        """The episode in progress, counted from 0 over the whole run."""
        self._trace, self._next_window_id = EpisodeTrace(), 0

    @property
    def env(self) -> gym.Env:
        """The environment; another one after a failure."""
        return self._single.env

    @property
    def has_fixed_windows(self) -> bool:
        """True unless a window is a number of whole episodes."""
        return self.n_episodes is None

    def seed(self, seed: int) -> None:
        """Seed the environment's episodes, where the constructor did not."""
        if self._seed is None:
            self._seed = seed

    def setup(self) -> None:
        """Check that the agent fits the environment."""
        self._checked_agent()

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows without end."""
        agent = self._checked_agent()
        while True:
            self._connect(agent)
            yield self._collect(agent)

    def teardown(self) -> None:
        """Close the environment."""
        self.env.close()
        self._end_stream()

    def _end_stream(self) -> None:
        self._end_episode()
        self._normalization.end_stream()

    def _end_episode(self) -> None:
        self._observation = self._mask = None
        self._acting.begin()
        self._builder = RolloutBuilder(self._wiring.stacked_observations, self._wiring.stacked_actions)
        self._trace, self._bad, self._failed = EpisodeTrace(), BadSteps(), FailedEpisodes()

    @property
    def observation_space(self) -> spaces.Space[object]:
        """What the environment's observations are of."""
        return self.env.observation_space

    @property
    def action_space(self) -> spaces.Space[object]:
        """What the environment's actions are of."""
        return self.env.action_space

    @property
    def observation_normalizer(self) -> ObsNormalizer | None:
        """What observations are normalised with; None where they are not."""
        return self._normalization.observations

    def state_dict(self) -> dict[str, object]:
        """Return the statistics of the normalisers."""
        return self._normalization.state_dict()

    def load_state_dict(self, state: SavedState) -> None:
        """Take the statistics of the normalisers."""
        self._normalization.load_state_dict(state)

    def stream_state(self) -> dict[str, object]:
        """Return the episode in progress: its seed and its actions, from which it can be replayed."""
        return {
            "window_id": self._next_window_id,
            "seed": self._seed,
            "episode": self._episode,
            "trace": self._trace.state(),
            "builder": self._builder.state(),
            "bad_in_a_row": self._bad.state(),
            "failed_in_a_row": self._failed.state(),
            "is_open": self._observation is not None,
            "observation": encoded_or_none(self._observation),
            "normalization": self._normalization.stream_state(),
            "acting": self._acting.state(),
        }

    def restore_stream(self, state: SavedState) -> None:
        """Replay the episode in progress; where that leads elsewhere, a new one begins, and a warning says so."""
        self._next_window_id, self._episode = int(state["window_id"]), int(state["episode"])
        self._seed = state["seed"]
        self._normalization.restore_stream(state["normalization"])
        self._end_episode()
        if not state["is_open"]:
            return
        (actions,) = self._trace.restore(state["trace"])
        if self._seed is not None and actions is not None:
            to_env, seed = self._wiring.to_env, episode_seed(self._seed, self._episode)
            found = replay(self.env, seed, rows(actions), to_env, self._check)
            if found is not None and is_same(found.observation, state["observation"]):
                self._observation, self._mask = found.observation, found.mask
                self._builder.restore(state["builder"])
                self._bad.restore(state["bad_in_a_row"])
                self._failed.restore(state.get("failed_in_a_row"))
                self._acting.restore(state.get("acting"))
                return
        warn_of_new_episodes(self._seed, actions is None)
        self._end_stream()

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> ValidationPipeline | None:
        """Return a held-out pipeline on copies of the environment, or None (with a warning) if it cannot be rebuilt.

        It normalises observations with this pipeline's statistics and never changes them; its rewards are raw.
        """
        return held_out(
            self._single.copies,
            n_episodes,
            self.agent,
            seed=seed,
            observation_normalizer=self.observation_normalizer,
        )

    def _checked_agent(self) -> BaseAgent:
        self._connect(agent := check_agent_fits(self.agent))
        self._normalization.share_with(agent)
        return check_agent_fits(agent, self._normalization.space_of(self._wiring.form.space), self.env.action_space)

    def _connect(self, agent: BaseAgent) -> None:
        """Take over what the agent declares; an episode that was seen in another form is left."""
        if self._wiring.connect(agent):
            self._check = StepCheck(self._wiring.form)
            self._end_stream()

    def _collect(self, agent: BaseAgent) -> EpisodeData:
        single, builder, to_env, check = self._single, self._builder, self._wiring.to_env, self._check
        n_episodes, window_size = self.n_episodes, self.window_size
        self._normalization.begin_window()
        self._acting.install(agent)
        observation, mask = self._observation, self._mask
        if observation is None:
            observation, mask = self._reset()
        builder.memories = self._acting.memories
        while (len(builder) < window_size) if n_episodes is None else (builder.episodes_completed < n_episodes):
            action = self._act(agent, observation, mask)
            chosen, action = copied(action), to_env(action)  # the agent, or the environment, may change its own
            try:
                following, reward, terminated, truncated, info, next_mask = check.step(single.step(action))
            except Exception as error:
                self._leave_episode(observation, mask, error)
                observation, mask = self._reset()
                continue
            builder.add(observation, chosen, reward, terminated, truncated, info, following, mask, next_mask)
            if n_episodes is None or terminated or truncated:  # else a window of whole episodes might never be full
                self._bad.clear()
            if terminated or truncated:
                self._failed.clear()
            observation, mask = self._reset() if terminated or truncated else (following, next_mask)
        self._observation, self._mask = observation, mask
        self._next_window_id += 1
        window = builder.build(self._next_window_id - 1, observation, mask)
        self._trace.add(taken(window.actions, None), window.dones[None])
        return self._normalization.apply(replace(window, metadata={**self._bad.metadata(), **self._failed.metadata()}))

    def _leave_episode(self, observation: object, mask: np.ndarray | None, error: Exception) -> None:
        """Leave the episode in progress for what was wrong with a step that was taken at `observation`."""
        self._fault("step", error)
        self._builder.cut_off(observation, mask)
        self._acting.begin()
        if not len(self._builder):  # no step of the window tells that it has ended
            self._builder.memories = self._acting.memories
            self._trace.begin_next(0)
            self._normalization.end_episode(0)

    def _act(self, agent: BaseAgent, observation: object, mask: np.ndarray | None) -> Action:
        if self._normalization.observations is not None:
            observation = self._normalization.observations.normalize(observation)
        return self._acting.one(agent, observation, mask, deterministic=self._deterministic)

    def _reset(self) -> tuple[Observation, np.ndarray | None]:
        self._acting.begin()
        while True:
            self._episode += 1
            seed = None if self._seed is None else episode_seed(self._seed, self._episode)
            try:
                begun = self._check.reset(self._single.reset(seed=seed))
                return begun.observation, begun.mask
            except Exception as error:
                self._fault("reset", error)

    def _fault(self, doing: str, error: Exception) -> None:
        if isinstance(error, BadDataError):
            self._bad.fault(str(error))
        else:
            self._single.has_failed = True
            self._failed.fault(failure_of(doing, error))
