"""Windows from many environments stepped together, with one forward pass per step."""

from collections.abc import Iterator, Sequence

import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv, VectorEnv

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tensor_optix.core.types import Action, EpisodeData
from tensor_optix.pipeline._normalization import Normalization
from tensor_optix.pipeline._vector_steps import VectorSteps
from tensor_optix.pipeline.environment.acting import EpisodeActing
from tensor_optix.pipeline.environment.atari import AtariGames
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.copies import vector_copies
from tensor_optix.pipeline.environment.environment import check_agent_fits, check_size
from tensor_optix.pipeline.environment.episodes import warn_of_new_episodes
from tensor_optix.pipeline.environment.naming import name_of_each
from tensor_optix.pipeline.environment.targets import vector_reward_threshold_of
from tensor_optix.pipeline.environment.vector_lifetime import VectorLifetime
from tensor_optix.pipeline.environment.vector_state import next_seeds, replay_all, restore_arrays, saved_arrays
from tensor_optix.pipeline.environment.wiring import Wiring
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline, held_out
from tensor_optix.support.arguments import check_flags, check_seed
from tensor_optix.support.arrays import decoded
from tensor_optix.support.plain import SavedState
from tensor_optix.support.trees import copied, leaves


class VectorBatchPipeline(BasePipeline):
    """Steps N environments together and cuts their streams into windows of `window_size` steps each.

    The rows of a window are env-major: the steps of environment 0, then those of environment 1, and so on. Whatever
    the vector's autoreset mode, a window holds the same valid transitions: no step that was a reset, no pair across two
    episodes, and the true final observation of each episode. Where a vector spends steps on resets (`NEXT_STEP`), its
    environments get ahead of each other; what one has collected beyond the window begins its next one. So they
    do where one is reset for a bad step, as in `BatchPipeline`; a ready-made vector that cannot reset a single
    environment is reset as a whole.

    Args:
        env_fns: functions that make one environment each, `(id, num_envs)`, or a `gymnasium.vector` environment.
        agent: the acting policy; `RLOptimizer` fills it in.
        window_size: steps per environment in a window; T = N·window_size rows in all.
        async_envs: run each environment in a process of its own; for environments whose steps are slow, or may hang,
            crash or leak.
        seed: seed of the first episodes; environment i gets seed + i, and the seeds of its other episodes are drawn
            from that where the pipeline makes the environments. None leaves it to `RLOptimizer(seed=...)`.
        normalize_observations: as in `BatchPipeline`.
        normalize_rewards: as in `BatchPipeline`; each environment has a running return of its own.
        step_timeout: with `async_envs`: seconds that a step or a reset may take, before its process is ended and made
            anew; None = 20 times the slowest of the first 100, and at least 30.
        max_worker_rss: with `async_envs`: bytes of resident memory from which a process is replaced between two
            episodes; None = no bound.

    Raises:
        InvalidArgumentError: no environments, `window_size` below 1, an undeclared autoreset mode, a bound out of its
            range, or more processes than there is memory for.
        EnvironmentFailedError: an environment's process ended while it was made; `episodes()` raises it where an
            environment fails three times in a row without a whole episode between, or a ready-made vector once.
        ContractError: with `async_envs`, a function that cannot be sent to another process.
        BadDataError: as in `BatchPipeline`.
        EnvironmentNotFoundError: an unknown id, or what cannot be imported in another process.
        SpaceError: environments with different spaces, or observations as with `BatchPipeline`.
    """

    def __init__(
        self,
        env_fns: Sequence[EnvFn] | tuple[str, int] | VectorEnv,
        agent: BaseAgent | None = None,
        window_size: int = 256,
        async_envs: bool = False,
        *,
        seed: int | None = None,
        normalize_observations: bool | ObsNormalizer = False,
        normalize_rewards: bool | RewardNormalizer = False,
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
    ) -> None:
        check_size("window_size", window_size)
        check_seed(seed)
        check_flags(async_envs=async_envs)
        self._vector = VectorLifetime(env_fns, async_envs, step_timeout, max_worker_rss)
        self.env_name, self.env_kwargs = name_of_each(env_fns)
        self.reward_threshold = vector_reward_threshold_of(self.env, env_fns)
        self.agent = agent
        self.window_size = int(window_size)
        self.n_envs = self.env.num_envs
        self._seed = None if seed is None else int(seed)
        space = self.env.single_observation_space
        self._wiring = Wiring(space, self.env.single_action_space)
        self._normalization = Normalization(normalize_observations, normalize_rewards, space)
        self._acting = EpisodeActing(self.n_envs, wiring=self._wiring)
        self._steps = self._no_steps()
        self._next_window_id = 0

    def _no_steps(self) -> VectorSteps:
        self._acting.begin()
        return VectorSteps(self._vector, self._wiring.form, self._normalization.end_episode, self._acting)

    @property
    def env(self) -> VectorEnv:
        """The vector environment."""
        return self._vector.env

    @property
    def has_fixed_windows(self) -> bool:
        """True: a window has `window_size` steps of each environment."""
        return True

    def seed(self, seed: int) -> None:
        """Seed the environments' episodes, where the constructor did not."""
        if self._seed is None:
            self._seed = seed

    def setup(self) -> None:
        """Check that the agent fits the environments."""
        self._connect(agent := check_agent_fits(self.agent))
        self._normalization.share_with(agent)
        space = self._normalization.space_of(self._wiring.form.space)
        self._acting.install(check_agent_fits(agent, space, self.env.single_action_space))

    def _connect(self, agent: BaseAgent) -> None:
        """Take over what the agent declares; episodes that were seen in another form are left."""
        if self._wiring.connect(agent):
            self._end_stream() if self._steps.observations is None else self._begin_anew()

    def _begin_anew(self) -> None:
        """Leave the episodes in progress, and begin others where they are fixed by seeds."""
        is_traced = self._vector.has_own_episodes
        numbers = self._steps.trace.numbers if is_traced else [self._next_window_id] * self.n_envs
        self._end_stream()
        if (seed := self._seed_of_reset()) is not None:
            self._steps.reset(seed=next_seeds(seed, numbers))

    def _end_stream(self) -> None:
        self._normalization.end_stream()
        self._steps = self._no_steps()

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows without end; after `teardown`, from environments made anew.

        Raises:
            ContractError: a ready-made vector that was closed.
        """
        self._vector.reopen()
        self.setup()
        while True:
            self._connect(agent := check_agent_fits(self.agent))
            yield self._collect(agent)

    def teardown(self) -> None:
        """Close the environments and their processes."""
        self._vector.close()
        self._end_stream()

    @property
    def observation_space(self) -> spaces.Space[object]:
        """What the observations of one environment are of."""
        return self.env.single_observation_space

    @property
    def action_space(self) -> spaces.Space[object]:
        """What the actions of one environment are of."""
        return self.env.single_action_space

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
        """Return the episodes in progress: seeds and actions, from which they can be replayed."""
        return {
            "window_id": self._next_window_id,
            "seed": self._seed,
            "times_closed": self._vector.times_closed,
            "arrays": saved_arrays(self.env),
            **self._steps.state(),
            "normalization": self._normalization.stream_state(),
        }

    def restore_stream(self, state: SavedState) -> None:
        """Replay the episodes in progress; where that leads elsewhere, new ones begin, and a warning says so."""
        self._vector.reopen()
        self._next_window_id, self._vector.times_closed = int(state["window_id"]), int(state["times_closed"])
        self._seed = state["seed"]
        self._normalization.restore_stream(state["normalization"])
        self._steps = self._no_steps()
        if state["observations"] is None and not state.get("has_begun"):
            return
        if state["observations"] is not None and self._is_back(state):
            self._steps.restore(state)
            return
        warn_of_new_episodes(self._seed, is_too_long=False)
        self._begin_anew()

    def _is_back(self, state: SavedState) -> bool:
        """Return whether the environments could be brought back to where they were."""
        if state["arrays"] is not None and not self._vector.has_own_episodes:
            restore_arrays(self.env, state["arrays"])
            return True
        seed, env = self._seed_of_reset(), self.env
        if state["trace"] is None or seed is None or not isinstance(env, SyncVectorEnv | WorkerVectorEnv | AtariGames):
            return False
        trace = self._steps.trace
        found = replay_all(env, seed, trace.restore(state["trace"]), trace.numbers, self._wiring.to_env)
        if found is None:
            return False
        seen = self._wiring.stacked_observations([self._wiring.form.one(observation) for observation in found])
        return all(map(np.array_equal, leaves(seen), leaves(decoded(state["observations"]))))

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> ValidationPipeline | None:
        """Return a held-out pipeline on single environments of the same kind, or None (with a warning).

        It normalises observations with this pipeline's statistics and never changes them; its rewards are raw.
        """
        return held_out(
            self._copies,
            n_episodes,
            self.agent,
            seed=seed,
            observation_normalizer=self.observation_normalizer,
        )

    def _copies(self) -> list[EnvFn]:
        makers = vector_copies(self.env, self._vector.makers)
        return [self._vector.isolated(make) for make in makers]

    def _collect(self, agent: BaseAgent) -> EpisodeData:
        self._normalization.begin_window()
        self._acting.install(agent)
        steps = self._steps
        if steps.observations is None:
            steps.reset(seed=self._seed_of_reset())
        while missing := steps.missing(self.window_size):
            for _ in range(missing):
                memories = self._acting.memories
                actions = self._act(agent, steps.observations, steps.masks)
                chosen = copied(actions)  # the agent, or an environment, may change its own
                steps.step(chosen, self._wiring.to_env(actions), memories)
        self._next_window_id += 1
        return self._normalization.apply(steps.window(self._next_window_id - 1, self.window_size))

    def _seed_of_reset(self) -> int | None:
        """Return the seed of the first reset; environments made anew play other episodes than those before."""
        if self._seed is None or not self._vector.times_closed:
            return self._seed
        return int(np.random.SeedSequence([self._seed, self._vector.times_closed]).generate_state(1)[0] >> 1)

    def _act(self, agent: BaseAgent, observations: object, masks: np.ndarray | None) -> Action:
        if self._normalization.observations is not None:
            observations = self._normalization.observations.normalize(observations)
        is_acting = self._steps.is_acting
        if masks is not None and not is_acting.all():  # an action that no environment takes may be any
            masks = np.where(is_acting[:, None], masks, True)
        actions = self._acting.rows(agent, observations, masks)
        if isinstance(actions, np.ndarray):
            return actions
        return self._wiring.stacked_actions(self._wiring.listed_actions(actions))
