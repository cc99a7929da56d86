import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import check_amount, check_count, check_flags, check_seed, check_threshold


@pytest.mark.parametrize("value", [0, 3, np.int64(3)])
def test_what_counts_passes(value: Any) -> None:
    check_count("n", value, 0)
    check_seed(value)
    check_amount("n", value)
    check_threshold("n", value, 0.0)


@pytest.mark.parametrize("value", [-1, True, None, "3", math.nan, [3]])
def test_what_does_not_count_is_refused_by_name(value: Any) -> None:
    for check in (lambda: check_count("n", value, 0), lambda: check_amount("n", value)):
        with pytest.raises(InvalidArgumentError, match=r"n must be a .* number of at least 0, but got"):
            check()
    with pytest.raises(InvalidArgumentError, match="n must be a number of at least 0, but got"):
        check_threshold("n", value, 0.0)


def test_a_count_is_whole_a_size_finite_and_a_threshold_may_be_beyond_everything() -> None:
    with pytest.raises(InvalidArgumentError, match="whole"):
        check_count("n", 3.0, 0)
    with pytest.raises(InvalidArgumentError, match="finite"):
        check_amount("n", math.inf)
    check_amount("n", 3.5)
    check_threshold("n", math.inf, 0.0)
    check_threshold("n", -math.inf)
    check_seed(None)


@pytest.mark.parametrize("value", [True, False, np.True_, 0, 1])
def test_flags_are_yes_or_no(value: Any) -> None:
    check_flags(first=True, second=value)


@pytest.mark.parametrize("value", ["no", "", None, 2, 0.0, [True], math.nan])
def test_a_flag_that_is_neither_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="second must be True or False, but got"):
        check_flags(first=True, second=value)
