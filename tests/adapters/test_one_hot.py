"""Which rows are taken for the places of their ones."""

from collections.abc import Callable

import numpy as np
import pytest

from tensor_optix.adapters._one_hot import places_in, with_places

PLACES = np.array([3, 0, 69, 3])
ROWS = np.eye(70, dtype=np.float32)[PLACES]


def test_one_hot_rows_are_the_places_of_their_ones() -> None:
    np.testing.assert_array_equal(places_in(ROWS), PLACES)
    np.testing.assert_array_equal(places_in(ROWS.reshape(2, 2, 70)), PLACES.reshape(2, 2))


def changed(place: tuple[int, int], value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[place] = value
    return rows


OTHERS: dict[str, Callable[[], object]] = {
    "another one in the first row": lambda: changed((0, 5), 1.0),
    "another number in a later row": lambda: changed((2, 5), 1e-30),
    "a row of zeros": lambda: changed((1, 0), 0.0),
    "two ones and none": lambda: changed((1, 0), 0.0) + changed((2, 5), 1.0) - ROWS,
    "another number than one": lambda: changed((1, 0), 2.0),
    "minus one": lambda: changed((1, 0), -1.0),
    "no number": lambda: changed((1, 0), np.nan),
    "in another precision": lambda: ROWS.astype(np.float64),
    "few columns": lambda: np.eye(16, dtype=np.float32),
    "columns that are no neighbours": lambda: np.asfortranarray(ROWS),
    "one row without a batch": lambda: ROWS[0],
    "nothing": lambda: ROWS[:0],
    "no array": lambda: ROWS.tolist(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_not(name: str) -> None:
    assert places_in(OTHERS[name]()) is None


def test_only_named_arrays_are_replaced() -> None:
    data = {"observations": ROWS, "next_observations": np.zeros((4, 70), np.float32), "weights": ROWS}
    found, columns = with_places(data, ["observations", "next_observations"])
    assert columns == {"observations": 70}
    np.testing.assert_array_equal(found["observations"], PLACES)
    assert found["next_observations"] is data["next_observations"]
    assert found["weights"] is ROWS
