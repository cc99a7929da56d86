"""The thread that reads a source, opens it again and ends."""

import gc
import itertools
import random
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import (
    ContractError,
    FeedError,
    FeedFatalError,
)
from tensor_optix.pipeline.feed import feed as feeds
from tensor_optix.pipeline.feed import reader
from tensor_optix.pipeline.feed.feed import FeedOptions, ResumePoint
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.fakes.feeds import (
    Acting,
    Blocking,
    Burst,
    Counting,
    Feed,
    Replayable,
    balanced,
    feed_threads,
    item,
    live,
    rows,
)
from tests.helpers import until

# --- sources ---


def test_a_source_without_stream() -> None:
    with pytest.raises(ContractError, match=r"stream\(\).*Write GeneratorSource\(items\)"):
        LivePipeline([1, 2])
    with pytest.raises(ContractError, match=r"pass Acting\(...\)"):
        LivePipeline(Acting)


def test_a_source_that_waits_must_take_actions() -> None:
    class Waiting(Feed):
        is_lockstep = True

    with pytest.raises(ContractError, match=r"is_lockstep = True, but has no apply\(action\)"):
        LivePipeline(Waiting([]))


def test_a_source_that_is_asynchronous_or_yields_nothing() -> None:
    class Asynchronous:
        async def stream(self) -> Any:
            yield item(0)

    class Nothing:
        def stream(self) -> None: ...

    with pytest.raises(ContractError, match="must be a plain generator"):
        LivePipeline(Asynchronous())
    with pytest.raises(FeedFatalError, match="must yield items, but it returned None"):
        list(live(Nothing()).episodes())


# --- disconnects ---


@pytest.mark.parametrize(
    "end", [ConnectionError("lost"), TimeoutError(), EOFError(), FeedError("gone"), OSError(5, "io"), None]
)
def test_a_stream_that_breaks_off_is_opened_again(end: Any) -> None:
    first = [item(n) for n in range(4)] + ([] if end is None else [end])
    source = Feed(first, [item(n) for n in range(10, 3000)])  # more than fit into the buffer
    window = next(live(source, n=6).episodes())
    assert rows([window]) == [(0, 1, 1), (1, 2, 2), (2, 3, 3), (10, 11, 11), (11, 12, 12), (12, 13, 13)]
    assert list(window.truncated) == [False, False, True, False, False, False]
    assert window.metadata["reconnects"] == 1
    assert window.metadata["breaks"] == (3,)
    assert balanced(window.metadata)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyError("x"), GeneratorExit(), SystemExit(3), KeyboardInterrupt(), MemoryError()]
)
def test_whatever_else_ends_the_thread_is_heard_of(error: BaseException) -> None:
    source = Feed([item(n) for n in range(6)] + [error], [])
    windows = live(source).episodes()
    next(windows)
    with pytest.raises(FeedFatalError, match=type(error).__name__) as caught:
        next(windows)
    assert caught.value.__cause__ is error
    assert not feed_threads()


def test_a_thread_that_dies_without_a_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.FeedReader, "_run", lambda self: None)
    with pytest.raises(FeedFatalError, match="without a word"):
        next(live(Feed([])).episodes())


@pytest.mark.parametrize("error", [ConnectionError("lost"), None])
def test_without_reconnecting_a_disconnect_is_the_end(error: Any) -> None:
    source = Feed([item(n) for n in range(5)] + ([error] if error else []), [])
    windows = live(source, reconnect_on_disconnect=False).episodes()
    next(windows)
    if error is None:
        assert next(windows, None) is None
    else:
        with pytest.raises(FeedFatalError, match="reconnect_on_disconnect"):
            next(windows)


@pytest.mark.parametrize(
    "error", [FeedFatalError("401"), PermissionError(), __import__("ssl").SSLCertVerificationError()]
)
def test_an_error_that_another_try_does_not_mend_is_raised(error: Exception) -> None:
    with pytest.raises(FeedFatalError):
        next(live(Feed([error], [])).episodes())


@pytest.mark.parametrize("attempts", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_tries_are_far_apart_and_random(attempts: int) -> None:
    waits: list[float] = []

    class Done(Exception):
        pass

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == attempts:
            raise Done

    class Refusing:
        def stream(self) -> Iterator[Any]:
            raise ConnectionRefusedError
            yield

    pipeline = LivePipeline(Refusing(), Counting(), sleep=sleep, rng=random.Random(1))
    with pytest.raises(FeedFatalError, match="Done"):
        next(pipeline.episodes())
    assert 0.1 <= min(waits) <= max(waits) <= 60.0
    assert waits[0] <= 0.2
    assert np.mean(waits[20:]) == pytest.approx(30.05, rel=0.05)  # full jitter: half the cap
    assert len(set(waits)) > 0.99 * attempts


def test_what_brought_items_is_tried_again_soon() -> None:
    waits: list[float] = []
    source = Feed(*[[item(n), item(n + 1), ConnectionError()] for n in range(0, 400, 10)], [item(n) for n in range(9)])
    list(itertools.islice(live(source, backoff=(0.1, 60.0), sleep=waits.append).episodes(), 10))
    assert waits
    assert max(waits) <= 0.2


# --- teardown ---


@pytest.mark.parametrize("closable", [True, False])
def test_teardown_ends_a_source_that_blocks(closable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source, looks = Blocking(closable), itertools.count()

    def clock() -> float:
        return 0.0 if closable else 0.1 * next(looks)

    monkeypatch.setattr(reader, "time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    agent = Counting()
    pipeline = live(source, agent=agent)
    waiting = threading.Thread(target=lambda: list(pipeline.episodes()), daemon=True)
    waiting.start()
    until(lambda: agent.seen)
    pipeline.teardown()  # on a clock that stands still it returns for no other reason than that the stream has ended
    assert next(looks) <= 10  # a source that cannot be closed is given 0.8 s, and no more
    assert bool(feed_threads()) != closable
    source.wake.set()
    waiting.join(60)
    assert not waiting.is_alive()


def close_in_random_states(count: int) -> None:
    rng = random.Random(0)
    for _ in range(count):
        kind = rng.randrange(4)
        breaks_off = [*(item(n) for n in range(7)), ConnectionError()], [ConnectionError()]
        source: Any = [Burst(10**9), Blocking(True, 7), Feed(*breaks_off), Replayable(10**9, 30)][kind]
        pipeline = live(source, n=5, buffer_size=10, backoff=(0.05, 60.0) if kind == 2 else (0.001, 0.01))
        list(itertools.islice(pipeline.episodes(), rng.randrange(1, 4) if kind in (0, 3) else 1))
        time.sleep(rng.random() * 0.005)
        pipeline.teardown()
        assert not feed_threads()


@pytest.mark.usefixtures("patient_reader")
@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_teardown_from_any_state_ends_the_thread_and_not_the_patience(
    count: int, caplog: pytest.LogCaptureFixture
) -> None:
    close_in_random_states(count)
    assert not [record for record in caplog.records if "does not end" in record.message]


def test_a_forgotten_pipeline_ends_its_thread() -> None:
    pipeline = live(Burst(10**9))
    next(pipeline.episodes())
    assert feed_threads()
    del pipeline
    gc.collect()
    assert not feed_threads()


def test_a_forgotten_pipeline_may_be_closed_by_its_own_thread() -> None:
    ended = threading.Event()

    class Collecting:
        def stream(self) -> Iterator[Any]:
            try:
                for n in itertools.count():
                    yield (*item(n)[:4], {})
                    if n == 3:
                        feed.close()
            finally:
                ended.set()

    options = FeedOptions(
        buffer_size=1000, overflow="block", max_item_bytes=1000, reorder=(64, 0.2), reconnect=True,
        backoff=(0.001, 0.01), transient=reader.TRANSIENT, silence_timeout=None,
    )  # fmt: skip
    feed = feeds.Feed(Collecting(), options, ResumePoint(), clock=time.monotonic, sleep=None, rng=random.Random(0))
    feed.start()  # its close is what the collector calls
    assert ended.wait(60)


def test_a_stream_need_not_be_a_generator() -> None:
    class Listed:
        is_finite = True

        def stream(self) -> Any:
            return [item(n) for n in range(5)]

    (window,) = live(Listed()).episodes()
    assert rows([window]) == [(n, n + 1, n + 1) for n in range(4)]


def test_a_source_that_is_closed_and_does_not_leave_its_stream_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_END_SECONDS", 0.05)
    wake = threading.Event()

    class Deaf:
        def close(self) -> None:
            pass

        def stream(self) -> Iterator[Any]:
            assert wake.wait(60)
            yield item(0)

    pipeline = live(Deaf(), silence_timeout=0.05)
    with pytest.raises(FeedError, match="cannot be opened again"):
        next(pipeline.episodes())
    wake.set()
    pipeline.teardown()


def test_a_source_that_cannot_be_closed_is_reported_and_the_others_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    wake = threading.Event()

    class Broken:
        def close(self) -> None:
            wake.set()
            raise ValueError("mine")

        def stream(self) -> Iterator[Any]:
            yield from (item(n) for n in range(5))
            wake.wait(60)

    pipeline = live(Broken())
    next(pipeline.episodes())
    pipeline.teardown()
    assert any("Closing the feed's source failed" in record.getMessage() for record in caplog.records)
    until(lambda: not feed_threads())
