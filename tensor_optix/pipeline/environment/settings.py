"""The settings of an environment as a run's description holds them, to tell what was changed after it was made."""

import hashlib
from collections.abc import Mapping

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv

from tensor_optix.pipeline.environment.changes import EnvFn, Fresh, Path, attributes_of, fits_within
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes

MOST_SETTINGS = 1000
LARGEST_ARRAY, LONGEST_LIST = 16 << 20, 10_000
"""Bytes and entries; what is larger is data, and is left out."""
_VARIED = "varied"
"""Stands for an attribute that the environments of a vector do not share."""


def settings_of(env: object) -> dict[str, str]:
    """Return a digest of each plain attribute of an environment and of its wrappers, by its place.

    Args:
        env: an environment, or a vector of them in this process; of any other nothing is known.
    """
    if isinstance(env, SyncVectorEnv):
        first, *others = (settings_of(one) for one in env.envs)
        return {
            place: digest if all(other.get(place) == digest for other in others) else _VARIED
            for place, digest in first.items()
        }
    if not isinstance(env, gym.Env):
        return {}
    found: dict[str, str] = {}
    for path, value in attributes_of(env.env if isinstance(env, SeededEpisodes) else env).items():
        digest = _digest(value)
        if digest and len(found) < MOST_SETTINGS:
            found[".".join(map(str, path))] = digest
    return found


def changed_settings(settings: Mapping[str, str], make: EnvFn) -> list[str]:
    """Return the names of attributes that a new environment has not as `settings` says, but what an episode changes.

    Args:
        settings: of the environment that was trained on; see `settings_of`.
        make: makes one anew.
    """
    fresh = Fresh(make)
    try:
        new = settings_of(fresh.env)
        changed = [_path(place) for place, digest in settings.items() if new.get(place) != digest]
        return sorted({str(path[-1]) for path in changed if not fits_within(path, fresh.episode_state)})
    finally:
        fresh.env.close()


def _path(place: str) -> Path:
    layer, *names = place.split(".")
    return (int(layer), *names)


def _digest(value: object) -> str:
    """Return a few characters that differ where the value does; empty for what is no plain value."""
    text = _text(value)
    return "" if text is None else hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(value: object) -> str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, np.ndarray):
        if value.dtype == object or value.nbytes > LARGEST_ARRAY:
            return None
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if isinstance(value, list | tuple) and len(value) <= LONGEST_LIST:
        parts = [_text(part) for part in value]
        return None if None in parts else f"{type(value).__name__}({','.join(part or '' for part in parts)})"
    if isinstance(value, Mapping) and len(value) <= LONGEST_LIST // 2:
        pairs = sorted(value.items(), key=lambda pair: repr(pair[0]))  # their order is no setting, and JSON sorts them
        return _text([part for pair in pairs for part in pair])
    return None
