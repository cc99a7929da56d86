"""Where a window of a live feed ends."""

import itertools
from typing import Any

import pytest

from tensor_optix.errors import (
    ContractError,
    InvalidArgumentError,
)
from tensor_optix.pipeline.feed import boundaries
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.fakes.feeds import (
    Counting,
    Feed,
    item,
)


def test_windows_end_by_time_of_arrival() -> None:
    clock = itertools.count(0.0, 10.0)
    source = Feed([item(n) for n in range(20)])
    pipeline = LivePipeline(source, Counting(), LivePipeline.every_n_seconds(35), clock=lambda: next(clock))
    first = next(pipeline.episodes())
    assert first.length == 4
    pipeline.teardown()


@pytest.mark.parametrize("boundary", [LivePipeline.on_done_signal(), LivePipeline.on_done_signal])
def test_windows_end_with_the_episode(boundary: Any) -> None:
    items = [item(n, terminated=n in (3, 5)) for n in range(7)]
    windows = list(LivePipeline(Feed(items), Counting(), boundary).episodes())
    assert [w.length for w in windows] == [3, 1]
    assert all(w.terminated[-1] for w in windows)


def test_windows_end_by_a_function_of_the_user() -> None:
    calls = []

    def ends(step_count: int, elapsed_seconds: float, observation: Any) -> bool:
        calls.append((step_count, elapsed_seconds >= 0, int(observation[0])))
        return observation[0] % 3 == 0

    windows = list(LivePipeline(Feed([item(n) for n in range(7)]), Counting(), ends).episodes())
    assert [w.length for w in windows] == [3, 3]
    assert calls[:4] == [(1, True, 1), (2, True, 2), (3, True, 3), (1, True, 4)]


def test_a_boundary_that_raises_is_named() -> None:
    pipeline = LivePipeline(Feed([item(n) for n in range(7)]), Counting(), lambda *_: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ContractError, match="episode_boundary_fn raised ZeroDivisionError"):
        list(pipeline.episodes())
    pipeline.teardown()


def test_a_boundary_that_never_fires_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundaries, "MAX_STEPS", 5)
    pipeline = LivePipeline(Feed([item(n) for n in range(9)]), Counting(), lambda *_: False)
    with pytest.raises(ContractError, match="has not ended a window in 5 steps"):
        list(pipeline.episodes())
    pipeline.teardown()


@pytest.mark.parametrize(
    "boundary", [LivePipeline.every_n_steps(7), LivePipeline.every_n_seconds(7.0)], ids=["steps", "seconds"]
)
def test_a_boundary_that_fires_by_itself_may_take_its_time(boundary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundaries, "MAX_STEPS", 5)
    clock = itertools.count()
    pipeline = LivePipeline(Feed([item(n) for n in range(30)]), Counting(), boundary, clock=lambda: next(clock) / 2)
    assert next(pipeline.episodes()).length >= 7
    pipeline.teardown()


@pytest.mark.parametrize("make", [LivePipeline.every_n_steps, LivePipeline.every_n_seconds])
def test_bad_boundaries(make: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="n must be"):
        make(0)
    with pytest.raises(InvalidArgumentError, match="n must be"):
        make("300")
    with pytest.raises(ContractError, match="episode_boundary_fn"):
        LivePipeline(Feed([]), episode_boundary_fn=3)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match=r"every_n_steps\(200\)"):
        LivePipeline(Feed([]), episode_boundary_fn=make)
