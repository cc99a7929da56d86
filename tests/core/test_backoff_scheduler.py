"""The table in the module's docstring is the specification: the first tests are generated from it."""

import itertools
import math
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core import backoff_scheduler
from tensor_optix.core.backoff_scheduler import BackoffScheduler, Effect, Event, SchedulerState, effects
from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.types import LoopState
from tensor_optix.errors import InvalidArgumentError

ACTIVE, COOLING, DORMANT, WATCHDOG = LoopState.ACTIVE, LoopState.COOLING, LoopState.DORMANT, LoopState.WATCHDOG
SCHEDULER = BackoffScheduler(
    base_interval=2, backoff_factor=2.0, max_interval=50, plateau_threshold=2, dormant_threshold=4
)

BELOW, PLATEAU, PATIENCE_OVER = "below", "plateau", "patience over"
CONDITIONS = {
    "": {BELOW, PLATEAU, PATIENCE_OVER},
    "fewer than `plateau_threshold` without improvement": {BELOW},
    "`plateau_threshold` reached": {PLATEAU},
    "fewer than `dormant_threshold`": {BELOW, PLATEAU},
    "`dormant_threshold` reached": {PATIENCE_OVER},
}


@dataclass(frozen=True)
class Row:
    """One line of the docstring's table."""

    states: frozenset[LoopState]
    event: Event
    bands: frozenset[str]
    to: str
    what_else: str


def table() -> list[Row]:
    lines = [line for line in (backoff_scheduler.__doc__ or "").splitlines() if line.startswith("|")]
    rows = []
    for line in lines[2:]:
        states, event, to, what_else = (cell.strip() for cell in line.strip("|").split("|"))
        name, _, condition = event.partition(", ")
        rows.append(
            Row(
                states=frozenset(LoopState if states == "any" else (LoopState[s] for s in states.split(", "))),
                event=Event[name],
                bands=frozenset(CONDITIONS[condition]),
                to=to,
                what_else=what_else,
            )
        )
    return rows


def band(count: int) -> str:
    if count >= SCHEDULER.dormant_threshold:
        return PATIENCE_OVER
    return PLATEAU if count >= SCHEDULER.plateau_threshold else BELOW


# Every position a run can be in: a degradation leads back to ACTIVE with any count.
POSITIONS = [
    *(SchedulerState(ACTIVE, 2, count) for count in range(4)),
    *(SchedulerState(COOLING, interval, count) for interval in (4, 50) for count in (2, 3, 9)),
    SchedulerState(DORMANT, 8, 4),
    SchedulerState(WATCHDOG, 50, 4),
]
CASES = list(itertools.product(POSITIONS, Event))


def named(value: object) -> str:
    if isinstance(value, SchedulerState):
        return f"{value.state.name}-{value.interval}-{value.no_improvement}"
    return getattr(value, "name", str(value))


@pytest.mark.parametrize(("old", "event"), CASES, ids=named)
def test_every_pair_of_state_and_event_does_what_the_table_promises(old: SchedulerState, event: Event) -> None:
    matching = [
        row
        for row in table()
        if row.event is event and old.state in row.states and band(old.no_improvement + 1) in row.bands
    ]
    assert len(matching) <= 1, "two lines of the table speak of the same case"
    new = SCHEDULER.transition(old, event)
    if not matching or matching[0].to == "as it was":  # a pair that the table does not list changes nothing
        assert new == old
        assert matching or event in (Event.SPAWNED, Event.WATCH), "the table says nothing of an evaluation's verdict"
        return
    promised = matching[0]
    assert new.state is LoopState[promised.to]

    counter = {"counter 0": 0, "counter + 1": old.no_improvement + 1}
    counts = [count for words, count in counter.items() if words in promised.what_else] or [old.no_improvement]
    assert [new.no_improvement] == counts

    interval = {"interval = base": 2, "interval = max": 50, "interval grows": min(old.interval * 2, 50)}
    intervals = [value for words, value in interval.items() if words in promised.what_else] or [old.interval]
    assert [new.interval] == intervals

    verdicts = {verdict.value: verdict for verdict in Verdict} | {Event.WAITING.value: Verdict.FLAT}
    if event.value in verdicts:
        asked = [effect.value for effect in effects(old, new, verdicts[event.value], is_best=False)]
        assert asked == re.findall(r"\*(\w+)\*", promised.what_else)


def test_the_table_was_read_whole() -> None:
    rows = table()
    assert len(rows) == 15
    assert {row.event for row in rows} == set(Event)
    named_in_table = {effect for row in rows for effect in re.findall(r"\*(\w+)\*", row.what_else)}
    assert named_in_table == {e.value for e in Effect} - {Effect.CHECKPOINT.value}


@pytest.mark.parametrize("old", POSITIONS, ids=named)
@pytest.mark.parametrize("verdict", list(Verdict))
def test_staying_where_it_is_asks_for_nothing_but_what_the_verdict_itself_asks_for(
    old: SchedulerState, verdict: Verdict
) -> None:
    asked = (Effect.DEGRADATION,) if verdict is Verdict.DEGRADED else ()
    assert effects(old, old, verdict, is_best=False) == asked
    assert effects(old, old, verdict, is_best=True) == (Effect.CHECKPOINT, *asked)


# --- whole runs ---

EVENTS = {
    "+": Event.IMPROVED,
    "=": Event.FLAT,
    "-": Event.DEGRADED,
    "?": Event.NO_EVIDENCE,
    "~": Event.WAITING,
    "s": Event.SPAWNED,
    "w": Event.WATCH,
}
LETTERS = {ACTIVE: "A", COOLING: "C", DORMANT: "D", WATCHDOG: "W"}


def walk(scheduler: BackoffScheduler, events: str) -> list[SchedulerState]:
    states = [scheduler.initial()]
    for event in events:
        states.append(scheduler.transition(states[-1], EVENTS[event]))
    return states[1:]


@pytest.mark.parametrize(
    ("events", "states"),
    [
        ("+", "A"),
        ("====", "ACCD"),
        ("=====", "ACCDD"),  # it stays dormant
        ("=+=+=+", "AAAAAA"),
        ("==+==", "ACAAC"),  # an improvement restarts the counting
        ("===+====", "ACCAACCD"),
        ("=?=?=?=", "AACCCCD"),  # no evidence is no evaluation
        ("????????", "AAAAAAAA"),
        ("==-=", "ACAD"),  # a degradation leads back, but the counter runs on
        ("=-==", "AACD"),
        ("----", "AAAD"),
        ("-----", "AAADA"),  # and wakes who has gone to sleep
        ("====-====", "ACCDAACCD"),
        ("===~~", "ACCCC"),  # the patience with the curve is longer than the threshold
        ("===~~=", "ACCCCD"),  # until it is used up
        ("---~~-", "AAACCD"),
        ("===~+====", "ACCCAACCD"),
        ("====~w~", "ACCDDWW"),
        ("====w", "ACCDW"),
        ("====w===", "ACCDWWWW"),
        ("====w?", "ACCDWW"),
        ("====w-", "ACCDWA"),
        ("====w+", "ACCDWA"),
        ("====+", "ACCDA"),
        ("====s====", "ACCDAACCD"),  # a variant has the whole patience
        ("====ws", "ACCDWA"),
        ("ss==ws", "AAACCA"),  # a watch means nothing before the end
    ],
)
def test_a_run_goes_through_these_states(events: str, states: str) -> None:
    scheduler = BackoffScheduler(plateau_threshold=2, dormant_threshold=4)
    assert "".join(LETTERS[state.state] for state in walk(scheduler, events)) == states


@pytest.mark.parametrize(
    ("options", "intervals"),
    [
        ({"backoff_factor": 1.5}, [1, 2, 3, 4, 6, 9, 13]),
        ({"backoff_factor": 1.01}, [1, 2, 3, 4, 5, 6, 7]),
        ({"backoff_factor": 2.0}, [1, 2, 4, 8, 16, 32, 64]),
        ({"backoff_factor": 2.0, "max_interval": 10}, [1, 2, 4, 8, 10, 10, 10]),
        ({"backoff_factor": 2.0, "max_interval": 1}, [1, 1, 1, 1, 1, 1, 1]),
        ({"backoff_factor": 1.0}, [1, 1, 1, 1, 1, 1, 1]),
        ({"backoff_factor": 1.0, "base_interval": 3}, [3, 3, 3, 3, 3, 3, 3]),
        ({"backoff_factor": 10.0, "base_interval": 3}, [3, 30, 100, 100, 100, 100, 100]),
    ],
)
def test_the_interval_grows_on_a_plateau_up_to_its_cap(options: dict[str, float], intervals: list[int]) -> None:
    scheduler = BackoffScheduler(plateau_threshold=2, dormant_threshold=50, **options)  # type: ignore[arg-type]
    walked = [state.interval for state in walk(scheduler, "=======")]
    assert walked == intervals
    assert {type(interval) for interval in walked} == {int}


@pytest.mark.parametrize("event", ["+", "-"])
def test_the_interval_is_back_at_its_base_after_a_change_for_better_or_worse(event: str) -> None:
    scheduler = BackoffScheduler(base_interval=3, plateau_threshold=2, dormant_threshold=9)
    before, after = walk(scheduler, "=====" + event)[-2:]
    assert (before.interval, after.interval) == (48, 3)


events_before_the_end = st.lists(st.sampled_from("=-?"), min_size=0, max_size=40).map("".join)


@given(events_before_the_end, st.integers(1, 5), st.integers(1, 5))
def test_a_policy_that_never_improves_comes_to_an_end_however_it_swings(events: str, plateau: int, more: int) -> None:
    scheduler = BackoffScheduler(plateau_threshold=plateau, dormant_threshold=plateau + more)
    judged = len(events.replace("?", ""))
    first = next((s for s in walk(scheduler, events) if s.state is DORMANT), None)
    assert (first is not None) is (judged >= plateau + more)
    if first is not None:
        assert first.no_improvement == plateau + more


@given(st.lists(st.sampled_from("+=-?sw"), max_size=40).map("".join), st.floats(1.0, 4.0), st.integers(1, 5))
def test_every_run_keeps_the_interval_in_its_range_and_falls_dormant_once_per_entry(
    events: str, factor: float, base: int
) -> None:
    scheduler = BackoffScheduler(
        base_interval=base, backoff_factor=factor, max_interval=20, plateau_threshold=2, dormant_threshold=4
    )
    states = [scheduler.initial(), *walk(scheduler, events)]
    for event, old, new in zip(events, states, states[1:], strict=False):
        assert base <= new.interval <= 20
        if event in "+=-?":
            asked = effects(old, new, Verdict(EVENTS[event].value), is_best=event == "?")
            assert (Effect.DORMANT in asked) is (new.state is DORMANT and old.state is not DORMANT)
            assert (Effect.CHECKPOINT in asked) is (event == "?")  # whatever the move
            assert (Effect.DEGRADATION in asked) is (event == "-")


# --- knobs ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_interval": 0}, "base_interval must be a whole number of at least 1, but got 0"),
        ({"plateau_threshold": 0}, "plateau_threshold must be a whole number of at least 1, but got 0"),
        ({"dormant_threshold": -1}, "dormant_threshold must be a whole number of at least 1, but got -1"),
        ({"backoff_factor": 0.99}, "backoff_factor must be a number of at least 1, but got 0.99"),
        ({"max_interval": 4, "base_interval": 5}, "max_interval_episodes=4, base_interval=5"),
        ({"plateau_threshold": 5, "dormant_threshold": 5}, "dormant_threshold=5, plateau_threshold=5"),
        ({"plateau_threshold": 6, "dormant_threshold": 5}, "dormant_threshold must be above plateau_threshold"),
        ({"backoff_factor": -math.inf}, "backoff_factor must be a number of at least 1, but got -inf"),
        ({"backoff_factor": math.nan}, "backoff_factor must be a number of at least 1, but got nan"),
        ({"backoff_factor": math.inf}, "backoff_factor must be finite, but got inf"),
        ({"base_interval": 1.5}, "base_interval must be a whole number of at least 1, but got 1.5"),
        ({"max_interval": 100.0}, "max_interval must be a whole number of at least 1, but got 100.0"),
        ({"plateau_threshold": math.nan}, "plateau_threshold must be a whole number of at least 1, but got nan"),
        ({"max_interval": True}, "max_interval must be a whole number of at least 1, but got True"),
        ({"base_interval": "1"}, "base_interval must be a whole number of at least 1, but got '1'"),
        ({"backoff_factor": "2"}, "backoff_factor must be a number of at least 1, but got '2'"),
        ({"dormant_threshold": 20.5}, "dormant_threshold must be a whole number of at least 1, but got 20.5"),
    ],
)
def test_a_knob_out_of_its_range_is_refused_with_rule_and_value(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(message)):
        BackoffScheduler(**options)  # type: ignore[arg-type]


def test_a_run_starts_learning_at_the_base_interval() -> None:
    assert BackoffScheduler(base_interval=3).initial() == SchedulerState(ACTIVE, 3, 0)
