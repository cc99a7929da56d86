"""Windows from many environments stepped together, with one forward pass per step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError, ContractError
from tensor_optix.pipeline._normalization import Normalization
from tensor_optix.pipeline._rollout import VectorRolloutBuilder
from tensor_optix.pipeline.environment.bad_steps import BadSteps, StepCheck, VectorStep, VectorStepCheck
from tensor_optix.pipeline.environment.environment import (
    ActionScaler,
    check_agent_fits,
    check_size,
)
from tensor_optix.pipeline.environment.episodes import BAD_RESETS, BAD_STEP, EpisodeTrace, warn_of_new_episodes
from tensor_optix.pipeline.environment.failures import end_processes, environment_failed, names_of, watch_failures
from tensor_optix.pipeline.environment.infos import MaskedActing, infos_by_environment
from tensor_optix.pipeline.environment.observations import ObservationFlattener
from tensor_optix.pipeline.environment.vector_making import EnvFn, autoreset_mode_of, single_of, vector_of
from tensor_optix.pipeline.environment.vector_state import live_all_again, next_seeds, put_back_arrays, saved_arrays
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline, held_out
from tensor_optix.support.arguments import check_seed
from tensor_optix.support.arrays import decoded, encoded


class VectorBatchPipeline(BasePipeline):
    """Steps N environments together and cuts their streams into windows of `window_size` steps each.

    The rows of a window are env-major: the steps of environment 0, then those of environment 1, and so on. Whatever
    the vector's autoreset mode, a window holds the same valid transitions: no step that was a reset, no pair across two
    episodes, and the true final observation of each episode. Where a vector spends steps on resets (`NEXT_STEP`), its
    environments get ahead of each other; what one has lived beyond the window is the beginning of its next one. So they
    do where one is reset for a bad step, as in `BatchPipeline`; a ready-made vector that cannot reset a single
    environment is reset as a whole.

    Args:
        env_fns: functions that make one environment each, `(id, num_envs)`, or a `gymnasium.vector` environment.
        agent: who acts; `RLOptimizer` fills it in.
        window_size: steps per environment in a window; T = N·window_size rows in all.
        async_envs: run each environment in a process of its own; for environments whose steps are slow.
        seed: seed of the first episodes; environment i gets seed + i, and the seeds of its other episodes are drawn
            from that where the pipeline makes the environments. None leaves it to `RLOptimizer(seed=...)`.
        rescale_actions: map actions from [-1, 1] onto a Box with finite bounds.
        normalize_observations: as in `BatchPipeline`.
        normalize_rewards: as in `BatchPipeline`; each environment has a running return of its own.

    Raises:
        InvalidArgumentError: no environments, `window_size` below 1, or an undeclared autoreset mode.
        EnvironmentFailedError: an environment's process ended while it was made; `episodes()` raises it where an
            environment raises or its process dies.
        BadDataError: as in `BatchPipeline`.
        EnvironmentNotFoundError: an unknown id.
        SpaceError: environments with different spaces, or observations that can be neither passed nor flattened.
    """

    def __init__(
        self,
        env_fns: Sequence[EnvFn] | tuple[str, int] | VectorEnv,
        agent: BaseAgent | None = None,
        window_size: int = 256,
        async_envs: bool = False,
        *,
        seed: int | None = None,
        rescale_actions: bool = True,
        normalize_observations: bool | ObsNormalizer = False,
        normalize_rewards: bool | RewardNormalizer = False,
    ) -> None:
        check_size("window_size", window_size)
        check_seed(seed)
        self._make_vector = lambda: vector_of(env_fns, async_envs)[0]
        self.env, self._make_single = vector_of(env_fns, async_envs)
        self._is_ready_made = self.env is env_fns
        self._times_closed, self._is_closed = 0, False
        self.agent = agent
        self.window_size = int(window_size)
        self.n_envs = self.env.num_envs
        self._seed = None if seed is None else int(seed)
        self._rescale_actions = rescale_actions
        self._autoreset = autoreset_mode_of(self.env)
        watch_failures(self.env)
        # A vector of the user's own may be in the middle of a call.
        self._names = () if self._is_ready_made else names_of(self.env)
        self._to_env = ActionScaler(self.env.single_action_space, rescale_actions)
        self._flattener = ObservationFlattener(self.env.single_observation_space)
        self._normalization = Normalization(normalize_observations, normalize_rewards, self._flattener.space)
        self._act_masked = MaskedActing()
        self._check, self._check_final = VectorStepCheck(self._flattener, self.n_envs), StepCheck(self._flattener)
        self._start_anew()
        self._next_window_id = 0

    def _start_anew(self) -> None:
        self._builder = VectorRolloutBuilder(self.n_envs, self._autoreset is AutoresetMode.NEXT_STEP)
        self._observations: np.ndarray | None = None
        self._masks: np.ndarray | None = None
        self._has_failed = False
        self._trace = EpisodeTrace(self.n_envs)
        self._bad = BadSteps(self.n_envs)
        self._acted: list[np.ndarray] = []
        self._ended: list[np.ndarray] = []
        """(N, ...) actions and (N,) ends of the window's steps, for the trace."""

    def seed(self, seed: int) -> None:
        """Seed the environments' episodes, where the constructor did not."""
        if self._seed is None:
            self._seed = seed

    def setup(self) -> None:
        """Check that the agent fits the environments."""
        check_agent_fits(self.agent, self._normalization.space, self.env.single_action_space)

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows without end; after `teardown`, from environments made anew.

        Raises:
            ContractError: a ready-made vector that was closed.
        """
        self._reopen()
        self.setup()
        while True:
            yield self._collect(check_agent_fits(self.agent))

    def teardown(self) -> None:
        """Close the environments and their processes."""
        if self._has_failed:
            end_processes(self.env)
        try:
            self.env.close()
        except (EOFError, ConnectionError):  # a worker died and nobody has stepped since
            end_processes(self.env)
        self._normalization.end_stream()
        self._start_anew()
        self._times_closed += not self._is_closed
        self._is_closed = True

    def _reopen(self) -> None:
        if not self._is_closed:
            return
        if self._is_ready_made:
            raise ContractError(
                "The vector environment was closed by teardown. Make a new one and a pipeline on it, or hand over "
                "functions that make environments: those are made anew."
            )
        self.env, self._is_closed = self._make_vector(), False
        watch_failures(self.env)

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

    def stream_state(self) -> dict[str, Any]:
        """Return the episodes in progress: seeds and actions, from which they can be lived again."""
        return {
            "window_id": self._next_window_id,
            "seed": self._seed,
            "times_closed": self._times_closed,
            "trace": None if self._is_plain else self._trace.state(),
            "arrays": saved_arrays(self.env),
            "builder": self._builder.state(),
            "bad_in_a_row": self._bad.state(),
            "observations": None if self._observations is None else encoded(self._observations),
            "masks": None if self._masks is None else encoded(self._masks),
            "normalization": self._normalization.stream_state(),
        }

    def restore_stream(self, state: Mapping[str, Any]) -> None:
        """Live the episodes in progress again; where that leads elsewhere, new ones begin, and a warning says so."""
        self._reopen()
        self._next_window_id, self._times_closed = int(state["window_id"]), int(state["times_closed"])
        self._seed = state["seed"]
        self._normalization.restore_stream(state["normalization"])
        self._start_anew()
        if state["observations"] is None:
            return
        observations = decoded(state["observations"])
        if self._is_back(state, observations):
            self._observations = observations
            self._masks = None if state["masks"] is None else decoded(state["masks"])
            self._builder.restore(state["builder"])
            self._bad.restore(state["bad_in_a_row"])
            return
        warn_of_new_episodes(self._seed, is_too_long=False)
        numbers = self._trace.numbers
        self._start_anew()
        self._normalization.end_stream()
        if (seed := self._seed_of_reset()) is not None:
            self._observations, self._masks = self._reset(seed=next_seeds(seed, numbers))

    def _is_back(self, state: Mapping[str, Any], observations: np.ndarray) -> bool:
        """Return whether the environments could be brought back to where they were."""
        if state["arrays"] is not None and self._is_plain:
            put_back_arrays(self.env, state["arrays"])
            return True
        seed, env = self._seed_of_reset(), self.env
        if state["trace"] is None or seed is None or not isinstance(env, AsyncVectorEnv | SyncVectorEnv):
            return False
        actions = self._trace.restore(state["trace"])
        found = live_all_again(env, seed, self._trace.numbers, actions, self._to_env)
        return found is not None and all(map(np.array_equal, found, observations))

    @property
    def _is_plain(self) -> bool:
        """True where the environments were not made here, one by one, but came as a vector."""
        return self._is_ready_made or not isinstance(self.env, AsyncVectorEnv | SyncVectorEnv)

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> ValidationPipeline | None:
        """Return a held-out pipeline on single environments of the same kind, or None (with a warning).

        It normalises observations with this pipeline's statistics and never changes them; its rewards are raw.
        """
        return held_out(
            lambda: self._make_single or [single_of(self.env)],
            n_episodes,
            self.agent,
            seed=seed,
            rescale_actions=self._rescale_actions,
            observation_normalizer=self.observation_normalizer,
        )

    def _collect(self, agent: BaseAgent) -> EpisodeData:
        self._normalization.begin_window()
        if self._observations is None:
            self._observations, self._masks = self._reset(seed=self._seed_of_reset())
        while missing := self._builder.missing(self.window_size):
            for _ in range(missing):
                self._step(agent, self._observations, self._masks)
        self._next_window_id += 1
        window = self._builder.build(self._next_window_id - 1, self._observations, self.window_size, self._masks)
        if self._acted:
            self._trace.add(np.stack(self._acted, axis=1), np.stack(self._ended, axis=1))
            self._acted, self._ended = [], []
        return self._normalization.apply(replace(window, metadata=self._bad.metadata()))

    def _seed_of_reset(self) -> int | None:
        """Return the seed of the first reset; environments made anew live other episodes than those before."""
        if self._seed is None or not self._times_closed:
            return self._seed
        return int(np.random.SeedSequence([self._seed, self._times_closed]).generate_state(1)[0] >> 1)

    def _step(self, agent: BaseAgent, observations: np.ndarray, masks: np.ndarray | None) -> None:
        """Take one step in all environments and add it to the window."""
        actions = self._act(agent, observations, masks)
        taken = self._to_env(actions)
        self._has_failed = True
        try:
            returned = self.env.step(taken)
        except Exception as error:
            raise environment_failed(self.env, "step", error, self._names) from error
        self._has_failed = False
        step = self._check.step(returned)
        step_infos = infos_by_environment(step.infos, self.n_envs)
        done = step.terminated | step.truncated
        ended = np.flatnonzero(done).tolist() if np.count_nonzero(done) else []
        if not self._is_plain:
            self._acted.append(np.asarray(actions))
            self._ended.append(done)
        finals, final_masks, unusable = self._finals(step, step_infos, ended) if ended else ({}, {}, {})
        bad = {**step.bad, **unusable}
        self._bad.passed(but=bad)
        spoilt = self._leave_episodes(bad) if bad else None
        self._note_bad_resets(step.infos)
        following, next_masks = step.observations, step.masks
        to_reset = np.isin(np.arange(self.n_envs), list(step.bad)) if step.bad else None
        if ended and self._autoreset is AutoresetMode.DISABLED:
            to_reset = done if to_reset is None else done | to_reset
        if to_reset is not None:
            following, next_masks = self._reset_some(to_reset, next_masks)
        self._builder.add(
            observations,
            actions,
            step.rewards,
            step.terminated,
            step.truncated,
            step_infos,
            finals,
            masks,
            final_masks,
            spoilt,
        )
        self._observations, self._masks = following, next_masks

    def _finals(
        self, step: VectorStep, infos: Mapping[int, Mapping[str, Any]], ended: Iterable[int]
    ) -> tuple[dict[int, Any], dict[int, Any], dict[int, str]]:
        """Return the last observations and masks of episodes, where the next step lacks them, and what is bad there."""
        finals, masks, bad = {}, {}, {}
        for i in () if self._autoreset is AutoresetMode.NEXT_STEP else ended:
            if self._autoreset is AutoresetMode.DISABLED:
                finals[i], masks[i] = step.observations[i], None if step.masks is None else step.masks[i].copy()
                continue
            info = infos.get(i, {})
            try:
                if BAD_STEP in info:  # an environment that was made here has begun a new episode by itself
                    raise BadDataError(info[BAD_STEP])
                final = self._check_final.reset((step.infos["final_obs"][i], info))
            except BadDataError as error:
                bad[i] = str(error)
            else:
                finals[i], masks[i] = final.observation, final.mask
        return finals, masks, bad

    def _leave_episodes(self, bad: Mapping[int, str]) -> np.ndarray:
        """Leave the episodes in progress of environments that took a bad step; return (N,) where they are left."""
        for i, reason in bad.items():
            self._bad.met(reason, i)
        spoilt = np.ones(self.n_envs, bool)
        if self._resets_some:
            spoilt[[i for i in range(self.n_envs) if i not in bad]] = False
        for i in np.flatnonzero(spoilt).tolist():
            if not self._builder.has_steps_of(i):  # no step of the window tells that it has ended
                self._normalization.end_episode(i)
        return spoilt

    @property
    def _resets_some(self) -> bool:
        """True where some environments can be reset without the others."""
        return self._autoreset is AutoresetMode.DISABLED or isinstance(
            self.env.unwrapped, AsyncVectorEnv | SyncVectorEnv
        )

    def _act(self, agent: BaseAgent, observations: np.ndarray, masks: np.ndarray | None) -> Any:
        if self._normalization.observations is not None:
            observations = self._normalization.observations.normalize(observations)
        if masks is None:
            return agent.act_batch(observations)
        if not self._builder.is_lived.all():  # an action that nobody takes may be any
            masks = np.where(self._builder.is_lived[:, None], masks, True)
        return self._act_masked(agent, observations, masks)

    def _reset_some(self, which: np.ndarray, masks: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Reset the environments of `which` (N,), or all where that cannot be; the others keep their masks."""
        if not self._resets_some:
            return self._reset()
        observations, found = self._reset(options={"reset_mask": which})
        if masks is None:
            return observations, found
        masks[which] = True if found is None else found[which]
        return observations, masks

    def _reset(self, **arguments: Any) -> tuple[np.ndarray, np.ndarray | None]:
        self._has_failed = True
        try:
            returned = self.env.reset(**arguments)
        except Exception as error:
            raise environment_failed(self.env, "reset", error, self._names) from error
        self._has_failed = False
        begun = self._check.reset(returned)
        self._note_bad_resets(begun.infos)
        for i, reason in begun.bad.items():
            self._bad.met(reason, i)
        if begun.bad:
            return self._reset_some(np.isin(np.arange(self.n_envs), list(begun.bad)), begun.masks)
        return begun.observations, begun.masks

    def _note_bad_resets(self, infos: Mapping[str, Any]) -> None:
        """Count the resets that environments made here have tried again by themselves."""
        for i in np.flatnonzero(infos[f"_{BAD_RESETS}"]).tolist() if BAD_RESETS in infos else ():
            self._trace.begin_next(i, len(infos[BAD_RESETS][i]))
            for reason in infos[BAD_RESETS][i]:
                self._bad.met(reason, i)
