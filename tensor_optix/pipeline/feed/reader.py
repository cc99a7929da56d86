"""The thread that reads a feed, and opens it again when it breaks off."""

import contextlib
import inspect
import logging
import random
import ssl
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import tenacity

from tensor_optix.core.types import Action
from tensor_optix.errors import ContractError, FeedError, FeedFatalError
from tensor_optix.pipeline.feed.intake import Intake

logger = logging.getLogger(__name__)

TRANSIENT: tuple[type[BaseException], ...] = (OSError, EOFError, FeedError)
_FATAL = (FeedFatalError, ssl.SSLCertVerificationError, PermissionError)
_END_SECONDS = 0.8
"""Timeout for a source to leave its stream when it is closed."""


@runtime_checkable
class DataSource(Protocol):
    """What a live pipeline reads: each call of `stream` connects anew."""

    def stream(self) -> Iterable[Any]:
        """Yield `(observation, reward, terminated, truncated, info)` as it comes, without end."""
        ...


@runtime_checkable
class TakesActions(Protocol):
    """A source that acts."""

    def apply(self, action: Action) -> None:
        """Carry out the action chosen for the last item."""


@runtime_checkable
class Skippable(Protocol):
    """A source that waits for an action after each item, and can be told that none will come."""

    def skip(self) -> None:
        """Wait for no action on the last item: it was left out, as it came before, or too late, or is no item."""


@runtime_checkable
class Closable(Protocol):
    """A source whose stream can be ended while it waits."""

    def close(self) -> None:
        """End the stream in progress, from another thread: it returns or raises within a second."""


def check_source(source: Any) -> None:
    """Raise `ContractError` unless `source` has a `stream` that can be called and read without an event loop.

    One that waits for each action must take them.
    """
    stream = getattr(source, "stream", None)
    if isinstance(source, type):
        raise ContractError(f"data_source must be an object, but got the class itself: pass {source.__name__}(...).")
    if not callable(stream):
        raise ContractError(
            f"data_source must have a method stream() that yields (observation, reward, terminated, truncated, info), "
            f"but {type(source).__name__} has none. Write GeneratorSource(items) around a generator, or a function or "
            f"list of items."
        )
    if inspect.isasyncgenfunction(stream) or inspect.iscoroutinefunction(stream):
        raise ContractError(
            f"{type(source).__name__}.stream must be a plain generator, but it is asynchronous. It is read in a thread "
            f"of its own, so it may wait: use a client that blocks (websockets.sync.client, say)."
        )
    if getattr(source, "is_lockstep", False) and not isinstance(source, TakesActions):
        raise ContractError(
            f"{type(source).__name__} says is_lockstep = True, but has no apply(action), so it cannot wait for an "
            f"action. Give it one, or leave is_lockstep out."
        )


def is_replayable(source: Any) -> bool:
    """Return whether a source can send old items again: it says so, or its `stream` has a parameter `after`.

    `stream(after=number)` yields the items that follow `info["sequence"] == number`, None begins wherever the source
    does. With the resume state of a pipeline the learner then gets each item exactly once.
    """
    told = getattr(source, "is_replayable", None)
    return bool("after" in inspect.signature(source.stream).parameters if told is None else told)


def is_transient(error: BaseException, kinds: tuple[type[BaseException], ...] = TRANSIENT) -> bool:
    """Return whether another try may succeed."""
    if isinstance(error, _FATAL):
        return False
    websockets = sys.modules.get("websockets.exceptions")  # a source of the user's own may let its errors through
    return isinstance(error, kinds) or (websockets is not None and isinstance(error, websockets.ConnectionClosed))


def retrying(delays: tuple[float, float], rng: random.Random, **options: Any) -> Any:
    """Return tenacity's `Retrying` with exponential backoff and full jitter.

    The wait before attempt n + 1 is uniform between `low` and `min(high, low · 2ⁿ)`.
    Source: Exponential Backoff and Jitter (Brooker, AWS Architecture Blog, 2015).

    Args:
        delays: (low, high) seconds.
        rng: of the jitter.
        options: for `Retrying`.
    """
    low, high = delays
    ceiling = tenacity.wait_exponential(multiplier=2 * low, max=high)
    return tenacity.Retrying(wait=lambda state: rng.uniform(low, max(ceiling(state), low)), reraise=True, **options)


@contextlib.contextmanager
def _closed_after(stream: Iterable[object]) -> Iterator[Iterable[Any]]:
    """Close a generator when the block ends; anything else ends by itself."""
    try:
        yield stream
    finally:
        if isinstance(stream, Generator):
            stream.close()


class FeedReader:
    """Reads a source in a thread of its own, for as long as it lasts.

    Args:
        source: what to read.
        intake: where it goes.
        reconnect: open the source again when a stream breaks off by an error that may pass, or returns.
        delays: (low, high) seconds between tries.
        rng: of the jitter.
        sleep: waits so many seconds; None waits until the reader is closed at most.
        transient: kinds of errors that may pass.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: Any,
        intake: Intake,
        *,
        reconnect: bool,
        delays: tuple[float, float],
        rng: random.Random,
        sleep: Callable[[float], None] | None,
        transient: tuple[type[BaseException], ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reconnects = 0
        self.listening_since: float | None = None
        """When the stream in progress was opened; None between two."""
        self._source, self._intake, self._clock, self._transient = source, intake, clock, transient
        self._is_replayable = is_replayable(source)
        self._reconnects_at_all = reconnect and not getattr(source, "is_finite", False)
        self._was_connected = False
        self._closing = threading.Event()
        self._sleep = sleep if sleep is not None else lambda seconds: self._closing.wait(seconds) and None
        self._pause = lambda: self._sleep(rng.uniform(delays[0], 2 * delays[0]))
        self._retrying = (
            retrying(delays, rng, sleep=self._sleep, retry=self._is_worth_a_try, before_sleep=self._log)
            if self._reconnects_at_all
            else None
        )
        self._thread = threading.Thread(target=self._run, name="tensor-optix-feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether anything may still come."""
        return self._thread.is_alive()

    def restart_stream(self) -> None:
        """Make a stream that says nothing break off.

        Raises:
            FeedError: the source cannot be closed, or does not leave its stream.
        """
        stream_of = self.listening_since
        if isinstance(self._source, Closable):
            deadline = time.monotonic() + _END_SECONDS
            while time.monotonic() < deadline:
                self._source.close()
                for _ in range(20):
                    if self.listening_since != stream_of or not self.is_alive:
                        return
                    time.sleep(0.005)
        raise FeedError(
            f"The feed is silent, and {type(self._source).__name__} cannot be opened again: give it a method close() "
            f"that ends its stream() from another thread."
        )

    def close(self) -> None:
        """Stop reading; at most a second later nothing is read any more."""
        self._closing.set()
        self._intake.close()
        deadline = time.monotonic() + _END_SECONDS
        if self._thread is threading.current_thread():  # a forgotten pipeline, collected while this thread ran
            return
        while self._thread.is_alive() and time.monotonic() < deadline:
            if isinstance(self._source, Closable):
                try:
                    self._source.close()
                except Exception:  # the others are closed all the same
                    logger.warning("Closing the feed's source failed.", exc_info=True)
            self._thread.join(0.05)
        if self._thread.is_alive():
            logger.warning("The feed's source does not end; its thread is left behind, and nothing is read from it.")

    # --- in the thread ---

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._read()
        except BaseException as caught:  # whatever it is, the learner hears of it
            error = caught
        finally:
            self._intake.end(error)

    def _read(self) -> None:
        if self._retrying is None:
            self._read_stream()
            return
        while not self._closing.is_set():
            self._retrying(self._read_stream)
            if not self._closing.is_set() and not self._intake.ledger.wants_refetch:
                self._pause()

    def _read_stream(self) -> None:
        """Read one stream; returns if it brought something, so that the next failure waits for a short time only."""
        if self._closing.is_set():
            return
        count, put, intake = 0, self._intake.put, self._intake
        skip = self._source.skip if isinstance(self._source, Skippable) else None
        try:
            with _closed_after(self._open()) as stream:
                for item in stream:
                    count += 1
                    if count == 1:
                        self._has_begun()
                    taken = 0 if skip is None else intake.taken
                    if not put(item) or self._closing.is_set():
                        return
                    if skip is not None and intake.taken <= taken:
                        skip()
            if count == 0 and self._retrying is not None:
                raise FeedError("the stream ended before its first item")
        except BaseException as error:
            if self._closing.is_set():
                return
            if count == 0 or self._retrying is None or not is_transient(error, self._transient):
                raise
            logger.info("The feed broke off (%s); it is opened again.", type(error).__name__)
        finally:
            self.listening_since = None
            if self._retrying is not None:
                self._intake.interrupted()

    def _open(self) -> Iterable[Any]:
        self.listening_since = self._clock()
        source = self._source
        stream = source.stream(after=self._intake.resumes_after) if self._is_replayable else source.stream()
        if not isinstance(stream, Iterable):
            raise FeedFatalError(f"{type(source).__name__}.stream() must yield items, but it returned {stream!r}.")
        return stream

    def _has_begun(self) -> None:
        self.reconnects += self._was_connected
        self._was_connected = True

    def _is_worth_a_try(self, state: Any) -> bool:
        error = state.outcome.exception()
        return error is not None and not self._closing.is_set() and is_transient(error, self._transient)

    def _log(self, state: Any) -> None:
        error = state.outcome.exception()
        attempt = state.attempt_number
        level = logging.WARNING if attempt & (attempt - 1) == 0 else logging.DEBUG
        logger.log(
            level, "The feed cannot be opened (try %d, %s); the next try is later.", attempt, type(error).__name__
        )
