"""Action masks, checked before anything is drawn or learned with them."""

import numpy as np

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.algorithms._distributions import FORBIDDEN, Distribution, masked
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError


def checked_masks(distribution: Distribution, masks: object, length: int, size: int) -> np.ndarray:
    """Return masks (B = `length`, P = `size`) as bool.

    Raises:
        BadDataError: another shape, or a row in which nothing is allowed.
        SpaceError: these actions cannot be masked.
    """
    masks = np.asarray(masks, bool)
    distribution.check_masks(masks, length, size)
    return masks


def window_masks(distribution: Distribution, window: EpisodeData, size: int) -> np.ndarray | None:
    """Return a window's masks (T, P = `size`) bool, None if it has none.

    Raises:
        BadDataError: masks of another shape, or an action that its mask forbids.
        SpaceError: these actions cannot be masked.
    """
    if window.action_masks is None:
        return None
    masks, actions = checked_masks(distribution, window.action_masks, window.length, size), np.asarray(window.actions)
    uniform = masked(NUMPY_OPS, np.zeros(masks.shape), masks)
    broken = distribution.log_prob_and_entropy(NUMPY_OPS, uniform, actions)[0] <= 0.5 * FORBIDDEN
    if broken.any():
        row = int(broken.argmax())
        raise BadDataError(
            f"The action {actions[row]} of row {row} of window {window.episode_id} is forbidden by its mask. Draw "
            f"actions with act_masked where the environment has masks."
        )
    return masks
