"""Breaks in a stream: nothing is learned across them."""

import pytest

from tensor_optix.pipeline._items import BREAK
from tests.fakes.feeds import Feed, balanced, item, live, rows


def test_a_feed_of_which_nothing_can_be_learned_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert list(live(Feed([what for n in range(200) for what in (item(n), ("bad",))])).episodes()) == []
    assert [record.args for record in caplog.records if "stood alone" in record.msg] == [(64,), (128,)]


@pytest.mark.parametrize("numbered", [False, True])
def test_an_item_alone_between_two_breaks_is_dropped(numbered: bool) -> None:
    source = Feed([item(0), ConnectionError()], [item(5), ConnectionError()], [item(n) for n in range(10, 30)])
    window = next(live(source).episodes())
    assert window.metadata["dropped"] == 2
    assert rows([window])[0] == (10, 11, 11)
    assert balanced(window.metadata)


def test_an_episode_of_which_a_part_is_missing_is_not_counted() -> None:
    first = [item(0), item(1, terminated=True), item(2), item(3), ConnectionError()]
    second = [item(10), item(11, terminated=True), item(12), item(13, terminated=True), item(14)]
    window = next(live(Feed(first, second), n=4).episodes())
    assert [e.total_return for e in window.completed or ()] == [1.0, 13.0]


def test_a_break_that_the_source_tells_of() -> None:
    items = [item(0), item(1), BREAK, item(5), item(6), item(7)]
    (window,) = live(Feed(items)).episodes()
    assert rows([window]) == [(0, 1, 1), (5, 6, 6), (6, 7, 7)]


class TestLoggedEpisodes:
    """With reward_timing="same" an item has the end flag of its own step, wherever its window begins."""

    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
    @pytest.mark.parametrize("flag", ["terminated", "truncated"])
    def test_an_end_is_kept_wherever_the_windows_close(self, size: int, flag: str) -> None:
        source = Feed([item(n, **{flag: n % 3 == 2}) for n in range(12)])
        source.is_episodic = True  # type: ignore[attr-defined]
        windows = list(live(source, n=size, reward_timing="same").episodes())
        assert [bool(end) for w in windows for end in getattr(w, flag)] == [n % 3 == 2 for n in range(12)]
        assert [row[2] for row in rows(windows)] == list(range(12))
        assert [e.total_return for w in windows for e in w.completed or ()] == [3.0, 12.0, 21.0, 30.0]
        assert balanced(windows[-1].metadata)

    def test_a_held_item_that_ends_an_episode_may_be_a_window_of_its_own(self) -> None:
        windows = list(live(Feed([item(0), item(1, terminated=True), item(2)]), n=1, reward_timing="same").episodes())
        assert rows(windows) == [(0, 1, 0), (1, 1, 1)]
        assert [list(window.terminated) for window in windows] == [[False], [True]]
