"""Memories in every pipeline: whose memory an agent acts with is never another episode's."""

import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix import (
    BasePipeline,
    BatchPipeline,
    EnvironmentSource,
    LivePipeline,
    RLOptimizer,
    VectorBatchPipeline,
)
from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.errors import ContractError
from tensor_optix.pipeline.environment.acting import EpisodeActing
from tests.fakes.remembering import Handing, Keeping, Numbered, Told, Undeclared, UndeclaredBatch, follows

Notes = Callable[[bool], object]
WINDOWS = 12


def vector(mode: AutoresetMode, n: int = 3) -> VectorBatchPipeline:
    return VectorBatchPipeline(SyncVectorEnv([Numbered] * n, autoreset_mode=mode), window_size=8)


SINGLE: list[Callable[[], BasePipeline]] = [
    lambda: BatchPipeline(Numbered(), window_size=8),
    lambda: BatchPipeline(Numbered(), n_episodes=2),
    lambda: LivePipeline(EnvironmentSource(Numbered()), episode_boundary_fn=LivePipeline.every_n_steps(8)),
    lambda: LivePipeline(EnvironmentSource(Numbered()), episode_boundary_fn=LivePipeline.on_done_signal()),
]
SEVERAL = [lambda mode=mode: vector(mode) for mode in AutoresetMode] + [
    lambda: VectorBatchPipeline([Numbered] * 3, window_size=8)
]


def windows_of(pipeline: BasePipeline, agent: Any, n: int = WINDOWS) -> list[Any]:
    pipeline.agent = agent
    pipeline.setup()
    try:
        return list(itertools.islice(pipeline.episodes(), n))
    finally:
        pipeline.teardown()


@pytest.mark.parametrize("make", SINGLE + SEVERAL)
@pytest.mark.parametrize("kind", [Handing, Keeping])
def test_a_declared_memory_is_of_the_same_episode_everywhere(make: Callable[[], BasePipeline], kind: Any) -> None:
    seen: list[bool] = []
    windows = windows_of(make(), kind(seen.append))
    assert len(seen) >= sum(window.length for window in windows)
    # Where a vector spends steps on resets, the final observation is acted on in vain, with the memory of its episode.
    assert all(seen)


@pytest.mark.parametrize("make", SINGLE)
def test_an_agent_is_told_where_an_episode_begins(make: Callable[[], BasePipeline]) -> None:
    seen: list[bool] = []
    windows_of(make(), Told(seen.append))
    assert seen
    assert all(seen)


def test_one_memory_for_several_environments_is_refused() -> None:
    pipeline = vector(AutoresetMode.NEXT_STEP)
    pipeline.agent = Told(lambda _: None)
    with pytest.raises(ContractError, match="episode_memory"):
        pipeline.setup()


@pytest.mark.parametrize("make", SINGLE + SEVERAL)
def test_a_window_says_what_was_remembered_before_its_first_step(make: Callable[[], BasePipeline]) -> None:
    for window in windows_of(make(), Handing(lambda _: None)):
        first = np.arange(window.n_envs) * (window.length // window.n_envs)
        assert window.memories is not None
        for row, memory in zip(first, window.memories, strict=True):
            assert follows(window.observations[row], memory)


def test_a_window_of_an_agent_without_memory_says_nothing() -> None:
    assert all(
        window.memories is None for window in windows_of(BatchPipeline(Numbered()), Undeclared(lambda _: None), 2)
    )


class Seeded(Numbered):
    """The same episode for the same seed, so that it can be played again."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.number = 10 + int(self.np_random.integers(1000))
        return self.look(), {}


@pytest.mark.parametrize(
    "make",
    [
        lambda: BatchPipeline(Seeded(), window_size=5, seed=0),
        lambda: VectorBatchPipeline([Seeded] * 3, window_size=5, seed=0),
        lambda: VectorBatchPipeline(
            SyncVectorEnv([Seeded] * 3, autoreset_mode=AutoresetMode.NEXT_STEP), window_size=5, seed=0
        ),
    ],
)
@pytest.mark.parametrize("windows", range(1, 6))
def test_a_run_resumed_in_the_middle_of_an_episode_remembers_it(make: Any, windows: int) -> None:
    seen: list[bool] = []
    straight = windows_of(make(), Handing(lambda _: None), windows + 3)
    pipeline = make()
    pipeline.agent = Handing(lambda _: None)
    pipeline.setup()
    list(itertools.islice(pipeline.episodes(), windows))
    state = json.loads(json.dumps(pipeline.stream_state()))
    resumed = make()
    resumed.agent = Handing(seen.append)
    resumed.setup()
    resumed.restore_stream(state)
    found = list(itertools.islice(resumed.episodes(), 3))
    if not isinstance(pipeline, BatchPipeline) and pipeline.stream_state()["trace"] is None:
        return  # a ready-made vector's episodes cannot be played again: new ones have begun
    assert all(seen)
    for window, expected in zip(found, straight[windows:], strict=True):
        assert np.array_equal(window.observations, expected.observations)
        assert str(window.memories) == str(expected.memories)


def test_a_memory_that_cannot_be_saved_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Handing):
        def act_recurrent(self, observations: Any, memories: Any, **_: Any) -> tuple[Any, list[Any]]:
            return np.zeros(len(memories), np.int64), [object()] * len(memories)

    acting = EpisodeActing()
    acting.one(Odd(lambda _: None), np.zeros(2))
    with caplog.at_level(logging.WARNING):
        assert acting.state() is None
        assert acting.state() is None
    assert caplog.text.count("Odd remembers") == 1


def test_another_agent_begins_with_nothing_and_a_greedy_view_is_no_other_agent() -> None:
    first, second = (Handing(lambda _: None) for _ in range(2))
    acting = EpisodeActing()
    acting.one(first, np.array([1.0, 0.0]))
    acting.install(GreedyAgent(first))
    assert acting.memories is not None
    assert acting.memories[0] is not None
    acting.install(second)
    assert acting.memories == [None]


class Counting(Undeclared):
    """It remembers nothing, but how often it has acted and what it drew."""

    def act(self, observation: Any) -> int:
        self.calls = getattr(self, "calls", 0) + 1
        return int(self.rng.integers(2))

    rng = np.random.default_rng(0)


@pytest.mark.parametrize("make", SEVERAL[-1:])
@pytest.mark.parametrize(("kind", "warned"), [(Undeclared, 1), (Handing, 0), (Keeping, 0), (Counting, 0)])
def test_a_memory_that_is_not_declared_is_told_once_where_episodes_share_it(
    make: Callable[[], BasePipeline], kind: Any, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    windows_of(make(), kind(lambda _: None), 3)
    said = [record.getMessage() for record in caplog.records if "side by side" in record.getMessage()]
    assert len(said) == warned
    assert all("acting changes its 'last'" in one and "act_recurrent, or begin_episode" in one for one in said)


def test_in_one_episode_at_a_time_nothing_is_shared(caplog: pytest.LogCaptureFixture) -> None:
    windows_of(BatchPipeline(Numbered(), window_size=8), Undeclared(lambda _: None), 2)
    assert "side by side" not in caplog.text


@pytest.mark.parametrize("kind", [Handing, Keeping, Told, Undeclared, UndeclaredBatch])
@pytest.mark.parametrize("val_pipeline", ["auto", None])
def test_a_run_never_acts_with_the_memory_of_another_episode(kind: Any, val_pipeline: Any, tmp_path: Path) -> None:
    seen: list[bool] = []
    RLOptimizer(
        kind(seen.append),
        BatchPipeline(gym.make("Numbered-v0"), window_size=17),
        val_pipeline,
        max_episodes=4,
        checkpoint_dir=tmp_path,
    ).run()
    if kind is UndeclaredBatch:  # it is found out by its first validation, which is then played again
        assert seen[-len(seen) // 2 :].count(False) == 0
    else:
        assert all(seen)


@pytest.mark.parametrize("kind", [Handing, Keeping])
def test_so_it_is_with_a_pipeline_of_ones_own_for_validation(kind: Any, tmp_path: Path) -> None:
    seen: list[bool] = []
    RLOptimizer(
        kind(seen.append),
        BatchPipeline(gym.make("Numbered-v0"), window_size=17),
        BatchPipeline(gym.make("Numbered-v0"), window_size=13),
        max_episodes=4,
        checkpoint_dir=tmp_path,
    ).run()
    assert all(seen)
