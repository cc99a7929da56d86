"""Transitions by where they are in the ring; `test_replay_buffer.py` tests what is sampled of real ones."""

import numpy as np

from tensor_optix.algorithms.replay.drawn import Drawn, frames_of, gathered

RINGS = {"observations": np.arange(12.0).reshape(2, 6), "actions": np.arange(12).reshape(2, 6) + 100}


def drawn(depth: int) -> Drawn:
    envs, columns = np.array([0, 1, 1, 0]), np.array([0, 2, 5, 3])
    frames = [frames_of(each % 6, depth, 6) for each in (columns, columns + 1)]
    inner = () if depth == 1 else (depth,)
    return Drawn(2, envs, columns, *frames, [], [(np.array([2]), np.full((1, *inner), -1.0))])


def test_frames_are_the_newest_ones_up_to_a_column() -> None:
    columns = np.array([0, 4])
    assert frames_of(columns, 1, 6) is columns
    assert frames_of(columns, 3, 6).tolist() == [[4, 5, 0], [2, 3, 4]]


def test_minibatches_of_single_observations() -> None:
    found = gathered(drawn(1), RINGS)
    assert found["observations"].tolist() == [[0.0, 8.0], [11.0, 3.0]]
    assert found["next_observations"].tolist() == [[1.0, 9.0], [-1.0, 4.0]]
    assert found["actions"].tolist() == [[100, 108], [111, 103]]


def test_minibatches_of_stacks() -> None:
    found = gathered(drawn(2), RINGS)
    assert found["observations"].tolist() == [[[5.0, 0.0], [7.0, 8.0]], [[10.0, 11.0], [2.0, 3.0]]]
    assert found["next_observations"].tolist() == [[[0.0, 1.0], [8.0, 9.0]], [[-1.0, -1.0], [3.0, 4.0]]]
