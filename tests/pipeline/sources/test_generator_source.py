"""Generators that wait for the agent: every reward is that of the action for the item before."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import GeneratorSource, LivePipeline
from tensor_optix.errors import BadDataError, ContractError, FeedFatalError
from tensor_optix.pipeline.sources.replay_source import ReplaySource
from tests.fakes import feeds
from tests.fakes.feeds import BAD, Acting, Counting, Replayable, balanced, feed_threads, item, rows
from tests.helpers import until

_OPENED: list[LivePipeline] = []


def live(*args: Any, **options: Any) -> LivePipeline:
    """A pipeline that is closed after the test, as its source would wait for ever."""
    _OPENED.append(feeds.live(*args, **options))
    return _OPENED[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().teardown()


def observed(n: int) -> np.ndarray:
    return np.array([n, 0.0], np.float32)


def echo(count: int = 21) -> Iterator[Any]:
    """The reward of each item is the action that was sent after the item before."""
    action = 0.0
    for n in range(count):
        action = yield observed(n), action, False, False, {}


class Desk:
    """A plain source: the reward of an item is the newest order that it has had."""

    observation_space, action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.Discrete(1000)
    is_finite = True

    def __init__(self, count: int = 21) -> None:
        self.count, self.order = count, -1
        self.orders_at: list[int] = []
        self.seed_given: int | None = None

    def stream(self) -> Iterator[Any]:
        for n in range(self.count):
            self.orders_at.append(self.order)
            yield observed(n), float(self.order), False, False, {}

    def apply(self, action: Any) -> None:
        self.order = action

    def seed(self, seed: int) -> None:
        self.seed_given = seed


def rewards(pipeline: Any) -> list[float]:
    return [float(reward) for window in pipeline.episodes() for reward in window.rewards]


class TestWaiting:
    def test_a_generator_receives_the_action_for_the_item_that_it_gave(self) -> None:
        assert rewards(live(GeneratorSource(echo()), n=5)) == list(range(20))

    def test_a_plain_source_gets_its_order_before_the_next_item_is_made(self) -> None:
        desk = Desk()
        assert rewards(live(GeneratorSource(desk), n=5)) == list(range(20))
        assert desk.orders_at == list(range(-1, 20))

    def test_a_function_is_told_by_apply(self) -> None:
        orders: list[int] = []
        source = GeneratorSource(lambda: (item(n, truncated=n == 9) for n in range(10)), orders.append)
        window = next(live(source, n=9).episodes())
        assert window.length == 9
        assert orders == list(range(9))

    def test_the_source_waits_while_the_agent_learns(self) -> None:
        desk = Desk()
        windows = live(GeneratorSource(desk), n=5).episodes()
        next(windows)
        assert len(desk.orders_at) == 6  # the item that ended the window is not yet acted on

    def test_no_decision_is_stale(self) -> None:
        *_, last = live(GeneratorSource(Desk(60)), n=5).episodes()
        assert last.metadata["stale_decisions"] == 0
        assert balanced(last.metadata)

    def test_nothing_is_waited_for_after_an_end(self) -> None:
        items = [item(n, terminated=n % 4 == 3) for n in range(13)]
        windows = list(live(GeneratorSource(Acting(items)), n=3).episodes())
        assert [row[2] for row in rows(windows)] == [n for n in range(13) if n % 4]

    def test_it_reads_ahead_if_told(self) -> None:
        desk = Desk()
        source = GeneratorSource(desk, waits=False)
        windows = live(source, n=5, agent=Counting(lambda n: until(lambda: len(desk.orders_at) == 21) or 7)).episodes()
        assert list(next(windows).rewards) == [-1.0] * 5
        assert source.is_lockstep is False


class TestItemsThatAreLeftOut:
    def test_those_that_came_before_are_not_waited_for(self) -> None:
        items = [item(n, numbered=True) for n in (0, 1, 1, 2, 0, 3, 4, 4, 5, 6, 7, 8)]
        (first, second) = live(GeneratorSource(Acting(items)), n=4).episodes()
        assert rows([first, second]) == [(n, n + 1, n + 1) for n in range(8)]
        assert second.metadata["duplicates"] == 3
        assert second.metadata["stale_decisions"] == 0

    def test_a_resumed_pipeline_passes_over_what_it_has_seen(self) -> None:
        def pipeline() -> Any:
            return live(GeneratorSource(Acting([item(n, numbered=True) for n in range(13)])), n=4)

        begun = pipeline()
        windows = begun.episodes()
        seen = [next(windows), next(windows)]
        resumed = pipeline()
        resumed.restore_stream(begun.stream_state())
        begun.teardown()
        assert rows([*seen, *resumed.episodes()]) == [(n, n + 1, n + 1) for n in range(12)]

    def test_a_malformed_one_is_answered_by_the_safe_action(self) -> None:
        items = [item(0), item(1), BAD["nan"], item(3), item(4), item(5)]
        source = Acting(items)
        (window,) = live(GeneratorSource(source), n=3, safe_action=77).episodes()
        assert rows([window]) == [(0, 1, 1), (3, 4, 4), (4, 5, 5)]
        assert source.applied[2] == 77

    def test_without_a_safe_action_it_ends_the_run(self) -> None:
        with pytest.raises(BadDataError, match="safe_action"):
            list(live(GeneratorSource(Acting([item(0), BAD["nan"], item(2)]))).episodes())

    def test_a_malformed_end_of_an_episode_needs_no_action(self) -> None:
        bad = (np.full(2, np.nan, np.float32), 0.0, True, False, {})
        source = Acting([item(0), item(1), bad, item(3), item(4), item(5)])
        (window,) = live(GeneratorSource(source), n=3).episodes()
        assert rows([window]) == [(0, 1, 1), (3, 4, 4), (4, 5, 5)]
        assert window.metadata["stale_decisions"] == 0


class TestWhatIsRead:
    def test_a_function_is_called_for_each_connection(self) -> None:
        windows = live(GeneratorSource(lambda: (item(n) for n in range(5))), n=3).episodes()
        assert rows(itertools.islice(windows, 2)) == [(n, n + 1, n + 1) for n in (0, 1, 2, 3, 0, 1)]

    @pytest.mark.parametrize("items", [[item(n) for n in range(5)], (item(n) for n in range(5))])
    def test_an_iterable_is_read_once(self, items: Any) -> None:
        source = GeneratorSource(items)
        assert source.is_finite
        assert rows(live(source).episodes()) == [(n, n + 1, n + 1) for n in range(4)]

    def test_members_of_a_source_count(self) -> None:
        desk = Desk()
        source = GeneratorSource(desk)
        assert (source.observation_space, source.action_space) == (desk.observation_space, desk.action_space)
        assert source.is_finite
        live(source, seed=5)
        assert desk.seed_given == 5
        assert GeneratorSource(ReplaySource("session")).is_replayable is False

    def test_a_source_that_replays_is_asked_to_go_on(self) -> None:
        source = Replayable(40, breaks_after=7)
        windows = list(itertools.islice(live(GeneratorSource(source), n=5).episodes(), 3))
        assert rows(windows) == [(n, n + 1, n + 1) for n in range(15)]
        assert source.asked[:3] == [None, 6, 13]

    def test_a_function_with_after_can_be_asked_to_go_on(self) -> None:
        assert GeneratorSource(lambda after=None: iter(())).is_replayable
        assert not GeneratorSource(lambda: iter(())).is_replayable

    @pytest.mark.parametrize("items", [5, "items", {"a": 1}, Desk])
    def test_what_yields_no_items_is_refused(self, items: Any) -> None:
        with pytest.raises(ContractError):
            GeneratorSource(items)

    def test_an_asynchronous_generator_is_refused(self) -> None:
        async def items() -> Any:
            yield item(0)

        with pytest.raises(ContractError, match="plain generator"):
            GeneratorSource(items)  # type: ignore[arg-type]

    def test_a_function_that_returns_no_items_is_named(self) -> None:
        with pytest.raises(FeedFatalError, match="returned None"):
            list(live(GeneratorSource(lambda: None)).episodes())  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("make", [lambda: GeneratorSource(echo()), lambda: GeneratorSource(Desk())])
def test_it_ends_when_the_pipeline_does(make: Callable[[], Any]) -> None:
    pipeline = live(make(), n=5)
    next(pipeline.episodes())
    pipeline.teardown()
    until(lambda: not feed_threads())
