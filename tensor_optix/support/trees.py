"""Trees: an array, or dicts and tuples of trees. What is done to an array is done to each of a tree's.

A tree of arrays whose first axes are equally long has rows: one tree per index of that axis.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from tensor_optix.support.narrowing import is_list, is_mapping, is_tuple

Tree: TypeAlias = Any
"""See above. An array is whatever numpy makes one of, or a framework's tensor."""

_FIXED = frozenset((int, float, bool, str, type(None), np.float64, np.float32, np.int64, np.bool_))


def mapped(function: Callable[..., object], tree: Tree, *others: Tree) -> Tree:
    """Return the tree of what `function` gives for each leaf, called with the leaves at the same place of `others`."""
    if is_mapping(tree):
        return {name: mapped(function, part, *(other[name] for other in others)) for name, part in tree.items()}
    if is_tuple(tree):
        return tuple(mapped(function, part, *(other[i] for other in others)) for i, part in enumerate(tree))
    return function(tree, *others)


def copied(value: Tree) -> Tree:
    """Return a copy of what may be filled anew by whoever made it: dicts, lists, tuples, and the arrays in them."""
    if type(value) in _FIXED:
        return value
    if type(value) is np.ndarray:
        return value.copy()
    if is_mapping(value):
        return {name: part if type(part) in _FIXED else copied(part) for name, part in value.items()}
    if is_tuple(value):
        return tuple(map(copied, value))
    if is_list(value):
        return list(map(copied, value))
    return value


def leaves(tree: object) -> list[Tree]:
    """Return the arrays of a tree, in order."""
    if is_mapping(tree):
        return [leaf for part in tree.values() for leaf in leaves(part)]
    return [leaf for part in tree for leaf in leaves(part)] if is_tuple(tree) else [tree]


def without_gradients(tree: Tree) -> Tree:
    """Return a tree in which no tensor asks for a gradient, which could not be handed on as numbers.

    Where none does, it is the same object.
    """
    if type(tree) is np.ndarray:
        return tree
    if not is_tree(tree):
        return tree.detach() if _asks(tree) else tree
    return mapped(without_gradients, tree) if any(map(_asks, leaves(tree))) else tree


def _asks(leaf: object) -> bool:
    return getattr(leaf, "requires_grad", False) is True


def is_tree(value: object) -> bool:
    """Return whether a value is more than one array."""
    return is_mapping(value) or is_tuple(value)


def n_rows(tree: object) -> int:
    """Return how many rows a tree has; 0 where it has no array."""
    return next((len(leaf) for leaf in leaves(tree)), 0)


def taken(tree: Tree, index: object) -> Tree:
    """Return the tree of `leaf[index]`: a row of a tree, or some of its rows."""

    def part(leaf: Tree) -> Tree:
        return leaf[index]

    return mapped(part, tree) if is_tree(tree) else tree[index]


def put(tree: Tree, row: object, value: Tree) -> None:
    """Write a row of a tree."""

    def write(leaf: Tree, part: Tree) -> None:
        leaf[row] = part

    mapped(write, tree, value)


def rows(tree: Tree) -> list[Tree]:
    """Return the rows of a tree; what is a list of rows already is returned as one."""
    return [taken(tree, row) for row in range(n_rows(tree))] if is_tree(tree) else list(tree)


def stacked(of: Sequence[Tree]) -> Tree:
    """Return the tree whose rows are `of`, which all have the same form; see `column` for its arrays."""
    first = of[0] if len(of) else None
    if is_mapping(first):
        return {name: stacked([row[name] for row in of]) for name in first}
    if is_tuple(first):
        return tuple(stacked([row[i] for row in of]) for i in range(len(first)))
    return column(of)


def as_arrays(actions: Tree) -> Tree:
    """Return what may be a tree, or rows in a list, as arrays with one row each."""
    if is_tree(actions):
        return actions
    return stacked(actions) if is_list(actions) and actions and is_tree(actions[0]) else np.asarray(actions)


def column(values: Sequence[object]) -> np.ndarray:
    """Return values as an array with one row each, of objects where they are text or of several shapes."""
    try:
        array = np.array(values)
    except ValueError:
        return objects(values)
    if array.dtype.kind not in "US":
        return array
    # A longer text would be cut to their width.
    are_arrays = all(isinstance(value, np.ndarray) for value in values)
    return array.astype(object) if are_arrays else objects(values)


def objects(values: Sequence[object]) -> np.ndarray:
    """Return values as they are, as an array of objects with one row each."""
    found = np.empty(len(values), object)
    for row, value in enumerate(values):
        found[row] = value
    return found


def concatenated(trees: Iterable[Tree]) -> Tree:
    """Return trees of the same form, one after the other."""
    first, *others = trees

    def joined(*arrays: object) -> np.ndarray:
        return np.concatenate([np.asarray(array) for array in arrays])

    return mapped(joined, first, *others)
