import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.pipeline.environment.workers.memory import SharedMemory, can_hold, cells_of, read, row_of, written
from tensor_optix.support.trees import leaves

SHARED = Path("/dev/shm")  # noqa: S108 - only looked at
SPACES: list[spaces.Space[Any]] = [
    spaces.Box(-1, 1, (3, 2), np.float16),
    spaces.Box(0, 255, (4,), np.uint8),
    spaces.Discrete(5, start=2),
    spaces.MultiDiscrete([3, 4]),
    spaces.MultiBinary(3),
    spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.MultiBinary(2)])}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_both_sides_see_the_same_and_no_row_touches_another(space: spaces.Space[Any]) -> None:
    space.seed(0)
    ours = SharedMemory(space, space, 3)
    theirs = SharedMemory(space, space, 3, os.dup(ours.descriptor))
    samples = {name: [space.sample() for _ in range(3)] for name in ("observations", "finals", "actions")}
    for name, rows in samples.items():
        for i, sample in enumerate(rows):
            written(row_of(getattr(theirs, name), i), sample)
    for name, rows in samples.items():
        for i, sample in enumerate(rows):
            found = read(row_of(getattr(ours, name), i))
            assert all(map(np.array_equal, leaves(found), leaves(sample)))
            assert space.contains(found)
    for memory in (ours, theirs):
        memory.close()
        memory.close()


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Sequence(spaces.Discrete(2)), spaces.Dict(a=spaces.Text(3))])
def test_what_has_no_fixed_size_has_no_place(space: spaces.Space[Any]) -> None:
    assert cells_of(space) is None
    memory = SharedMemory(space, spaces.Discrete(2), 2)
    assert memory.observations is None
    assert memory.actions is not None
    memory.close()


def test_it_has_no_name_and_cannot_be_made_smaller() -> None:
    before = set(SHARED.glob("*"))
    memory = SharedMemory(SPACES[0], SPACES[0], 2)
    assert set(SHARED.glob("*")) <= before
    if hasattr(os, "memfd_create"):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.descriptor, 0)
    memory.close()


@pytest.mark.parametrize(
    ("space", "value", "fits"),
    [
        (spaces.Discrete(3), 1, True),
        (spaces.Discrete(3), True, True),
        (spaces.Discrete(3), 1.0, False),
        (spaces.Box(-1, 1, (2,)), [0.5, 1.0], True),
        (spaces.Box(-1, 1, (2,)), [0, 1], True),
        (spaces.Dict(a=spaces.Discrete(3), b=spaces.MultiBinary(2)), {"a": 2, "b": [0, 1]}, True),
        (spaces.Dict(a=spaces.Discrete(3), b=spaces.MultiBinary(2)), {"a": 2.0, "b": [0, 1]}, False),
    ],
)
def test_what_would_become_of_another_kind_is_told(space: spaces.Space[Any], value: Any, fits: bool) -> None:
    memory = SharedMemory(space, space, 1)
    assert can_hold(row_of(memory.actions, 0), value) is fits
    memory.close()
