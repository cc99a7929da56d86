"""Feeds that break off, repeat, shuffle, stall and are faster than the learner: `make soak`."""

import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.pipeline.sources.websocket_source import WebSocketSource
from tests.fakes.feeds import Counting, balanced, live, open_and_leave
from tests.feed_server import MUTE, STALL, FeedServer, frame
from tests.helpers import HANG_S, until
from tests.soak.feed_learner import Idle, read_log
from tests.soak.resident import resident_kib

pytestmark = pytest.mark.xdist_group("timing")

UNACTED = {"safe_actions": 0, "unsent_actions": 0, "stale_decisions": 0}
Goal = Callable[[str, str, str, bool], None]


def soaked(folder: Path, *, records: int, per_connection: int, kills: int, has_replay: bool, **options: Any) -> Any:
    """Learn from a server in one process with a learner in another, which is killed; return the log."""
    served = {
        "count": records if has_replay else 10**9,
        "per_connection": per_connection,
        "duplicates": 0.05,
        "radius": 20,
        "skips": 2e-5 if has_replay else 1e-3,
        "per_frame": 20,
        "has_replay": has_replay,
        "endings": ["end", "reset", "half", "end", "reset"] * 20 + ["stall"],
    }
    log = folder / "learned.jsonl"
    server = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tests.feed_server", json.dumps(served)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        learner = {
            "url": server.stdout.readline().decode().strip(),
            "log": str(log),
            "kills": kills,
            "seed": 1,
            "seconds": 0.5 if records >= 10**6 else 0.1,
            "window": 500,
            "target": records - 2000,
            "has_replay": has_replay,
            **options,
        }
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tests.soak.feed_learner", json.dumps(learner)], check=True, timeout=900
        )
    finally:
        server.communicate()
    return read_log(log)


def audit(log: Any) -> dict[str, int]:
    """Count what is wrong with the learned rows: lost and repeated items, wrong order, wrong successors and rewards."""
    seen = [n for window in log for n in window["observations"]]
    following = [n for window in log for n in window["next"]]
    rewards = [n for window in log for n in window["rewards"]]
    times = Counter(seen)
    return {
        "rows": len(seen),
        "lost": max(seen) + 1 - len(times),
        "repeated": sum(count - 1 for count in times.values()),
        "disordered": sum(b <= a for a, b in itertools.pairwise(seen)),
        "crossed": sum(not (n + 1 == f and (f & 0xFF) == r) for n, f, r in zip(seen, following, rewards, strict=True)),
    }


@pytest.mark.soak
def test_the_audit_finds_what_is_wrong() -> None:
    def log(*rows: tuple[int, int, int]) -> Any:
        return [dict(zip(("observations", "next", "rewards"), zip(*rows, strict=True), strict=True))]

    wrong = ("lost", "repeated", "disordered", "crossed")
    good = [(n, n + 1, n + 1) for n in range(4)]
    assert [audit(log(*good))[name] for name in wrong] == [0, 0, 0, 0]
    assert audit(log(*good[:1], *good[2:]))["lost"] == 1
    assert audit(log(*good, good[2]))["repeated"] == 1
    assert audit(log(good[1], good[0]))["disordered"] == 1
    assert audit(log(good[0], (1, 3, 3), (2, 3, 4)))["crossed"] == 2


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("records", "per_connection", "kills"), [(6_000, 500, 2), pytest.param(10**6, 850, 50, marks=pytest.mark.slow)]
)
def test_with_replay_each_item_is_learned_once(
    tmp_path: Path, goal: Goal, records: int, per_connection: int, kills: int
) -> None:
    begun = time.monotonic()
    log = soaked(tmp_path, records=records, per_connection=per_connection, kills=kills, has_replay=True)
    found, last = audit(log), log[-1]["metadata"]
    wrong = {name: found[name] for name in ("lost", "repeated", "disordered", "crossed")}
    undeclared = last["gaps"] + last["quarantined"] + last["dropped"]
    assert found["rows"] >= records - 2500
    goal(
        "G18",
        "with replay: 0 lost, 0 repeated, 0 out of order, 0 gaps",
        f"{wrong}, {undeclared} gaps or drops in {found['rows']:,} rows, {last['reconnects']:,} reconnects of the "
        f"last process, {last['duplicates']:,} duplicates, {kills} kills, {time.monotonic() - begun:.0f} s",
        not any(wrong.values()) and undeclared == 0,
    )


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_learner_that_forgets_where_it_was_is_found_out(tmp_path: Path) -> None:
    log = soaked(tmp_path, records=10_000, per_connection=2000, kills=2, has_replay=True, remembers=False, waits=True)
    assert audit(log)["repeated"] > 0


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("records", "per_connection", "kills"), [(20_000, 1000, 2), pytest.param(10**6, 850, 50, marks=pytest.mark.slow)]
)
def test_without_replay_every_gap_is_declared(
    tmp_path: Path, goal: Goal, records: int, per_connection: int, kills: int
) -> None:
    begun = time.monotonic()
    log = soaked(tmp_path, records=records, per_connection=per_connection, kills=kills, has_replay=False)
    found, state = audit(log), log[-1]["state"]
    # The learner may begin among shuffled items: those before the first that came were sent, and received, too.
    counts = state["counts"]
    sent = state["after"] + 1 - log[0]["observations"][0] + log[0]["before_first"]
    undeclared = sent - counts["received"] - counts["gaps"]
    assert counts["gaps"] > 0
    goal(
        "G18",
        "without replay: received + declared gaps = sent",
        f"{sent:,} sent - {counts['received']:,} received - {counts['gaps']:,} declared = {undeclared}; "
        f"{found['repeated']} repeated, {found['crossed']} learned across a gap; {counts['reconnects']:,} reconnects, "
        f"{kills} kills, {time.monotonic() - begun:.0f} s",
        undeclared == found["repeated"] == found["disordered"] == found["crossed"] == 0,
    )


def detections(count: int, silence: float) -> list[float]:
    """Leave connections half open, one after the other; return after how many seconds each was replaced."""
    item = frame(b'{"observation":[1,2]}')

    def play(number: int, greeting: Any) -> Iterator[Any]:
        yield item
        yield item
        yield random.Random(number).uniform(0.0, silence / 2)
        yield STALL

    with FeedServer(play) as server:
        pipeline = live(WebSocketSource(server.url, silence_timeout=silence, sends_actions=False), n=10**5)
        open_and_leave(pipeline)
        until(lambda: len(server.accepted) > count, seconds=600.0)
        pipeline.teardown()
        return [after - stall for stall, after in zip(server.stalled[:count], server.accepted[1:], strict=False)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [1, pytest.param(100, marks=pytest.mark.slow)])
def test_half_open_connections_are_found(goal: Goal, timing: Goal, count: int) -> None:
    silence, lanes, found = 0.4, 4 if count > 10 else 1, []
    threads = [threading.Thread(target=lambda: found.extend(detections(count // lanes, silence))) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = sum(seconds <= HANG_S for seconds in found)
    goal("G19", f"{count}/{count} half-open connections left", f"{left}/{count}", left == count)
    in_time = sum(seconds <= silence + 1.0 for seconds in found)
    timing(
        "G19 seconds",
        f"{count}/{count} within T + 1 s",
        f"{in_time}/{count}, T = {silence} s, the slowest after {max(found):.2f} s",
        in_time == count,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("beats", [300, pytest.param(100_000, marks=pytest.mark.slow)])
def test_pauses_are_no_alarm(goal: Goal, beats: int) -> None:
    silence, rng = 2.0, random.Random(0)  # a busy machine answers late
    item, beat = frame(b'{"observation":[1,0]}'), frame(b'{"heartbeat":1}')

    def play(number: int, greeting: Any) -> Iterator[Any]:
        sent = 0
        while sent < beats:
            stop = min(sent + rng.randrange(1, 20), beats)
            yield b"".join(item if n % 2 else beat for n in range(sent, stop))
            sent = stop
            # Most follow soon; some pauses are longer than T, with a server that answers.
            yield rng.uniform(0.0, 0.002) if rng.random() < 0.995 else rng.uniform(0.0, 2 * silence)
        yield MUTE

    with FeedServer(play) as server:
        pipeline = live(WebSocketSource(server.url, silence_timeout=silence, sends_actions=False), n=beats // 2 - 1)
        window = next(pipeline.episodes())
        pipeline.teardown()
        alarms = server.connections - 1
    assert window.length == beats // 2 - 1
    goal("G19", f"0 false alarms in {beats:,} beats", f"{alarms} alarms", alarms == 0)


class Torrent:
    """Gives items as fast as they are taken, then ends."""

    is_finite = True

    def __init__(self, count: int) -> None:
        self.count = count

    def stream(self) -> Iterator[Any]:
        observation = np.zeros(64, np.float32)
        for n in range(self.count):
            observation[0] = n
            yield observation, 0.0, False, False, {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
@pytest.mark.parametrize("count", [20_000, pytest.param(10**6, marks=pytest.mark.slow)])
def test_a_burst_is_bounded_and_counted(goal: Goal, overflow: str, count: int) -> None:
    class Slow(Idle):
        def act(self, observation: Any) -> int:
            if overflow != "block":
                time.sleep(2e-5)  # a tenth of the feed's rate, with what a sleep costs
            return 0

    size = min(count // 20, 10_000)
    pipeline = live(Torrent(count), n=1000, agent=Slow(), overflow=overflow, buffer_size=size)
    before, peak, unbalanced = resident_kib(), 0.0, 0
    for window in pipeline.episodes():
        peak = max(peak, resident_kib() - before)
        unbalanced += not balanced(window.metadata)
    # Items between two gaps, on which nothing followed, may come after the last window: they are in no window's counts.
    assert pipeline._feed is not None
    last = pipeline._feed.counts(pipeline._builder.learned, pipeline._builder.isolated, UNACTED, held=False)
    missing = count - last["learned"] - last["dropped"]
    cap = size * (64 * 4 + 500) / 1024  # an item's numbers, and its Python objects
    assert (last["dropped"] > 0) == (overflow != "block")
    goal(
        "4c burst",
        "sent = learned + dropped; memory <= buffer + 16 MiB",
        f"{overflow}: {count:,} sent, {last['learned']:,} learned, {last['dropped']:,} dropped, {missing} missing; "
        f"+{peak / 1024:.1f} MiB (buffer {cap / 1024:.1f} MiB)",
        missing == unbalanced == 0 and peak <= cap + 16 * 1024,
    )


def test_a_slow_feed_has_no_empty_windows() -> None:
    class Trickle:
        is_finite = True

        def stream(self) -> Iterator[Any]:
            for n in range(5):
                time.sleep(0.05)
                yield [float(n)], 0.0, False, False, {}

    windows = list(live(Trickle(), n=2, agent=Counting()).episodes())
    assert [window.length for window in windows] == [2, 2]
