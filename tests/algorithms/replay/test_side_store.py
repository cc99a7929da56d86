"""Observations beside the ring: first in, first out, under consecutive ids that start over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.algorithms.replay.side_store import SideStore


def numbers(*values: int) -> np.ndarray:
    return np.array([[value, -value] for value in values], np.float32).reshape(-1, 2)


def test_what_is_kept_comes_out_under_its_id() -> None:
    store = SideStore()
    first = store.append(numbers(1, 2))
    second = store.append(numbers(3))
    assert (first.tolist(), second.tolist()) == ([0, 1], [2])
    assert np.array_equal(store.get(np.array([2, 0, 1])), numbers(3, 1, 2))
    assert store.get(np.array([], np.int64)).shape == (0, 2)


def test_the_oldest_give_way_and_the_others_keep_their_ids() -> None:
    store = SideStore()
    store.append(numbers(*range(5)))
    store.drop(3)
    assert store.append(numbers(5)).tolist() == [5]
    assert np.array_equal(store.get(np.array([3, 4, 5])), numbers(3, 4, 5))


def test_nothing_is_reserved_until_something_is_kept() -> None:
    store = SideStore()
    assert store.nbytes == 0
    assert store.append(numbers()).tolist() == []
    assert (store.nbytes, store.next_id) == (0, 0)


def test_memory_follows_what_is_held_and_not_what_was_ever_kept() -> None:
    store = SideStore()
    for value in range(1000):
        store.append(numbers(value))
        if value >= 10:
            store.drop(1)
    assert store.nbytes <= 16 * numbers(0).nbytes
    assert np.array_equal(store.get(np.arange(990, 1000)), numbers(*range(990, 1000)))


@pytest.mark.parametrize("first", [SideStore.IDS - 2, SideStore.IDS - 1, SideStore.IDS, 3 * SideStore.IDS - 1])
def test_ids_start_over_and_are_still_told_apart(first: int) -> None:
    store = SideStore()
    store.restart(first, first)
    ids = store.append(numbers(1, 2, 3))
    assert ids.tolist() == [n % SideStore.IDS for n in range(first, first + 3)]
    assert np.array_equal(store.get(ids.astype(np.int32)), numbers(1, 2, 3))


def test_a_restart_holds_nothing_and_goes_on_from_its_ids() -> None:
    store = SideStore()
    store.append(numbers(1, 2))
    store.restart(40, 40)
    assert store.append(numbers(7)).tolist() == [40]
    assert np.array_equal(store.get(np.array([40])), numbers(7))


def test_saved_values_are_put_back_under_the_ids_that_they_had() -> None:
    store = SideStore()
    store.restart(5, 8)
    assert store.append(numbers(5, 6, 7), count_from=5).tolist() == [5, 6, 7]
    assert store.next_id == 8
    assert np.array_equal(store.get(np.array([7, 5])), numbers(7, 5))


def test_values_keep_their_type() -> None:
    store = SideStore()
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 6)
    found = store.get(store.append(images))
    assert found.dtype == np.uint8
    assert np.array_equal(found, images)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_whatever_comes_and_goes_each_id_holds_its_value(moves: list[tuple[int, int]]) -> None:
    store, held = SideStore(), {}
    value = 0
    for added, dropped in moves:
        ids = store.append(numbers(*range(value, value + added)))
        held |= {int(i): value + n for n, i in enumerate(ids)}
        value += added
        count = min(dropped, len(held))
        store.drop(count)
        for oldest in sorted(held)[:count]:
            del held[oldest]
    if held:
        assert np.array_equal(store.get(np.array(list(held))), numbers(*held.values()))
