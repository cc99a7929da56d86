"""Sequences: every step once, whole episodes where they fit, and the memory of where one goes on."""

from typing import Any

import numpy as np
import pytest

from tensor_optix.algorithms._sequences import Piece, packed_in_rows, pass_over, stacked
from tensor_optix.core.types import EpisodeData


def counting(observations: Any, memory: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (sum of the episode's observations so far, the same times ten); the sum is what is remembered."""
    observations = np.asarray(observations)
    outputs = np.zeros((*observations.shape[:2], 2))
    total = memory[:, 0].astype(np.float64)
    for t in range(observations.shape[1]):
        total = np.where(begins[:, t], 0.0, total) + observations[:, t, 0]
        outputs[:, t] = np.stack([total, 10 * total], axis=-1)
    return outputs, total[:, None].astype(np.float32)


def window(steps: int, n_envs: int, ends: list[int], memories: Any = None, knows_next: bool = True) -> EpisodeData:
    length = steps * n_envs
    observations = np.arange(1.0, length + 1)[:, None]
    terminated = np.isin(np.arange(length), ends)
    return EpisodeData(
        observations=observations,
        actions=np.zeros(length, np.int64),
        rewards=np.zeros(length, np.float32),
        terminated=terminated,
        truncated=np.zeros(length, bool),
        n_envs=n_envs,
        next_observations=observations + 0.5 if knows_next else None,
        memories=memories,
    )


def plainly(data: EpisodeData) -> tuple[list[float], list[float]]:
    """The sums of each episode, step by step, and what follows each segment."""
    sums, finals = [], []
    for row in range(data.length):
        env, step = divmod(row, data.length // data.n_envs)
        if step == 0:
            remembered = None if data.memories is None else data.memories[env]
            total = 0.0 if remembered is None else float(remembered[0])
        elif data.dones[row - 1]:
            total = 0.0
        total += float(data.observations[row, 0])
        sums.append(total)
        if data.segment_ends()[row]:
            finals.append(10 * (total + float(data.observations[row, 0]) + 0.5))
    return sums, finals


@pytest.mark.parametrize("length", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("ends", [[], [0], [2, 3, 9], [4, 9, 14], [14]])
@pytest.mark.parametrize("memories", [None, [np.array([100.0]), None, np.array([7.0])]])
def test_a_pass_goes_on_with_each_episode_however_it_is_cut(length: int, ends: list[int], memories: Any) -> None:
    data = window(5, 3, ends, memories)
    passed = pass_over(counting, data, 1, length)
    sums, finals = plainly(data)
    assert passed.outputs[:, 0].tolist() == sums
    assert passed.final_values.tolist() == finals
    assert sorted(row for piece in passed.pieces for row in range(piece.start, piece.start + piece.length)) == [
        *range(15)
    ]


def test_where_nothing_is_known_of_what_follows_the_final_values_are_zero() -> None:
    assert pass_over(counting, window(5, 1, [2], knows_next=False), 1, 2).final_values.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("ends", [[], [0], [2, 3, 9], [4, 9, 14]])
def test_rows_give_the_same_outputs_as_the_pass(length: int, ends: list[int]) -> None:
    data = window(5, 3, ends, [np.array([100.0]), None, np.array([7.0])])
    passed = pass_over(counting, data, 1, length)
    rows = packed_in_rows(passed.pieces, 1, length)
    assert sorted(rows.steps[rows.valid].tolist()) == [*range(15)]
    outputs, _ = counting(data.observations[rows.steps], rows.memory, rows.begins)
    np.testing.assert_array_equal(outputs[rows.valid], passed.outputs[rows.steps[rows.valid]])


def test_episodes_share_rows_and_one_that_goes_on_begins_a_row() -> None:
    goes_on = np.array([1.0])
    rows = packed_in_rows([Piece(0, 3, None), Piece(3, 2, goes_on), Piece(5, 2, None), Piece(7, 4, None)], 1, 5)
    assert rows.steps.tolist() == [[3, 4, 0, 1, 2], [5, 6, 0, 0, 0], [7, 8, 9, 10, 0]]
    assert rows.valid.sum(axis=1).tolist() == [5, 2, 4]
    assert rows.memory.tolist() == [[1.0], [0.0], [0.0]]
    assert np.argwhere(rows.begins).tolist() == [[0, 2], [1, 0], [2, 0]]


def test_memories_are_zeros_where_an_episode_begins() -> None:
    assert stacked([None, np.array([1.0, 2.0])], 2).tolist() == [[0.0, 0.0], [1.0, 2.0]]
