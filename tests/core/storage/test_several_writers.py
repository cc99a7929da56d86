"""Processes that open, hold, poll and save in one directory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tests.conftest import Goal
from tests.fakes.disk import save_big
from tests.helpers import HANG_S

ROOT = Path(__file__).parents[3]


CONTENDERS = """
import json, os, signal, sys, time
from pathlib import Path
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.errors import CheckpointLockedError

directory, races, kills, stops = Path(sys.argv[1]), *map(int, sys.argv[2:])


def contend(hold):
    # In a child: open, tell how it went, and hold what was got until told to go.
    try:
        start = time.monotonic()
        registry = CheckpointRegistry(directory)
        registry.open()
        got = "held"
    except CheckpointLockedError:
        got = "locked"
    os.write(hold[1], f"{got} {time.monotonic() - start}\\n".encode())
    signal.pause()


def child(go=None):
    hold = os.pipe()
    pid = os.fork()
    if pid == 0:
        if go is not None:
            os.read(go, 1)
        try:
            contend(hold)
        finally:
            os._exit(1)
    os.close(hold[1])
    return pid, os.fdopen(hold[0])


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


results = {"races": [], "kills": [], "stops": []}
for _ in range(races):
    go = os.pipe()
    both = [child(go[0]), child(go[0])]
    os.write(go[1], b"xx")
    results["races"].append([pipe.readline().split() for _, pipe in both])
    for pid, pipe in both:
        end(pid)
        pipe.close()
    os.close(go[0]), os.close(go[1])
for _ in range(kills):
    pid, pipe = child()
    assert pipe.readline().startswith("held")
    os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    registry = CheckpointRegistry(directory)
    while True:
        try:
            registry.open()
            break
        except CheckpointLockedError:
            time.sleep(0.001)
    results["kills"].append(time.monotonic() - start)
    registry.close()
    os.waitpid(pid, 0)
    pipe.close()
for _ in range(stops):
    pid, pipe = child()
    assert pipe.readline().startswith("held")
    os.kill(pid, signal.SIGSTOP)
    other, answer = child()
    results["stops"].append(answer.readline().split())
    end(other)
    end(pid)
    answer.close(), pipe.close()
print(json.dumps(results))
"""


def contend(directory: Path, races: int, kills: int, stops: int) -> dict[str, Any]:
    arguments = [str(number) for number in (races, kills, stops)]
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", CONTENDERS, str(directory), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    found = json.loads(done.stdout)
    assert [len(found[kind]) for kind in ("races", "kills", "stops")] == [races, kills, stops]
    found["double"] = sum(sorted(answer[0] for answer in race) != ["held", "locked"] for race in found["races"])
    found["double"] += sum(answer[0] != "locked" for answer in found["stops"])  # a stopped holder still holds
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_of_two_that_open_at_once_exactly_one_writes_and_the_dead_and_only_they_are_succeeded(tmp_path: Path) -> None:
    assert contend(tmp_path, races=10, kills=3, stops=2)["double"] == 0


@pytest.mark.slow
@pytest.mark.xdist_group("timing")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_writers_never_hold_a_directory_together(tmp_path: Path, goal: Goal, timing: Goal) -> None:
    registry = CheckpointRegistry(tmp_path)
    save_big(registry, 1.0)
    registry.close()
    found = contend(tmp_path, races=200, kills=50, stops=10)
    answers = [
        float(answer[1]) for race in [*found["races"], found["stops"]] for answer in race if answer[0] == "locked"
    ]
    wrong, free = found["double"], max(found["kills"])
    goal("G8 writers", "0 double holders in 200 races, 50 kills, 10 stops", f"{wrong} double holders", not wrong)
    measured = f"refused within {max(answers):.3f} s, free {1e3 * free:.1f} ms after kill -9"
    timing("G8 seconds", "refused <= 2 s; free <= 100 ms", measured, max(answers) <= 2 and free <= 0.1)
    assert max(*answers, free) <= HANG_S


READER = """
import sys
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tests.fakes.disk import BigAgent

registry, best, polls, line = CheckpointRegistry(sys.argv[1]), -1.0, 0, ""
for polls in range(int(sys.argv[2])):
    agent = BigAgent()
    snapshot = registry.load_best(agent)
    assert agent.weight == snapshot.eval_metrics.primary_score, (agent.weight, snapshot)
    assert agent.weight >= best, (agent.weight, best)
    best = agent.weight
    if polls == 0:
        print("reading", flush=True)
print(best)
"""


def read_while_saving(directory: Path, polls: int, saves: int) -> int:
    """Return how many saves were made while another process polled."""
    registry = CheckpointRegistry(directory, max_snapshots=1)
    save_big(registry, 0.0)
    with subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", READER, str(directory), str(polls)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        done = 0
        while done < saves or reader.poll() is None:
            done += 1
            save_big(registry, float(done), done)
        out, err = reader.communicate()
        assert (reader.returncode, err) == (0, ""), err  # neither an error nor a false report of damage
        assert float(out) > 0
    registry.close()
    return done


def test_a_reader_sees_a_valid_best_while_another_process_saves_and_prunes(tmp_path: Path) -> None:
    read_while_saving(tmp_path, polls=300, saves=1)


@pytest.mark.slow
def test_a_reader_sees_a_valid_best_in_ten_thousand_polls(tmp_path: Path, goal: Goal) -> None:
    saves = read_while_saving(tmp_path, polls=10_000, saves=500)
    goal("G8 readers", "a valid best in 10,000 polls during >= 500 saves", f"0 errors, {saves:,} saves", saves >= 500)
