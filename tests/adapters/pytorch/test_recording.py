"""Replays against the same calls on plain arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters.pytorch._recording import Recorded, Recording, bare, beside

RNG = np.random.default_rng(0)
FIRST, SECOND = (RNG.standard_normal((5, 4)).astype(np.float32) for _ in range(2))
ROWS, COLUMNS = np.arange(5), RNG.integers(0, 4, 5)


def in_place(x: Any) -> Any:
    y = x * 2.0
    y += np.arange(4, dtype=np.float32)
    np.tanh(y, out=y)
    return y


def written(x: Any) -> Any:
    whole = np.zeros_like(x)
    whole[ROWS, COLUMNS] = x[..., 1]
    whole[:, 0] = 3.0
    return whole + np.full_like(x, x[0, 0]) + np.ones_like(x)


def added_at(x: Any) -> Any:
    whole = np.zeros_like(x[:, 0])
    np.add.at(whole, COLUMNS, x[:, 1])
    return whole


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda x: (1.0 - x) * x / (x * x + 2.0) - (-x) ** 2,
    "functions": lambda x: np.logaddexp(np.exp(x), np.sqrt(np.maximum(x, 0.5))),
    "reductions": lambda x: np.add.reduce(x, -1) + np.maximum.reduce(x, -1, keepdims=True)[:, 0],
    "a scalar": lambda x: np.add.reduce(x.reshape((-1,))) / np.float32(x.size),
    "products": lambda x: (x.T @ x) @ np.ones((x.shape[-1], 2), np.float32),
    "in place": in_place,
    "written": written,
    "added at": added_at,
    "taken": lambda x: np.take(x, np.argmax(x, -1), 0),
    "entries": lambda x: x[ROWS, COLUMNS],
    "views": lambda x: x[1:, None][..., ::-1].reshape((-1, 4)) + x.T.copy().T[:4],
    "a copy in another shape": lambda x: x.T.reshape((20,)),
    "where": lambda x: np.where(x > 0.1, x, np.float32(2.0)),
    "concatenate": lambda x: np.concatenate([x, np.broadcast_to(x[0], x.shape)], -1),
    "argmax": lambda x: np.argmax(x, -1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_replay_computes_what_the_calls_would_on_the_new_values(name: str) -> None:
    memory, recording, function = FIRST.copy(), Recording(), FUNCTIONS[name]
    result = function(Recorded(memory, recording))
    for values in (FIRST, SECOND, FIRST):
        memory[...] = values
        recording.replay()
        expected = function(values)
        np.testing.assert_array_equal(bare(result), expected)
        assert result.dtype == expected.dtype


def test_an_array_outside_gets_what_was_computed() -> None:
    memory, outside, recording = FIRST.copy(), np.zeros((5, 4), np.float32), Recording()
    np.copyto(outside, Recorded(memory, recording))
    outside += Recorded(memory, recording)
    memory[...] = SECOND
    recording.replay()
    np.testing.assert_array_equal(outside, SECOND + SECOND)


def test_a_weight_beside_a_recorded_array_is_read_in_each_replay() -> None:
    weight, recording = np.full(1, 2.0, np.float32), Recording()
    result = np.exp(beside(weight, Recorded(FIRST, recording)))
    weight[:] = 3.0
    recording.replay()
    np.testing.assert_array_equal(bare(result), np.exp(np.full(1, 3.0, np.float32)))
    assert beside(weight, FIRST) is weight


@pytest.mark.parametrize(
    "unknown",
    [
        np.asarray,
        np.median,
        np.sort,
        float,
        bool,
        lambda x: np.empty((5, 4)).__setitem__(..., x),
        lambda x: np.full(3, x[0, 0]),
        lambda x: x.sum(),
        lambda x: 1 if x[0, 0] > 0.0 else 2,
    ],
)
def test_what_would_become_a_constant_is_refused(unknown: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        unknown(Recorded(FIRST.copy(), Recording()))
