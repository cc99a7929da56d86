"""What a replay memory will take, and what there is."""

import builtins
import io
import os
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.support.memory import free_memory, memory_kills, transition_bytes


@pytest.mark.parametrize(
    ("observation", "action", "size"),
    [
        (spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2), 12 + 8 + 9),
        (np.zeros((84, 84), np.uint8), np.zeros(2, np.float32), 84 * 84 + 8 + 9),
    ],
)
def test_a_transition_takes_observation_action_and_nine_bytes(observation: Any, action: Any, size: int) -> None:
    assert transition_bytes(observation=observation, action=action) == size


def test_free_memory_is_a_number_of_bytes() -> None:
    free = free_memory()
    assert free is None or free > 1 << 20


def test_where_the_system_does_not_tell_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("not here")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(os, "sysconf", refuse)
    free, kills = free_memory(), memory_kills()
    monkeypatch.undo()
    assert (free, kills) == (None, None)


@pytest.mark.parametrize(("text", "found"), [("nr_free_pages 9\noom_kill 3\n", 3), ("nr_free_pages 9\n", None)])
def test_processes_that_the_system_has_ended_are_counted(
    text: str, found: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "open", lambda *_: io.StringIO(text))
    kills = memory_kills()
    monkeypatch.undo()
    assert kills == found
