"""Memory that a process shares with its workers: no name in any folder, gone with the last process that has it."""

import fcntl
import math
import mmap
import os
import tempfile

import numpy as np
from gymnasium import spaces

from tensor_optix.support.trees import Tree, is_tree, leaves, mapped

_ALIGNED = 64
"""Bytes: a cache line."""


class Cell:
    """An array of a fixed shape and type.

    Args:
        shape: of one row.
        dtype: of its elements.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)

    def size(self, rows: int) -> int:
        """Return the bytes of so many rows, up to the next cache line."""
        return -(-rows * math.prod(self.shape) * self.dtype.itemsize // _ALIGNED) * _ALIGNED


def cells_of(space: spaces.Space[object]) -> Tree:
    """Return the tree of cells that a space's elements fill; None where they have no fixed size."""
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return Cell(space.shape or (), space.dtype)
    if isinstance(space, spaces.Dict):
        parts: Tree = {name: cells_of(part) for name, part in space.spaces.items()}
    elif isinstance(space, spaces.Tuple):
        parts = tuple(cells_of(part) for part in space.spaces)
    else:
        return None
    return None if any(part is None for part in leaves(parts)) else parts


class SharedMemory:
    """Rows of observations, of final observations and of actions: one of each per environment.

    Args:
        observation_space: of one environment.
        action_space: of one environment.
        n_envs: N.
        descriptor: of the memory, where another process has made it; None = make it.
    """

    def __init__(
        self,
        observation_space: spaces.Space[object],
        action_space: spaces.Space[object],
        n_envs: int,
        descriptor: int | None = None,
    ) -> None:
        seen, taken = cells_of(observation_space), cells_of(action_space)
        trees = [seen, seen, taken]
        size = sum(cell.size(n_envs) for tree in trees if tree is not None for cell in leaves(tree))
        self.descriptor = _anonymous(max(size, 1)) if descriptor is None else descriptor
        """File descriptor; belongs to this object."""
        self._map, self._used, self._n_envs = mmap.mmap(self.descriptor, max(size, 1)), 0, n_envs
        self.observations, self.finals, self.actions = (
            None if tree is None else mapped(self._array, tree) for tree in trees
        )
        """Trees of (N, ...) arrays, None where the elements have no fixed size."""

    def _array(self, cell: Cell) -> np.ndarray:
        array = np.ndarray((self._n_envs, *cell.shape), cell.dtype, self._map, self._used)
        self._used += cell.size(self._n_envs)
        return array

    def close(self) -> None:
        """Give the descriptor back; the memory itself goes when nobody looks at it any more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def row_of(tree: Tree, i: int) -> Tree:
    """Return views on row `i` of a tree of (N, ...) arrays, None of None."""
    return None if tree is None else mapped(lambda leaf: leaf[i, ...], tree)


def can_hold(tree: Tree, value: Tree) -> bool:
    """Return whether a value of the same form keeps its kind when it is written: 1.5 is no choice, nor is 1.0."""
    if is_tree(tree):
        return all(leaves(mapped(can_hold, tree, value)))
    return np.can_cast(np.asarray(value).dtype, tree.dtype, "same_kind")


def written(tree: Tree, value: Tree) -> None:
    """Write a value of the same form into a tree of arrays."""
    if is_tree(tree):
        mapped(written, tree, value)
    else:
        tree[...] = value


def read(tree: Tree) -> Tree:
    """Return a copy of a tree of arrays; what has no axes becomes a number."""
    return mapped(lambda leaf: leaf.copy() if leaf.ndim else leaf[()], tree)


def row_bytes(tree: Tree) -> bytes:
    """Return what stands in a tree of arrays, one after the other."""
    return b"".join(leaf.tobytes() for leaf in leaves(tree))


def fill(tree: Tree, data: bytes) -> None:
    """Write what `row_bytes` returned into a tree of arrays of the same form."""
    begin = 0
    for leaf in leaves(tree):
        leaf[...] = np.frombuffer(data, leaf.dtype, leaf.size, begin).reshape(leaf.shape)
        begin += leaf.nbytes


def _anonymous(size: int) -> int:
    """Return the descriptor of memory without a name, all zeros."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("tensor-optix", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    # A worker that made it smaller would end this process, which looks at it.
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return descriptor
