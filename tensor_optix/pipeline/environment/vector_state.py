"""Bringing a vector environment back to where it was when a run is resumed."""

import logging
from collections.abc import Callable, Mapping, Sequence

import gymnasium as gym
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import SyncVectorEnv, VectorEnv

from tensor_optix.core.types import Action, Observation
from tensor_optix.errors import EnvironmentFailedError
from tensor_optix.pipeline.environment.atari import AtariGames
from tensor_optix.pipeline.environment.episodes import episode_seed
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.support.arrays import decoded, encoded, generator_state, restore_generator
from tensor_optix.support.plain import SavedState
from tensor_optix.support.trees import rows

logger = logging.getLogger(__name__)

REPLAYED_AT_ONCE = 16
"""Steps of a replay in one call."""
_ARRAYS: Mapping[type[VectorEnv], tuple[str, ...]] = {CartPoleVectorEnv: ("state", "steps", "prev_done")}
"""The vectorised environments of Gymnasium whose whole state is a few arrays and a generator."""


def seeded(make: Callable[[], gym.Env], warns: bool = True) -> Callable[[], SeededEpisodes]:
    """Return a function that makes the same environment with a seed of its own for each episode.

    Args:
        make: makes the environment.
        warns: say so where its episodes cannot be seeded.
    """
    return lambda: SeededEpisodes(make(), warns, make)


def saved_arrays(vector: VectorEnv) -> dict[str, object] | None:
    """Return the state of a vector that is nothing but arrays and a generator, None for any other."""
    env = vector.unwrapped
    names = _ARRAYS.get(type(env))
    if names is None or getattr(env, "state", None) is None:
        return None
    return {
        "arrays": {name: encoded(getattr(env, name)) for name in names},
        "generator": generator_state(env.np_random),
    }


def restore_arrays(vector: VectorEnv, saved: SavedState) -> None:
    """Restore what `saved_arrays` returned."""
    env = vector.unwrapped
    vector.reset(seed=0)  # makes the generator and the arrays
    for name in _ARRAYS[type(env)]:
        setattr(env, name, decoded(saved["arrays"][name]))
    restore_generator(env.np_random, saved["generator"])


def replay_all(
    vector: SyncVectorEnv | WorkerVectorEnv | AtariGames,
    seed: int,
    actions: Sequence[Action],
    numbers: Sequence[int],
    to_env: Callable[[Action], object],
) -> list[Observation] | None:
    """Replay the episodes in progress of a vector's environments, each a `SeededEpisodes` or a game.

    Args:
        vector: of N environments.
        seed: of the first reset; environment i has seed + i.
        actions: (N,) what each has done in its episode.
        numbers: (N,) the episode that each is in.
        to_env: maps an action of the agent to the environment's.

    Returns:
        The observation that each has come to, as it returned it; None where one of them cannot be brought back.
    """
    if any(one is None for one in actions):
        return None
    taken = [[to_env(action) for action in rows(one)] for one in actions if one is not None]
    try:
        if isinstance(vector, AtariGames):
            return vector.replayed(seed, numbers, taken)
        vector.reset(seed=seed)
        vector.set_attr("episode_in_progress", [(number, []) for number in numbers])
        # A few at a time: what plays them in another process has a deadline for each call.
        for begin in range(0, max(map(len, taken)), REPLAYED_AT_ONCE):
            vector.set_attr("episode_in_progress", [(None, one[begin : begin + REPLAYED_AT_ONCE]) for one in taken])
        found = list(vector.get_attr("replayed_observation"))
    except EnvironmentFailedError as error:
        logger.warning("An episode cannot be replayed: %s", error)
        return None
    return None if any(one is None for one in found) else found


def next_seeds(seed: int, numbers: Sequence[int]) -> list[int]:
    """Return seeds for the episodes after those with `numbers`, for environments that cannot be brought back."""
    return [episode_seed(seed + i, number + 1) for i, number in enumerate(numbers)]
