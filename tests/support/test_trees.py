"""Arrays in dicts and tuples: what is done to one is done to all of them, and nothing to what is no array."""

from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from tensor_optix.support.trees import (
    column,
    concatenated,
    copied,
    is_tree,
    leaves,
    mapped,
    n_rows,
    put,
    rows,
    stacked,
    taken,
    without_gradients,
)

TREE = {"price": np.array([[1.0, 2.0], [3.0, 4.0]]), "of": (np.array([5, 6]), {"deep": np.array([True, False])})}
ROWS = [
    {"price": np.array([1.0, 2.0]), "of": (np.int64(5), {"deep": np.True_})},
    {"price": np.array([3.0, 4.0]), "of": (np.int64(6), {"deep": np.False_})},
]


def plain(tree: Any) -> Any:
    return mapped(lambda leaf: np.asarray(leaf).tolist(), tree)


def test_rows_and_stacked_are_each_others_inverse() -> None:
    assert [plain(row) for row in rows(TREE)] == [plain(row) for row in ROWS]
    assert plain(stacked(ROWS)) == plain(TREE)
    assert [leaf.dtype.kind for leaf in leaves(stacked(ROWS))] == ["f", "i", "b"]
    assert n_rows(TREE) == 2


def test_a_list_is_rows_already_and_an_array_has_its_own() -> None:
    assert rows([3, 4]) == [3, 4]
    assert rows(np.array([3, 4])) == [3, 4]
    np.testing.assert_array_equal(stacked([3, 4]), [3, 4])


@pytest.mark.parametrize(
    ("value", "expected"), [({}, True), ((1,), True), ([1], False), (np.zeros(2), False), (3, False)]
)
def test_dicts_and_tuples_are_trees(value: Any, expected: bool) -> None:
    assert is_tree(value) is expected


def test_some_rows_are_taken_and_one_is_put() -> None:
    assert plain(taken(TREE, slice(1, None))) == {"price": [[3.0, 4.0]], "of": ([6], {"deep": [False]})}
    tree = copied(TREE)
    put(tree, 0, ROWS[1])
    assert [plain(row) for row in rows(tree)] == [plain(ROWS[1])] * 2
    assert plain(TREE["of"][0]) == [5, 6]  # a copy was written to


def test_a_copy_shares_no_memory_and_keeps_what_is_no_array() -> None:
    found = copied({"a": TREE["price"], "n": 3})
    assert not np.shares_memory(found["a"], TREE["price"])
    assert type(found["n"]) is int


def test_trees_are_joined_by_their_arrays() -> None:
    assert plain(concatenated([TREE, TREE])["of"]) == ([5, 6, 5, 6], {"deep": [True, False, True, False]})


def test_values_of_several_shapes_become_an_array_of_objects() -> None:
    found = column([(1, 2), (3,)])
    assert found.dtype == object
    assert list(found) == [(1, 2), (3,)]


def test_a_copy_has_containers_and_arrays_of_its_own_and_the_same_objects() -> None:
    thing = object()
    info = MappingProxyType({"a": [np.ones(1), (1, {"b": 2})], "c": thing, "d": "text"})
    again = copied(info)
    assert again == {"a": [np.ones(1), (1, {"b": 2})], "c": thing, "d": "text"}
    assert again["a"] is not info["a"]
    assert again["a"][0] is not info["a"][0]
    assert again["c"] is thing


def test_text_of_any_length_may_take_its_place() -> None:
    texts = column(["a", "bc"])
    put(texts, 0, "longer")
    assert texts.tolist() == ["longer", "bc"]
    assert type(texts[1]) is str
    steps = column([np.array(["a", "b"]), np.array(["longer", "c"])])
    assert steps.tolist() == [["a", "b"], ["longer", "c"]]
    assert steps.dtype == object


def test_no_tensor_of_a_tree_asks_for_a_gradient() -> None:
    class Tensor:
        requires_grad = True

        def detach(self) -> str:
            return "detached"

    plain = object()
    assert without_gradients({"a": (Tensor(), plain)}) == {"a": ("detached", plain)}
