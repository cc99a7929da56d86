"""Environments of EnvPool: many stepped together in threads of its own, and a single one."""

from collections.abc import Mapping, Sequence
from functools import partial

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from tensor_optix.core.types import Action, Observation
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.pool_tasks import (
    NO_LIMIT,
    Pool,
    has_plain_limit,
    made_single,
    make_pool,
    spaces_of,
)
from tensor_optix.support.trees import mapped, put, taken

_SEEDS = 2**31
_UNTOLD = ("env_id", "players", "elapsed_step", "ram")
"""Infos that are about the pool, or too large to be kept of each step."""


class EnvPoolVectorEnv(VectorEnv):
    """Steps N environments of a task together, in threads; who steps them resets those that have ended (`DISABLED`).

    EnvPool takes seeds when it makes environments, and at no other time. So a reset with a seed makes them anew, and
    what comes after it, each later episode too, follows from that seed and the actions. An episode in progress cannot
    be reached by its own actions alone.

    Args:
        task: its name in EnvPool.
        num_envs: N.
        max_episode_steps: after which an episode is truncated; None = by EnvPool's own limit alone.
        settings: of `envpool.make`.

    Raises:
        MissingDependencyError: EnvPool is not installed.
        InvalidArgumentError: settings that are none of the task, or that are not the caller's to choose.
    """

    def __init__(
        self, task: str, num_envs: int = 1, *, max_episode_steps: int | None = None, **settings: object
    ) -> None:
        self._limit = _SEEDS if max_episode_steps is None else max_episode_steps
        self.single_observation_space, self.single_action_space = spaces_of(task, settings)
        self._given = {**settings, "max_episode_steps": max_episode_steps}
        if has_plain_limit(task):
            settings["max_episode_steps"] = NO_LIMIT
        self._task, self._settings, self.num_envs, self.spec = task, settings, num_envs, None
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self._pool: Pool | None = None
        """None before the first reset."""
        self._observations: Observation = None
        """(N, ...) what each has come to."""

    def single(self) -> EnvFn:
        """Return a function that makes a single environment of the same kind."""
        assert self.spec is not None  # noqa: S101 - for the type checker; `gymnasium.make_vec` has set it
        return partial(made_single, self.spec.id, self._given)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, object] | None = None
    ) -> tuple[Observation, dict[str, np.ndarray]]:
        """Begin the next episode of each environment, or of those in `options["reset_mask"]`; a seed makes all anew."""
        if seed is not None or self._pool is None:
            self._pool, options = self._made(seed), None
        if options is None:
            self._observations, infos = self._pool.reset()
            return self._observations, _told(infos, np.ones(self.num_envs, bool))
        which = np.asarray(options["reset_mask"], bool)
        begun, infos = self._pool.reset(np.flatnonzero(which).astype(np.int32))
        observations = mapped(np.array, self._observations)  # the final ones are looked at after this
        put(observations, which, begun)
        self._observations = observations
        return observations, _told(infos, which)

    def _made(self, seed: int | Sequence[int | None] | None) -> Pool:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        listed = range(int(seed), int(seed) + self.num_envs) if isinstance(seed, int | np.integer) else seed
        seeds = [int(one or 0) % _SEEDS for one in listed]
        return make_pool(self._task, self.num_envs, seeds, self._settings)

    def step(self, actions: Action) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Take a step in each environment; one that has ended has to be reset before."""
        assert self._pool is not None  # noqa: S101 - for the type checker; it has been reset
        self._observations, rewards, terminated, truncated, infos = self._pool.step(actions)
        truncated = truncated | (infos["elapsed_step"] >= self._limit)
        return self._observations, rewards, terminated, truncated, _told(infos, np.ones(self.num_envs, bool))

    def close_extras(self, **kwargs: object) -> None:
        """Leave the environments; the threads that step them end with them."""
        self._pool = None


class EnvPoolEnv(gym.Env):
    """A single environment of a task; a reset with a seed makes it anew, so that its episode follows from that seed.

    It has no pictures: drawing without a screen may end the process.

    Args:
        task: its name in EnvPool.
        settings: of `envpool.make`.
    """

    def __init__(self, task: str, **settings: object) -> None:
        self._vector = EnvPoolVectorEnv(task, 1, **{"num_threads": 1, **settings})
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Observation, dict[str, object]]:
        """Begin the next episode; a seed makes it the first one of a new environment."""
        super().reset(seed=seed)
        observations, infos = self._vector.reset(seed=seed)
        return taken(observations, 0), _first(infos)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, object]]:
        """Take a step."""
        actions = mapped(lambda one: np.asarray(one)[None], action)
        observations, rewards, terminated, truncated, infos = self._vector.step(actions)
        return (
            taken(observations, 0),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            _first(infos),
        )

    def close(self) -> None:
        """Leave the environment."""
        self._vector.close()


def _told(infos: Mapping[str, np.ndarray], which: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the environments of `which` (N,) tell of themselves, as vectors of Gymnasium do.

    Args:
        infos: arrays with one row for each of them.
        which: bool.
    """
    told: dict[str, np.ndarray] = {}
    for name, values in infos.items():
        if name in _UNTOLD or isinstance(values, Mapping):
            continue
        if len(values) < len(which):
            some, values = values, np.zeros((len(which), *values.shape[1:]), values.dtype)
            values[which] = some
        told[name], told[f"_{name}"] = values, which
    return told


def _first(infos: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return what the only environment of a vector tells."""
    return {name: values[0] for name, values in infos.items() if not name.startswith("_")}
