import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_optix.algorithms.replay.replay_buffer import ReplayBuffer
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError, CheckpointMismatchError, InvalidArgumentError
from tensor_optix.support.memory import transition_bytes
from tests.fakes.streams import Stream, window

Transition = tuple[bytes, int, float, bool, bytes]


def collected(windows: list[EpisodeData]) -> list[Transition]:
    return [t for w in windows for t in rows_of(vars(w))]


def rows_of(batch: Any) -> list[Transition]:
    names = ("observations", "actions", "rewards", "terminated", "next_observations")
    return [
        (o.tobytes(), int(a), float(r), bool(t), following.tobytes())
        for o, a, r, t, following in zip(*(batch[name] for name in names), strict=True)
    ]


def sampled(buffer: ReplayBuffer, n: int = 4000) -> set[Transition]:
    batch = buffer.sample(1, n, np.random.default_rng(0))
    return set(rows_of({name: values[0] for name, values in batch.items()}))


@settings(max_examples=60, deadline=None)
@given(
    n_envs=st.integers(1, 3),
    stack=st.sampled_from([1, 3]),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    capacity=st.integers(4, 60),
    seed=st.integers(0, 10_000),
)
def test_what_comes_out_is_what_went_in_and_the_oldest_give_way(
    n_envs: int, stack: int, sizes: list[int], capacity: int, seed: int
) -> None:
    streams = [Stream(seed + 7 * i, stack=stack, shape=(2,)) for i in range(n_envs)]
    buffer, windows = ReplayBuffer(capacity), []
    for size in sizes:
        windows.append(window(streams, size))
        buffer.add(windows[-1])
    if len(buffer):
        found = sampled(buffer)
        columns = -(-capacity // n_envs)
        newest = set()
        for i in range(n_envs):
            steps = sum(sizes)
            own = [t for w in windows for t in collected([w])[i * w.length // n_envs : (i + 1) * w.length // n_envs]]
            newest |= set(own[max(steps - columns, 0) :])
        assert found <= newest
        if len(buffer) <= 40:
            assert len(found) == len(buffer)


def test_it_holds_exactly_its_capacity_of_vectors() -> None:
    stream, buffer = [Stream(0, shape=(3,))], ReplayBuffer(50)
    windows = [window(stream, 20) for _ in range(7)]
    for w in windows:
        buffer.add(w)
    assert len(buffer) == buffer.most == 50
    assert sampled(buffer) == set(collected(windows)[-50:])


def test_a_window_longer_than_the_memory_leaves_its_end() -> None:
    w = window([Stream(0, shape=(3,)), Stream(1, shape=(3,))], 100)
    buffer = ReplayBuffer(20)
    buffer.add(w)
    rows = collected([w])
    assert sampled(buffer) == set(rows[90:100]) | set(rows[190:])


def test_a_stream_that_breaks_between_windows_keeps_what_followed() -> None:
    first, second = window([Stream(0, shape=(2,), longest=100)], 5), window([Stream(3, shape=(2,), longest=100)], 5)
    buffer = ReplayBuffer(20)
    buffer.add(first)
    buffer.add(second)
    assert sampled(buffer) == set(collected([first, second]))


def test_batches_are_stacked_and_keep_their_dtypes() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (12, 4, 8, 8)).astype(np.uint8)
    data = EpisodeData(
        observations=frames,
        actions=np.zeros((12, 2), np.float32),
        rewards=[1.0] * 12,
        terminated=[False] * 12,
        truncated=[False] * 12,
        next_observations=frames,
        next_action_masks=np.ones((12, 3), bool),
    )
    buffer = ReplayBuffer(100)
    buffer.add(data)
    batch = buffer.sample(5, 7, np.random.default_rng(0))
    assert {name: (v.shape, v.dtype) for name, v in batch.items()} == {
        "observations": ((5, 7, 4, 8, 8), np.uint8),
        "next_observations": ((5, 7, 4, 8, 8), np.uint8),
        "actions": ((5, 7, 2), np.float32),
        "rewards": ((5, 7), np.float32),
        "terminated": ((5, 7), bool),
        "next_action_masks": ((5, 7, 3), bool),
    }
    assert buffer.sampled_bytes == sum(values[0, 0].nbytes for values in batch.values())


def test_the_same_generator_samples_the_same() -> None:
    buffer = ReplayBuffer(100)
    buffer.add(window([Stream(0, shape=(2,))], 60))
    first, second = (buffer.sample(3, 8, np.random.default_rng(5)) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_sampling_is_uniform() -> None:
    buffer = ReplayBuffer(10)
    buffer.add(window([Stream(0, shape=(1,), longest=100)], 14))
    drawn = buffer.sample(1, 50_000, np.random.default_rng(0))["observations"][0, :, 0]
    _, counts = np.unique(drawn, return_counts=True)
    assert len(counts) == 10
    assert counts.min() > 4_700
    assert counts.max() < 5_300


def test_a_million_halfcheetah_transitions_take_at_most_a_tenth_more_than_their_bytes() -> None:
    buffer = ReplayBuffer(1_000_000)
    raw = 17 * 8 + 6 * 4 + 4 + 1
    for _ in range(20):  # memory that is not written to takes no room
        truncated = np.zeros(2000, bool)
        truncated[999::1000] = True
        observations = np.random.default_rng(0).normal(size=(2000, 17))
        buffer.add(
            EpisodeData(
                observations=observations,
                actions=np.zeros((2000, 6), np.float32),
                rewards=np.zeros(2000, np.float32),
                terminated=np.zeros(2000, bool),
                truncated=truncated,
                next_observations=observations + 1.0,
            )
        )
    per_episode = buffer._finals.nbytes / 40
    assert buffer.nbytes - buffer._finals.nbytes + 1000 * per_episode <= 1.1 * 1_000_000 * raw


def test_a_million_stacked_frames_take_at_most_a_tenth_more_than_the_single_frames() -> None:
    stream = Stream(0, stack=4, shape=(84, 84), longest=1000)
    buffer = ReplayBuffer(1_000_000)
    w = window([stream], 600)
    buffer.add(
        EpisodeData(
            **{
                **vars(w),
                "observations": w.observations.astype(np.uint8),
                "next_observations": w.next_observations.astype(np.uint8),
            }
        )
    )
    frame = 84 * 84
    beside = (buffer._finals.nbytes + buffer._starts.nbytes) / 600  # of this stream, whose episodes are short
    ring = buffer.nbytes - buffer._finals.nbytes - buffer._starts.nbytes
    assert ring / 1_000_000 + beside <= 1.1 * frame


@pytest.mark.parametrize("stack", [1, 4])
def test_a_saved_memory_goes_on_as_if_nothing_had_happened(stack: int) -> None:
    def fresh() -> tuple[list[Stream], ReplayBuffer]:
        return [Stream(i, stack=stack, shape=(2,)) for i in range(2)], ReplayBuffer(40)

    streams, whole = fresh()
    for _ in range(6):
        whole.add(window(streams, 9))
    streams, first = fresh()
    for _ in range(3):
        first.add(window(streams, 9))
    second = ReplayBuffer(40)
    second.restore(*first.state())
    for _ in range(3):
        second.add(window(streams, 9))
    for name, values in whole.sample(4, 50, np.random.default_rng(1)).items():
        np.testing.assert_array_equal(values, second.sample(4, 50, np.random.default_rng(1))[name])


def test_an_empty_memory_is_saved_and_restored() -> None:
    buffer = ReplayBuffer(10)
    buffer.restore(*ReplayBuffer(10).state())
    assert len(buffer) == 0


def test_a_saved_memory_that_does_not_fit_changes_nothing() -> None:
    buffer = ReplayBuffer(10)
    buffer.add(window([Stream(0, shape=(2,))], 8))
    arrays, meta = buffer.state()
    before = sampled(buffer)
    with pytest.raises(CheckpointMismatchError, match="capacity 11, this one 10"):
        buffer.restore(arrays, meta | {"capacity": 11})
    with pytest.raises(CheckpointMismatchError, match="not whole"):
        buffer.restore({name: a for name, a in arrays.items() if name != "following"}, meta)
    assert sampled(buffer) == before


class TestBadInput:
    def test_capacity(self) -> None:
        with pytest.raises(InvalidArgumentError, match="capacity must be at least 1, but got 0"):
            ReplayBuffer(0)

    def test_nothing_to_sample(self) -> None:
        with pytest.raises(InvalidArgumentError, match="empty"):
            ReplayBuffer(5).sample(1, 1, np.random.default_rng(0))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"n_envs": 2}, "steps of 1 environments, but window 0 is of 2"),
            ({"actions": np.zeros((4, 2))}, "actions of window 0 have shape"),
            ({"observations": np.zeros((4, 3), np.int64)}, "observations of window 0 have shape"),
            ({"next_observations": np.zeros((4, 5), np.int64)}, "next_observations of window 0 have shape"),
            ({"next_observations": np.zeros((4, 2), np.float32)}, "dtype float32"),
        ],
    )
    def test_windows_unlike_the_first(self, change: dict[str, Any], message: str) -> None:
        stream, buffer = [Stream(0, shape=(2,))], ReplayBuffer(20)
        buffer.add(window(stream, 4))
        before = sampled(buffer, 200)
        with pytest.raises(BadDataError, match=message):
            buffer.add(EpisodeData(**{**vars(window(stream, 4)), **change}))
        assert len(buffer) == 4
        assert sampled(buffer, 200) == before


def test_an_estimate_before_anything_is_stored_is_what_it_takes() -> None:
    buffer = ReplayBuffer(1000)
    w = window([Stream(0, shape=(3,), longest=100)], 50)
    buffer.add(w)
    estimate = 1000 * transition_bytes(observation=w.observations[0], action=w.actions[0])
    assert estimate == pytest.approx(buffer.nbytes, rel=0.02)


def test_where_only_some_windows_have_masks_everything_is_allowed_in_the_others() -> None:
    stream, buffer, mask = [Stream(0, shape=(2,), longest=100)], ReplayBuffer(30), np.array([[True, False, True]] * 5)
    windows = [window(stream, 5) for _ in range(3)]
    masks = [None, mask, None]
    for w, m in zip(windows, masks, strict=True):
        buffer.add(EpisodeData(**{**vars(w), "next_action_masks": m}))
    batch = buffer.sample(1, 500, np.random.default_rng(0))
    is_second = np.isin(batch["observations"][0, :, 0], windows[1].observations[:, 0])
    assert (batch["next_action_masks"][0] == np.where(is_second[:, None], mask[0], True)).all()


def test_a_memory_too_small_for_stacks_keeps_them_whole() -> None:
    streams, buffer = [Stream(i, stack=4, shape=(2,)) for i in range(8)], ReplayBuffer(16)
    windows = [window(streams, 3) for _ in range(2)]
    for w in windows:
        buffer.add(w)
    assert len(buffer) == 16
    assert sampled(buffer) <= set(collected(windows))


def without_next(window: EpisodeData) -> EpisodeData:
    return replace(window, next_observations=None)


@settings(max_examples=40, deadline=None)
@given(
    n_envs=st.integers(1, 3),
    stack=st.sampled_from([1, 3]),
    sizes=st.lists(st.integers(1, 7), min_size=2, max_size=6),
    seed=st.integers(0, 1000),
)
def test_without_next_observations_the_next_row_is_what_followed(
    n_envs: int, stack: int, sizes: list[int], seed: int
) -> None:
    streams = [Stream(10 * seed + i, stack=stack) for i in range(n_envs)]
    windows = [window(streams, n) for n in sizes]
    known, unknown = ReplayBuffer(100), ReplayBuffer(100)
    for each in windows:
        known.add(each)
        unknown.add(without_next(each))
    rows, last = sampled(unknown), windows[-1]
    whole = [t for t in sampled(known) if not t[3]]
    cut = {t[0] for w in windows for t, ended in zip(rows_of(vars(w)), w.dones, strict=True) if ended}
    goes_on = not last.dones.reshape(n_envs, -1)[:, -1].all()
    newest = {t[0] for t in np.array(rows_of(vars(last)), object).reshape(n_envs, -1, 5)[:, -1]} if goes_on else set()
    assert {t for t in rows if not t[3]} == {t for t in whole if t[0] not in cut | newest}
    assert {t[0] for t in rows if t[3]} == cut - newest
    if goes_on:
        assert len(unknown) == len(known) - n_envs


def test_a_memory_whose_newest_steps_are_open_goes_on_after_it_was_saved() -> None:
    streams = [Stream(3, longest=50)]
    first, second = (without_next(window(streams, 4)) for _ in range(2))
    memory = ReplayBuffer(20)
    memory.add(first)
    arrays, meta = memory.state()
    resumed = ReplayBuffer(20)
    resumed.restore(arrays, json.loads(json.dumps(meta)))
    for each in (memory, resumed):
        each.add(second)
    assert sampled(resumed) == sampled(memory)
    assert len(resumed) == len(memory) == 7
