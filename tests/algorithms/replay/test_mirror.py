"""Minibatches that are gathered on a device are those that numpy gathers, whatever was remembered, and how."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_optix.adapters._device_memory import DeviceMemory, held
from tensor_optix.algorithms.replay.drawn import gathered
from tensor_optix.algorithms.replay.mirror import Mirror
from tensor_optix.algorithms.replay.replay_buffer import ReplayBuffer
from tensor_optix.core.types import EpisodeData
from tests.fakes.device_memory import memory_of, sent
from tests.fakes.streams import Stream, window

both = pytest.mark.parametrize("framework", ["torch", "tf"])


def typed(data: EpisodeData, dtype: str, *, masked: bool, is_open: bool) -> EpisodeData:
    """The window with observations of a type, and with masks, or without what followed."""
    masks = np.random.default_rng(0).random((data.length, 4)) < 0.5
    return dataclasses.replace(
        data,
        observations=data.observations.astype(dtype),
        next_observations=None if is_open else np.asarray(data.next_observations).astype(dtype),
        next_action_masks=masks if masked else None,
    )


def assert_same(memory: ReplayBuffer, mirror: Mirror, n_batches: int = 3, batch_size: int = 50) -> None:
    drawn = memory.draw(n_batches, batch_size, np.random.default_rng(1))
    expected, found = gathered(drawn, memory.rings), mirror.gather(drawn, {})
    assert list(found) == list(expected)
    for name, tensor in found.items():
        array = tensor.numpy()
        assert array.dtype == held(expected[name].dtype)
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@both
@pytest.mark.parametrize("stack", [1, 3])
@settings(max_examples=25, deadline=None)
@given(
    n_envs=st.integers(1, 3),
    sizes=st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.booleans()), min_size=1, max_size=8),
    capacity=st.integers(4, 60),
    dtype=st.sampled_from(["uint8", "int32", "int64", "float32", "float64"]),
    restored=st.integers(0, 7),
    longest=st.sampled_from([1, 6, 50]),
)
def test_the_same_transitions(
    framework: str,
    stack: int,
    n_envs: int,
    sizes: list[tuple[int, bool, bool]],
    capacity: int,
    dtype: str,
    restored: int,
    longest: int,
) -> None:
    streams = [Stream(i, stack=stack, shape=(2,), longest=longest) for i in range(n_envs)]
    memory, mirror = ReplayBuffer(capacity), Mirror(memory_of(framework))
    for number, (size, masked, is_open) in enumerate(sizes):
        memory.add(typed(window(streams, size), dtype, masked=masked, is_open=is_open))
        if number == restored:
            arrays, meta = memory.state()
            memory, mirror = ReplayBuffer(capacity), Mirror(memory_of(framework))
            memory.restore(arrays, meta)
        assert mirror.follow(memory)
        if len(memory):
            assert_same(memory, mirror)


@both
def test_windows_that_came_before_or_together_are_copied_at_once(framework: str) -> None:
    streams, memory, mirror = [Stream(i, shape=(2,)) for i in range(2)], ReplayBuffer(40), Mirror(memory_of(framework))
    for count in (3, 1, 2):
        for _ in range(count):
            memory.add(window(streams, 7))
        assert mirror.follow(memory)
        assert_same(memory, mirror)


@both
def test_a_window_is_copied_once_and_of_a_block_only_where_it_is(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = [Stream(0, stack=4, shape=(84, 84), longest=500)]
    memory, mirror, sizes = ReplayBuffer(300), Mirror(memory_of(framework)), sent(monkeypatch)
    for _ in range(20):
        data = typed(window(stream, 20), "uint8", masked=False, is_open=False)
        memory.add(data)
        mirror.follow(memory)
        assert len(sizes) <= 2 * 4  # a piece of each ring, or two
        assert sum(sizes) == 20 * (84 * 84 + 8 + 4 + 1)
        sizes.clear()
    drawn = memory.draw(4, 64, np.random.default_rng(0))
    mirror.gather(drawn, {})
    patches = [*drawn.patches, *drawn.next_patches]
    assert len(sizes) <= 3 + 2 * 2
    assert sum(sizes) == 256 * 8 * (1 + 4 + 4) + sum(p.nbytes + values.nbytes for p, values in patches)


class _Full:
    """A device without room from the second time on."""

    def __init__(self, memory: DeviceMemory, room: int) -> None:
        self._memory, self._room = memory, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def reserve(self, shapes: Any) -> bool:
        self._room -= 1
        return self._room >= 0 and self._memory.reserve(shapes)


@pytest.mark.parametrize("room", [0, 1])
def test_a_device_without_room_is_told_of_also_when_masks_come_later(room: int) -> None:
    streams, memory = [Stream(0, shape=(2,))], ReplayBuffer(40)
    mirror = Mirror(_Full(memory_of("torch"), room))
    for masked in (False, True):
        memory.add(typed(window(streams, 5), "float32", masked=masked, is_open=False))
        assert mirror.follow(memory) is (room == 1 and not masked)
