"""Every attack of the corpus is refused, by a typed error, soon, and without any effect."""

import contextlib
import hashlib
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tensor_optix._visible import MOST_CHARACTERS
from tensor_optix.errors import TensorOptixError
from tests.conftest import Goal
from tests.helpers import HANG_S
from tests.soak.attack_corpus import ATTACKS as LOADED
from tests.soak.attack_corpus import Bench
from tests.soak.feed_attacks import FEED_ATTACKS, ITEM, sent, session
from tests.soak.oracle import watching

ATTACKS = LOADED | FEED_ATTACKS
SECONDS, ALLOWANCE = 1.0, 64 << 20


def state_of(folder: Path) -> dict[str, str]:
    """Return what every file below a folder holds."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_there_are_at_least_60_attacks() -> None:
    assert len(ATTACKS) >= 60


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_and_touches_nothing(tmp_path: Path, attack: Callable[[Bench], None]) -> None:
    bench = Bench(tmp_path)
    agent, canary = bench.agent.fingerprint(), bench.canary.read_bytes()
    with pytest.raises(TensorOptixError) as caught:
        attack(bench)
    text = str(caught.value)
    assert len(text) < MOST_CHARACTERS + 100
    assert all(c.isprintable() for c in text), repr(text)
    assert bench.agent.fingerprint() == agent
    assert bench.canary.read_bytes() == canary
    assert not (bench.outside / "exploded").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("timing")
def test_every_attack_is_refused_in_little_time_and_memory(tmp_path: Path, goal: Goal, timing: Goal) -> None:
    slowest, most, refused = 0.0, 0, 0
    for number, attack in enumerate(ATTACKS.values()):
        (tmp_path / str(number)).mkdir()
        bench = Bench(tmp_path / str(number))
        started = time.process_time()  # CPU time: others may keep the machine busy
        with contextlib.suppress(TensorOptixError):
            attack(bench)
            continue
        slowest = max(slowest, time.process_time() - started)
        refused += 1
        (tmp_path / f"{number}-again").mkdir()
        bench = Bench(tmp_path / f"{number}-again")
        tracemalloc.start()
        with pytest.raises(TensorOptixError):
            attack(bench)
        most = max(most, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    measured = f"{refused} of {len(ATTACKS)} refused, most memory {most / 2**20:.1f} MiB"
    within = most <= 2 * (6 << 20) + ALLOWANCE  # the largest content is 5 MB, the attack's own
    goal("G27", "all of >= 60 attacks refused, typed", measured, refused == len(ATTACKS) >= 60 and within)
    timing("G27 seconds", "<= 1 s of CPU each", f"slowest {slowest:.2f} s CPU", slowest <= SECONDS)
    assert slowest <= HANG_S


@pytest.mark.soak
def test_the_agent_that_is_attacked_takes_what_is_good(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    before = bench.agent.fingerprint()
    with watching(bench.run) as violations:
        bench.agent.load_weights(str(bench.outside / "w"))
    assert violations  # it was read from outside the watched folder
    assert bench.agent.fingerprint() != before
    bench.state(bench.state_file)
    bench.header(lambda header: None)
    bench.values(lambda values: None)
    bench.snapshot()
    bench.config()
    sent()(bench)
    session(ITEM)(bench)
