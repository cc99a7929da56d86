"""Where two stacks of layers part."""

import pytest

from tensor_optix.adapters._trunk import trunk_length

A, B, C, D = (object() for _ in range(4))


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [
        ([A, B, C], [A, B, D], 2),
        ([A, B], [A, C, B], 1),
        ([A, B], [C, B], 0),
        ([A, B, C], [A, B, C], 2),
        ([A, B], [A, B, C], 1),
        ([A], [A], 0),
        ([], [A], 0),
    ],
    ids=["heads", "other layers, too", "nothing", "all of them", "all of one", "one layer", "none"],
)
def test_the_trunk_ends_where_the_layers_differ_and_before_the_last(
    first: list[object], second: list[object], length: int
) -> None:
    assert trunk_length(first, second) == length
    assert trunk_length(second, first) == length


def test_layers_that_are_only_alike_are_no_trunk() -> None:
    assert trunk_length([[1], [2]], [[1], [2]]) == 0
