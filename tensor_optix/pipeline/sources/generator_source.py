"""Any generator as a feed that waits for the agent."""

import inspect
import queue
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

from tensor_optix.core.base_agent import Seedable
from tensor_optix.core.types import Action
from tensor_optix.errors import ContractError, FeedFatalError
from tensor_optix.pipeline.feed.reader import Closable, DataSource, TakesActions, check_source, is_replayable
from tensor_optix.pipeline.feed.sorting import ends_episode


class GeneratorSource:
    """Asks a generator for its next item when the action for the last one is there, and not before.

    The generator receives each action as the value of `yield` (None after an item that ends an episode, and before the
    first); `apply`, where it is given, is called with it:

        def market():
            position = 0
            for change, features in ticks:
                position = yield features, position * change, False, False, {}

        pipeline = LivePipeline(GeneratorSource(market), agent)

    Args:
        items: a function that returns an iterable of items, called for each connection (with `after` where it takes
            that); an iterable, which is read once; or a source of your own with `stream()`, whose other members count.
        apply: called with each action, in the thread that learns.
        waits: False reads ahead of the agent, as a plain source does; a generator is sent no actions then.
        observation_space: of the items, where it is known.
        action_space: of the actions, where it is known.

    Raises:
        ContractError: `items` is none of these.
    """

    def __init__(
        self,
        items: Callable[..., Iterable[Any]] | Iterable[Any] | DataSource,
        apply: Callable[[Any], object] | None = None,
        *,
        waits: bool = True,
        observation_space: object = None,
        action_space: object = None,
    ) -> None:
        self._source = items if isinstance(items, DataSource) else None
        self._open, self.is_replayable = _opener(items)
        self._apply = items.apply if apply is None and isinstance(items, TakesActions) else apply
        self.is_lockstep = waits
        self.is_finite = bool(getattr(items, "is_finite", self._source is None and not callable(items)))
        self.is_episodic = getattr(items, "is_episodic", None)
        self.observation_space = _known(observation_space, getattr(items, "observation_space", None))
        self.action_space = _known(action_space, getattr(items, "action_space", None))
        self._actions: queue.SimpleQueue[tuple[Action] | None] = queue.SimpleQueue()
        self._is_skipped = False

    def seed(self, seed: int) -> None:
        """Seed the source that is read, where it can be seeded."""
        if isinstance(self._source, Seedable):
            self._source.seed(seed)

    def apply(self, action: Action) -> None:
        """Hand an action on, and let the generator go on."""
        if self._apply is not None:
            self._apply(action)
        if self.is_lockstep:
            self._actions.put((action,))

    def skip(self) -> None:
        """Wait for no action on the last item: it was left out. Called by the pipeline, in the thread that reads."""
        self._is_skipped = True

    def close(self) -> None:
        """End the stream in progress, where it waits for an action, and the source that is read, where it can be."""
        self._actions.put(None)
        if isinstance(self._source, Closable):
            self._source.close()

    def stream(self, after: int | None = None) -> Iterator[Any]:
        """Yield the generator's items, each when the action for the one before has come."""
        actions = self._actions = queue.SimpleQueue()
        items = self._open(after)
        going_on = items.send if isinstance(items, Generator) else _next_of(items)
        taken: tuple[Action] | None = (None,)
        try:
            while taken is not None:
                try:
                    item = going_on(taken[0])
                except StopIteration:
                    return
                self._is_skipped, taken = False, (None,)
                yield item
                if self.is_lockstep and not self._is_skipped and not ends_episode(item):
                    taken = actions.get()
        finally:
            if isinstance(items, Generator):
                items.close()


def _opener(items: Any) -> tuple[Callable[[int | None], Iterable[Any]], bool]:
    """Return what opens a connection after an item, and whether it can go on after any."""
    open_stream: Callable[..., Any]
    if isinstance(items, DataSource):
        check_source(items)
        replays, open_stream = is_replayable(items), items.stream
    elif callable(items) and not (inspect.isasyncgenfunction(items) or inspect.iscoroutinefunction(items)):
        replays, open_stream = "after" in inspect.signature(items).parameters, items
    elif isinstance(items, Iterable) and not isinstance(items, str | bytes | Mapping):
        replays, open_stream = False, lambda: items
    else:
        raise ContractError(
            f"items must be a function that returns a plain generator, an iterable, or a source with stream(), but "
            f"got {items!r}. Each item is (observation, reward, terminated, truncated, info)."
        )

    def opened(after: int | None) -> Iterable[Any]:
        found = open_stream(after=after) if replays else open_stream()
        if not isinstance(found, Iterable):
            raise FeedFatalError(f"{items!r} must return an iterable of items, but it returned {found!r}.")
        return found

    return opened, replays


def _next_of(items: Iterable[Any]) -> Callable[[Any], Any]:
    iterator = iter(items)
    return lambda action: next(iterator)


def _known(given: object, of_items: object) -> object:
    return of_items if given is None else given
