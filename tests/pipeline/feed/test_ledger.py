import random
from typing import Any

import pytest

from tensor_optix.pipeline._items import Break, Entry
from tensor_optix.pipeline.feed import ledger as ledger_module
from tensor_optix.pipeline.feed.ledger import SequenceLedger


def entry(n: int, now: float = 0.0) -> Entry:
    return Entry((n, 0.0, False, False, {}), now)


def fed(ledger: SequenceLedger, numbers: Any, epoch: Any = None, now: float = 0.0) -> list[Any]:
    """What comes out, by number, with "|" for a break."""
    out = [o for n in numbers for o in ledger.add(n, epoch, entry(n, now))]
    return ["|" if isinstance(o, Break) else o.item[0] for o in out]


def flushed(ledger: SequenceLedger) -> list[Any]:
    return ["|" if isinstance(o, Break) else o.item[0] for o in ledger.flush()]


@pytest.mark.parametrize(
    ("numbers", "delivered", "gaps", "late", "duplicates"),
    [
        ([5, 6, 7], [5, 6, 7], 0, 0, 0),
        ([5, 7, 6, 8], [5, 6, 7, 8], 0, 0, 0),
        ([5, 5, 6, 5, 6], [5, 6], 0, 0, 3),
        ([5, 7, 7, 6], [5, 6, 7], 0, 0, 1),
        ([5, 8, 9, 10, 11], [5, "|", 8, 9, 10, 11], 2, 0, 0),
        ([5, 8, 9, 10, 11, 6], [5, "|", 8, 9, 10, 11], 1, 1, 0),
        ([5, 8, 9, 10, 11, 6, 6, 7, 7], [5, "|", 8, 9, 10, 11], 0, 2, 2),
        ([5, 4, 6], [5, 6], 0, 1, 0),
        ([0, 9, 8, 7, 5], [0, "|", 5, "|", 7, 8, 9], 5, 0, 0),
        # A number far ahead is believed when the next one follows it, one far behind likewise.
        ([5, 10**18, 6, 7], [5, 6, 7], 0, 0, 0),
        ([5, 10**18, 10**18 + 1], [5, "|", 10**18, 10**18 + 1], 10**18 - 6, 0, 0),
        ([5, 10**18, 10**18, 6], [5, 6], 0, 0, 1),
        ([10**6, 0, 1, 2], [10**6, "|", 0, 1, 2], 0, 0, 0),
        ([10**6, 0, 10**6 + 1], [10**6, 10**6 + 1], 0, 0, 0),
    ],
)
def test_the_table(numbers: list[int], delivered: list[Any], gaps: int, late: int, duplicates: int) -> None:
    ledger = SequenceLedger((3, 10.0))
    out = fed(ledger, numbers) + flushed(ledger)
    assert out == delivered
    assert (ledger.gaps, ledger.late, ledger.duplicates) == (gaps, late, duplicates)
    arrived = len(numbers)
    assert arrived == sum(o != "|" for o in out) + ledger.late + ledger.duplicates + ledger.refused


def test_an_item_waits_so_many_seconds_for_those_before_it() -> None:
    ledger = SequenceLedger((64, 1.0))
    assert fed(ledger, [0]) == [0]
    assert fed(ledger, [2], now=5.0) == []
    assert ledger.deadline == 6.0
    assert list(ledger.expire(5.9)) == []
    assert [isinstance(o, Break) for o in ledger.expire(6.0)] == [True, False]
    assert (ledger.gaps, ledger.held, ledger.deadline) == (1, 0, None)


def test_another_epoch_is_another_numbering() -> None:
    ledger = SequenceLedger((3, 1.0))
    assert fed(ledger, [0, 1, 2], "a") == [0, 1, 2]
    assert fed(ledger, [0, 1], "b") == ["|", 0, 1]
    assert (ledger.restarts, ledger.duplicates, ledger.gaps) == (1, 0, 0)


def test_a_gap_is_asked_for_once_before_it_is_declared() -> None:
    ledger = SequenceLedger((2, 1.0), can_refetch=True)
    assert fed(ledger, [0, 2, 3, 4]) == [0]
    assert (ledger.wants_refetch, ledger.returned, ledger.held, ledger.gaps) == (True, 3, 0, 0)
    ledger.reopened()
    assert not ledger.wants_refetch
    assert fed(ledger, [2, 3, 4]) == ["|", 2, 3, 4]  # the source does not have it any more
    assert (ledger.wants_refetch, ledger.gaps) == (False, 1)


def test_an_answer_that_broke_off_is_asked_for_again() -> None:
    ledger = SequenceLedger((2, 1.0), can_refetch=True)
    fed(ledger, [0])
    asks = 0
    while True:
        assert fed(ledger, [2, 3])[:1] != [1]
        out = fed(ledger, [4])
        if out:
            break
        assert ledger.wants_refetch
        asks += 1
        ledger.reopened()
        assert fed(ledger, [2]) == []
        ledger.reopened()  # the connection broke after one item
        assert ledger.held == 0
    assert asks == 10  # a source that never has it is not asked for ever
    assert out == ["|", 2, 3, 4]
    assert ledger.gaps == 1


def test_what_was_seen_before_a_restart_is_a_duplicate() -> None:
    ledger = SequenceLedger((2, 1.0))
    ledger.go_on_after(9)
    assert fed(ledger, [8, 9, 10, 11]) == [10, 11]
    assert ledger.duplicates == 2


@pytest.mark.parametrize("count", [3000, pytest.param(200_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lost", [0.0, 0.05])
def test_order_is_exact_and_so_is_what_is_declared(count: int, lost: float) -> None:
    """20 % duplicates, shuffled among 50 neighbours, some lost: a simple model tells what must come out."""
    rng = random.Random(0)
    sent = [n for n in range(count) if n == 0 or rng.random() >= lost]
    arriving = sorted((n + (rng.uniform(0, 50) if n else 0), n) for n in sent for _ in range(1 + (rng.random() < 0.2)))
    numbers = [n for _, n in arriving]
    ledger = SequenceLedger((110, 10.0))  # as many as may come, twice each, before one that is 50 behind
    out = [o for o in fed(ledger, numbers) + flushed(ledger) if o != "|"]
    last = max(sent)
    assert out == sent
    assert ledger.duplicates == len(numbers) - len(sent)
    assert ledger.gaps == last + 1 - len(sent)
    assert ledger.late == 0


@pytest.mark.parametrize("count", [3000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_with_little_patience_all_is_late_or_there(count: int) -> None:
    rng = random.Random(1)
    numbers = [n for _, n in sorted((n + (rng.uniform(0, 50) if n else 0), n) for n in range(count))]
    ledger = SequenceLedger((4, 10.0))
    out = [o for o in fed(ledger, numbers) + flushed(ledger) if o != "|"]
    assert out == sorted(out)
    assert ledger.late > 0
    assert len(out) + ledger.late == count
    assert ledger.gaps == 0  # what was declared missing came after all


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_DISTANCE", 1000)
    ledger = SequenceLedger((0, 1.0))
    fed(ledger, range(0, 4000, 2))
    assert ledger.missing_after(-1) == 1000
    assert ledger.held == 0
    assert fed(ledger, [3997]) == []
    assert ledger.late == 1
    assert [ledger.missing_after(n) for n in (3998, 3997, 3990, 3500)] == [0, 0, 3, 248]


def test_late_ones_from_before_the_first_are_told_from_those_that_fill_a_gap() -> None:
    ledger = SequenceLedger((2, 1.0))
    fed(ledger, [5, 4, 3, 8, 9, 10, 6])
    assert (ledger.late, ledger.before_first, ledger.gaps) == (3, 2, 1)


def test_an_epoch_that_begins_within_a_stream_is_no_break() -> None:
    ledger = SequenceLedger((3, 1.0))
    assert fed(ledger, [0, 1, 3]) == [0, 1]
    assert fed(ledger, [4, 5], "a") == ["|", 3, 4, 5]  # what waited is given on first
    assert (ledger.restarts, ledger.gaps, ledger.epoch) == (0, 1, "a")


def test_a_number_far_ahead_that_comes_in_order_after_all_is_delivered() -> None:
    far = 5 + ledger_module.MAX_DISTANCE
    ledger = SequenceLedger((far, 10.0))
    held = range(6, far)
    assert fed(ledger, [4]) == [4]
    assert fed(ledger, [*held, far + 1]) == []  # the last is not yet believed
    assert fed(ledger, [5])[-1] == far - 1
    assert (ledger.held, ledger.waiting) == (1, 0)
    assert fed(ledger, [far]) == [far, far + 1]
    assert (ledger.held, ledger.refused) == (0, 0)


def test_of_two_numbers_far_away_that_do_not_follow_each_other_the_first_is_refused() -> None:
    ledger = SequenceLedger((3, 10.0))
    assert fed(ledger, [5, 10**18, 10**17, 6]) == [5, 6]
    assert (ledger.refused, ledger.held) == (1, 1)
    assert fed(ledger, [10**17 + 1]) == ["|", 10**17, 10**17 + 1]
    assert (ledger.refused, ledger.duplicates) == (1, 0)
