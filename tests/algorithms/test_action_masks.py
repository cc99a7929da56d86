"""Masks are checked before anything is drawn or learned with them."""

import numpy as np
import pytest

from tensor_optix.algorithms._action_masks import checked_masks, window_masks
from tensor_optix.algorithms._distributions import distribution_named
from tensor_optix.errors import BadDataError, SpaceError
from tests.fakes.ppo import window

CATEGORICAL = distribution_named("categorical")


def test_masks_become_flags() -> None:
    assert checked_masks(CATEGORICAL, [[1, 0]], 1, 2).tolist() == [[True, False]]


def test_masks_of_another_shape_and_masks_of_numbers_are_refused() -> None:
    with pytest.raises(BadDataError, match="shape"):
        checked_masks(CATEGORICAL, [[1, 0, 1]], 1, 2)
    with pytest.raises(SpaceError, match="gaussian"):
        checked_masks(distribution_named("gaussian"), [[1, 0]], 1, 2)


def test_a_window_without_masks_has_none() -> None:
    assert window_masks(CATEGORICAL, window(), 2) is None


def test_an_action_that_its_mask_forbids_is_named() -> None:
    masks = np.ones((32, 2), bool)
    data = window(action_masks=masks)
    assert window_masks(CATEGORICAL, data, 2) is not None
    masks[5, data.actions[5]] = False
    with pytest.raises(BadDataError, match="row 5"):
        window_masks(CATEGORICAL, window(action_masks=masks), 2)
