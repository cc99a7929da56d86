"""Forward passes over a whole window: the same output, in as few passes as the memory allows."""

import numpy as np
import pytest

from tensor_optix.algorithms import _forward
from tensor_optix.algorithms._forward import in_chunks

ROWS = np.arange(20, dtype=np.float32).reshape(10, 2)


@pytest.mark.parametrize(
    ("chunk_bytes", "passes"), [(80, [10]), (79, [9, 1]), (24, [3, 3, 3, 1]), (8, [1] * 10), (1, [1] * 10)]
)
def test_a_window_is_cut_where_it_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, passes: list[int]
) -> None:
    monkeypatch.setattr(_forward, "CHUNK_BYTES", chunk_bytes)
    asked: list[int] = []

    def predict(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return rows * 2.0

    assert np.array_equal(in_chunks(predict, ROWS), ROWS * 2.0)
    assert asked == passes


def test_rows_count_as_float32_whatever_they_are_stored_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_forward, "CHUNK_BYTES", 40)
    asked: list[int] = []
    in_chunks(lambda rows: (asked.append(len(rows)), rows)[1], ROWS.astype(np.uint8))
    assert asked == [5, 5]


def test_an_output_may_have_any_shape() -> None:
    assert in_chunks(lambda rows: rows[:, :1, None], ROWS).shape == (10, 1, 1)
