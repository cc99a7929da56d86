"""Sequences of a window: whole episodes in rows of one length, and what is remembered where one is cut. Numpy only.

A window is cut at the ends of its segments (episode, environment, window), and a segment that is longer than L steps
every L steps. A piece that goes on with an episode begins a row of its own, with the memory of that step; the others
fill up what is left of the rows. So gradients flow through whole episodes of up to L steps, and little is padding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tensor_optix.adapters.backend import RecurrentPredictor
from tensor_optix.algorithms._forward import CHUNK_BYTES
from tensor_optix.core.types import EpisodeData, Memory


class Piece(NamedTuple):
    """Steps of one episode."""

    start: int
    """Its first row in the window."""
    length: int
    memory: Memory
    """(S,) what is remembered before it; None where an episode begins."""


@dataclass(frozen=True)
class Sequences:
    """Pieces in rows of L steps."""

    steps: np.ndarray
    """(R, L) rows of the window; row 0 where there is padding."""
    valid: np.ndarray
    """(R, L) bool, False where there is padding."""
    begins: np.ndarray
    """(R, L) bool, where an episode begins."""
    memory: np.ndarray
    """(R, S) what is remembered before the first step."""


class Passed(NamedTuple):
    """What a forward pass over a window gives."""

    outputs: np.ndarray
    """(T, P + 1)."""
    final_values: np.ndarray
    """(E,) the value that follows the last row of each segment; 0 where it is not known."""
    pieces: list[Piece]


def pass_over(predict: RecurrentPredictor, window: EpisodeData, memory_size: int, length: int) -> Passed:
    """Return the outputs at each step of a window, with the memory of its episode.

    Args:
        predict: the model.
        window: T steps.
        memory_size: S.
        length: L, steps after which an episode is cut.
    """
    ends = np.flatnonzero(window.segment_ends())
    observations, segments = _segments(window, ends)
    has_next = int(window.next_observations is not None)
    memories = _first_memories(window, ends)
    outputs, pieces = np.empty((len(observations), 0)), list[Piece]()
    for at in range(0, max(map(len, segments)), length):
        those = [k for k, segment in enumerate(segments) if at < len(segment)]
        for some in _bounded(those, 4 * length * math.prod(observations.shape[1:])):
            chunks = [segments[k][at : at + length] for k in some]
            rows = np.stack([np.pad(chunk, (0, length - len(chunk))) for chunk in chunks])
            begins = np.zeros(rows.shape, bool)
            begins[:, 0] = [memories[k] is None for k in some]
            found, after = predict(observations[rows], stacked([memories[k] for k in some], memory_size), begins)
            if not outputs.size:
                outputs = np.zeros((len(observations), found.shape[-1]), found.dtype)
            for k, chunk, values, memory in zip(some, chunks, found, after, strict=True):
                outputs[chunk] = values[: len(chunk)]
                steps = min(length, len(segments[k]) - has_next - at)
                if steps > 0:
                    pieces.append(Piece(int(chunk[0]), steps, memories[k]))
                memories[k] = memory
    known = outputs[window.length :, -1]
    return Passed(outputs[: window.length], known if has_next else np.zeros(len(ends), outputs.dtype), pieces)


def _segments(window: EpisodeData, ends: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return observations, and which of them each segment sees: its rows, and what followed the last where known."""
    observations = np.asarray(window.observations)
    segments = np.split(np.arange(window.length), ends[:-1] + 1)
    if window.next_observations is None:
        return observations, segments
    following = np.asarray(window.next_observations)[ends]
    joined = [np.append(segment, window.length + k) for k, segment in enumerate(segments)]
    return np.concatenate([observations, following]), joined


def _first_memories(window: EpisodeData, ends: np.ndarray) -> list[Memory]:
    """Return what is remembered before each segment; None where an episode begins, or where it is not known."""
    memories: list[Memory] = [None] * len(ends)
    if window.memories is not None:
        steps = window.length // window.n_envs
        for i, memory in enumerate(window.memories):
            memories[int(np.searchsorted(ends, i * steps))] = memory
    return memories


def _bounded(those: list[int], row_bytes: int) -> list[list[int]]:
    """Return the numbers in lists whose observations stay below `CHUNK_BYTES`."""
    size = max(1, CHUNK_BYTES // max(row_bytes, 1))
    return [those[i : i + size] for i in range(0, len(those), size)]


def stacked(memories: Sequence[np.ndarray | None], memory_size: int) -> np.ndarray:
    """Return memories as (B, S) float32, zeros where an episode begins."""
    zeros = np.zeros(memory_size, np.float32)
    return np.stack([zeros if memory is None else np.asarray(memory, np.float32) for memory in memories])


def most_rows(steps: int, n_envs: int, length: int) -> int:
    """Return how many rows of L = `length` steps a window hardly ever exceeds: two rows hold more than L steps.

    Arrays of this size compile once, however the episodes fall.
    """
    return 2 * -(-steps // length) + n_envs


def packed_in_rows(pieces: Sequence[Piece], memory_size: int, length: int) -> Sequences:
    """Return pieces of at most L = `length` steps in few rows, first come, first served."""
    rows: list[list[Piece]] = []
    used: list[int] = []
    for piece in sorted(pieces, key=lambda piece: piece.memory is None):  # those that go on come first
        fitting = (row for row, size in enumerate(used) if piece.memory is None and size + piece.length <= length)
        row = next(fitting, None)
        if row is None:
            rows.append([piece])
            used.append(piece.length)
        else:
            rows[row].append(piece)
            used[row] += piece.length
    steps = np.zeros((len(rows), length), np.intp)
    valid, begins = np.zeros(steps.shape, bool), np.zeros(steps.shape, bool)
    for row, those in enumerate(rows):
        at = 0
        for piece in those:
            steps[row, at : at + piece.length] = np.arange(piece.start, piece.start + piece.length)
            begins[row, at] = piece.memory is None
            at += piece.length
        valid[row, :at] = True
    return Sequences(steps, valid, begins, stacked([those[0].memory for those in rows], memory_size))
