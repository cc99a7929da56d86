"""What a window brings to a replay memory: rows of N environments, (N, T/N, ...)."""

from collections.abc import Mapping

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError

MOST_FRAMES = 16
"""Deepest stack of frames that is looked for."""


def rows_of(window: EpisodeData) -> dict[str, np.ndarray]:
    """Return what is stored of each step, by name."""
    rows = {
        "observations": window.observations,
        "actions": window.actions,
        "rewards": np.asarray(window.rewards, np.float32),
        "terminated": np.asarray(window.terminated, bool),
    }
    if window.next_observations is None:  # what followed a cut is not known: it is taken for the end of the task
        rows["terminated"] = window.dones
    if window.next_action_masks is not None:
        rows["next_action_masks"] = np.asarray(window.next_action_masks, bool)
    return {name: by_environment(window, values) for name, values in rows.items()}


def following_rows(window: EpisodeData) -> np.ndarray:
    """Return what followed each step, (N, T/N, ...): the next row, where the window does not say it.

    After the last row of an environment stands that row itself, for what is not known yet.
    """
    if window.next_observations is not None:
        return by_environment(window, window.next_observations)
    observations = by_environment(window, window.observations)
    return np.concatenate([observations[:, 1:], observations[:, -1:]], axis=1)


def by_environment(window: EpisodeData, values: object) -> np.ndarray:
    """Return rows (T, ...) as (N, T/N, ...)."""
    values = np.asarray(values)
    return values.reshape(window.n_envs, -1, *values.shape[1:])


def stack_depth(observations: np.ndarray) -> int:
    """Return K where observations (N, n, K, ...) are stacks of the K newest frames, else 1."""
    if observations.ndim < 4 or observations.shape[1] < 2:
        return 1
    depth = observations.shape[2]
    if not 2 <= depth <= MOST_FRAMES:
        return 1
    shifted = (observations[:, 1:, :-1] == observations[:, :-1, 1:]).reshape(*observations[:, 1:].shape[:2], -1).all(-1)
    return depth if shifted.mean() > 0.5 else 1


def check_like(
    window: EpisodeData, rows: Mapping[str, np.ndarray], rings: Mapping[str, np.ndarray], n_envs: int, stack: int
) -> None:
    """Raise `BadDataError` unless a window's rows have the shapes and dtypes of those that are stored.

    Args:
        window: the rows' window.
        rows: (N, n, ...) by name, `next_observations` among them.
        rings: (N, C, ...) what is stored.
        n_envs: N of what is stored.
        stack: K, the frames of one observation, of which one is stored.
    """
    if window.n_envs != n_envs:
        raise BadDataError(
            f"The replay memory holds steps of {n_envs} environments, but window {window.episode_id} is of "
            f"{window.n_envs}. Train an agent from one pipeline, or make a new one."
        )
    for name, values in rows.items():
        ring = rings.get("observations" if name == "next_observations" else name)
        if ring is None:  # the first masks
            continue
        is_stack = stack > 1 and name in ("observations", "next_observations")
        expected = (stack, *ring.shape[2:]) if is_stack else ring.shape[2:]
        if values.shape[2:] != expected or values.dtype != ring.dtype:
            raise BadDataError(
                f"The {name} of window {window.episode_id} have shape {values.shape[2:]} and dtype {values.dtype} "
                f"per step, but the replay memory holds {expected} of {ring.dtype}."
            )
