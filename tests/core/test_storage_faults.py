"""What disks, other processes and people do to a checkpoint directory."""

import errno
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.durable_folder import DurableFolders
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError, CheckpointStorageError, TensorOptixError
from tests.conftest import Goal
from tests.helpers import NumpyAgent

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class BigAgent(NumpyAgent):
    """Has as many weights as it is told."""

    size = 64

    def save_weights(self, path: str) -> None:
        np.save(path + ".npy", np.full(self.size, self.weight))

    def load_weights(self, path: str) -> None:
        self.loaded.append(path)
        self.weight = float(np.load(path + ".npy")[0])


def save(registry: CheckpointRegistry, score: float, window_id: int = 0) -> PolicySnapshot:
    agent = BigAgent()
    agent.weight = score
    return registry.save(agent, EvalMetrics(score, {"é": 1e300}, window_id), window_id)


def write_agent(value: float) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "agent.npy", np.full(64, value))


def litter(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.startswith((".tmp-", ".trash-")))


def content(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


# --- bit rot ---


class Rot:
    """A directory with two snapshots and a resume point, whose files it damages and mends."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.registry = CheckpointRegistry(directory)
        self.snapshots = [save(self.registry, 1.0), save(self.registry, 2.0)]
        self.ring = ResumeRing(directory)
        self.ring.save(write_agent(3.0), {"window": 7, "name": "é"})
        self.folders = [self.registry.path_of(snapshot) for snapshot in self.snapshots]
        self.folders.append(next(directory.glob("resume_*")))
        self.random = random.Random(seed)
        self.silent: list[str] = []

    def read(self, folder: Path) -> None:
        """Read what is in the folder and use it, as a run would."""
        if folder in self.folders[:2]:
            agent = BigAgent()
            try:
                self.registry.load(self.snapshots[self.folders.index(folder)], agent)
            except TensorOptixError:
                assert agent.loaded == []
                raise
        else:
            DurableFolders(self.ring.directory, "resume_").verify(0)

    def intact(self) -> None:
        for folder in self.folders:
            self.read(folder)

    def try_with(self, files: dict[Path, bytes]) -> None:
        """Read with these contents in place, and note it if nothing is found wrong."""
        before = {path: path.read_bytes() for path in files}
        assert any(before[path] != data for path, data in files.items())
        for path, data in files.items():
            path.write_bytes(data)
        for folder in {next(f for f in self.folders if f in path.parents) for path in files}:
            try:
                self.read(folder)
            except CheckpointCorruptError:
                continue
            self.silent.append(", ".join(str(path) for path in files))
        for path, data in before.items():
            path.write_bytes(data)

    def some_file(self) -> Path:
        folder = self.random.choice(self.folders)
        return self.random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))

    def flip(self) -> None:
        path = self.some_file()
        data = bytearray(path.read_bytes())
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        self.try_with({path: bytes(data)})

    def truncate(self) -> None:
        path = self.some_file()
        data = path.read_bytes()
        self.try_with({path: data[: self.random.choice([0, len(data) - 1, self.random.randrange(len(data))])]})

    def swap(self) -> None:
        """Swap the same file of two snapshots, or all files of both."""
        first, second = self.folders[:2]
        names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
        names = self.random.choice([names, *([name] for name in names)])
        swapped = {first / name: (second / name).read_bytes() for name in names}
        self.try_with(swapped | {second / name: (first / name).read_bytes() for name in names})


def rot(directory: Path, flips: int, truncations: int, swaps: int, goal: Goal) -> None:
    rot = Rot(directory, seed=0)
    rot.intact()  # the control: what is not damaged is not refused
    for kind, count in ((rot.flip, flips), (rot.truncate, truncations), (rot.swap, swaps)):
        for _ in range(count):
            kind()
    rot.intact()
    promised = f"0 undetected of {flips:,} flipped bits, {truncations:,} cut files, {swaps:,} swaps"
    goal("G9", promised, f"{len(rot.silent)} undetected {rot.silent[:1]}", not rot.silent)


def test_every_flipped_bit_cut_file_and_swap_is_found_before_anything_is_loaded(tmp_path: Path, goal: Goal) -> None:
    rot(tmp_path, 300, 100, 50, goal)


@pytest.mark.slow
def test_every_flipped_bit_cut_file_and_swap_is_found_in_ten_thousand(tmp_path: Path, goal: Goal) -> None:
    rot(tmp_path, 10_000, 1_000, 1_000, goal)


# --- storage that fails ---


class FailingDisk:
    """Lets `n` of the calls to the system happen and fails the next one, or all from there on."""

    def __init__(self, patch: pytest.MonkeyPatch, n: int, code: int, calls: list[str], *, for_good: bool) -> None:
        self.left, self.code, self.for_good = n, code, for_good
        for name in calls:
            patch.setattr(os, name, self._wrap(getattr(os, name)))

    @property
    def has_failed(self) -> bool:
        return self.left < 0

    def _wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if real.__name__ == "open" and self.code != errno.EIO and not args[1] & (os.O_WRONLY | os.O_RDWR):
                return real(*args, **kwargs)  # a full disk can be read
            self.left -= 1
            if self.left == -1 or (self.for_good and self.left < 0):
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call


Deed = Callable[[CheckpointRegistry, ResumeRing], Any]
SECOND = PolicySnapshot(
    snapshot_id="000001",
    sequence=1,
    window_id=1,
    eval_metrics=EvalMetrics(3.0),
    hyperparams=HyperparamSet({}),
    created_at="",
)
DEEDS: dict[str, Deed] = {
    "save": lambda registry, ring: save(registry, 4.0, 9),
    "rescore": lambda registry, ring: registry.rescore(SECOND, EvalMetrics(3.5)),
    "prune": lambda registry, ring: registry.prune(),
    "ring": lambda registry, ring: ring.save(write_agent(4.0), {"n": 4}),
    "begin": lambda registry, ring: ring.begin(ResumePoint(1, ring.directory / "resume_000001", {})),
}


FAULTS = pytest.mark.parametrize(
    ("code", "calls"),
    [
        (errno.ENOSPC, ["open", "write", "mkdir", "rename", "replace", "fsync"]),
        (errno.EIO, ["write", "fsync"]),
        (errno.EROFS, ["open", "mkdir", "rename", "replace", "unlink", "rmdir"]),
    ],
    ids=["ENOSPC", "EIO", "EROFS"],
)


@FAULTS
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_disk_that_fails_at_any_call_is_a_storage_error_that_loses_nothing_and_is_got_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, code: int, calls: list[str], for_good: bool
) -> None:
    fail_at_every_call(tmp_path, monkeypatch, deed, code, calls, for_good=for_good)


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("deed", DEEDS)
def test_a_disk_that_reads_no_better_than_it_writes_does_no_harm_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, for_good: bool
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    calls = ["open", "write", "fsync", "mkdir", "rename", "replace", "listdir", "unlink", "rmdir", "lstat", "fstat"]
    fail_at_every_call(tmp_path, monkeypatch, deed, errno.EIO, calls, for_good=for_good)


def fail_at_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, code: int, calls: list[str], *, for_good: bool
) -> None:
    refused = 0
    for n in range(1000):
        directory = tmp_path / str(n)
        registry, ring = CheckpointRegistry(directory, max_snapshots=3), ResumeRing(directory)
        for window_id, score in enumerate((1.0, 3.0, 2.0)):
            save(registry, score, window_id)
        ring.save(write_agent(1.0), {"n": 1})
        ring.save(write_agent(2.0), {"n": 2})
        if deed == "prune":
            registry.max_snapshots = 1
        returned = None
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, n, code, calls, for_good=for_good)
            try:
                returned = DEEDS[deed](registry, ring)
            except CheckpointStorageError:
                refused += 1
        registry.close()
        check_after_failure(directory, deed, returned)
        shutil.rmtree(directory)
        if not disk.has_failed:
            assert min(n, refused) >= 3, "hardly any call was found to fail"
            return
    raise AssertionError("the deed never came to its end")


def check_after_failure(directory: Path, deed: str, returned: Any) -> None:
    again, ring = CheckpointRegistry(directory, max_snapshots=3), ResumeRing(directory)
    again.open()
    assert litter(directory) == []
    found = {s.sequence: s.eval_metrics.primary_score for s in again.snapshots()}
    assert not list(directory.glob("quarantine/*"))
    if isinstance(returned, PolicySnapshot):
        assert found[returned.sequence] == returned.eval_metrics.primary_score
    if deed != "prune":
        assert found.keys() >= {1, 2}
    assert found[1] in (3.0, 3.5)  # the best
    point = ring.newest()
    assert point is not None
    assert point.state["n"] in ((4,) if deed == "ring" and returned is not None else (2, 4))
    agent = BigAgent()
    again.load_best(agent)
    assert agent.weight in (3.0, 4.0)
    assert save(again, 5.0, 10).sequence == max(found) + 1  # and when the disk is well, it goes on
    assert again.load_best(agent).sequence == max(found) + 1
    assert ring.save(write_agent(5.0), {"n": 5}) == point.sequence + 1
    again.close()


def test_what_was_not_saved_is_not_found_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CheckpointRegistry(tmp_path)
    save(registry, 1.0)
    calls = 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if os.path.samestat(os.fstat(descriptor), tmp_path.stat()):  # the one after the rename
            raise OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(CheckpointStorageError, match="I/O error") as error:
            save(registry, 2.0)
    assert calls >= 4
    assert error.value.errno == errno.EIO
    assert [s.eval_metrics.primary_score for s in registry.snapshots()] == [1.0]
    assert litter(tmp_path) == []
    registry.close()


def test_a_saved_snapshot_is_one_even_if_the_manifest_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CheckpointRegistry(tmp_path, max_snapshots=1)
    save(registry, 1.0)

    def replace(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(os, "replace", replace)
        saved = save(registry, 2.0)
        with pytest.raises(CheckpointStorageError, match="No space left"):
            registry.prune()
    assert "could not prune" in caplog.text
    assert registry.snapshots() == [saved]  # the old one made room all the same
    registry.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE], ids=errno.errorcode.get)
def test_a_snapshot_that_cannot_be_read_is_passed_over_and_put_away_only_if_that_is_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    registry = CheckpointRegistry(tmp_path)
    next_best, best = save(registry, 1.0), save(registry, 2.0, 1)
    registry.close()
    bad = (registry.path_of(best) / "weights" / "agent.npy").stat().st_ino
    real = os.open

    def open_but_one(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        descriptor = real(path, flags, *args, **kwargs)
        if os.fstat(descriptor).st_ino == bad:
            os.close(descriptor)
            raise OSError(code, os.strerror(code))
        return descriptor

    monkeypatch.setattr(os, "open", open_but_one)
    assert registry.load_best(BigAgent()) == next_best
    registry.open()
    assert len(list(tmp_path.glob("quarantine/*"))) == (code == errno.EIO)
    registry.close()


def test_a_folder_that_cannot_even_be_looked_at_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CheckpointRegistry(tmp_path)
    next_best, best = save(registry, 1.0), save(registry, 2.0, 1)
    looks, real = 0, os.lstat

    def lstat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        nonlocal looks
        if str(path).endswith(best.snapshot_id) and (looks := looks + 1) > 3:  # when it is listed and ranked already
            raise OSError(errno.EIO, "I/O error")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "lstat", lstat)
    assert registry.load_best(BigAgent()) == next_best
    assert looks > 4
    registry.close()


# --- directories that are moved about ---


@pytest.mark.parametrize("how", ["moved", "copied", "linked above", "linked", "renamed while open"])
def test_a_run_goes_on_from_any_path_and_nothing_is_deleted_or_quarantined(tmp_path: Path, how: str) -> None:
    home = tmp_path / "above" / "run"
    registry, ring = CheckpointRegistry(home), ResumeRing(home)
    for window_id in range(3):
        save(registry, float(window_id), window_id)
        ring.save(write_agent(window_id), {"n": window_id})
    before = content(home)
    if how != "renamed while open":
        registry.close()
    there = tmp_path / "elsewhere"
    if how in ("moved", "renamed while open"):
        home.rename(there)
    elif how == "copied":
        shutil.copytree(home, there)
    elif how == "linked":
        there.symlink_to(home)
    else:
        (tmp_path / "link").symlink_to(tmp_path / "above")
        there = tmp_path / "link" / "run"
    registry.close()
    again, ring = CheckpointRegistry(there), ResumeRing(there)
    again.open()
    assert content(there) == before
    agent = BigAgent()
    assert again.load_best(agent).window_id == 2
    point = ring.newest()
    assert point is not None
    assert point.state == {"n": 2}
    assert save(again, 9.0, 3).sequence == 3
    assert ring.save(write_agent(9.0), {"n": 3}) == 3
    again.close()


# --- two writers ---

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
def test_two_writers_never_hold_a_directory_together(tmp_path: Path, goal: Goal) -> None:
    registry = CheckpointRegistry(tmp_path)
    save(registry, 1.0)
    registry.close()
    found = contend(tmp_path, races=200, kills=50, stops=10)
    answers = [
        float(answer[1]) for race in [*found["races"], found["stops"]] for answer in race if answer[0] == "locked"
    ]
    wrong, free = found["double"], max(found["kills"])
    measured = f"{wrong} double holders, refused within {max(answers):.3f} s, free {1e3 * free:.1f} ms after kill -9"
    promised = "0 double holders in 200 races, 50 kills, 10 stops; refused <= 2 s; free <= 100 ms"
    goal("G8 writers", promised, measured, not wrong and max(answers) <= 2 and free <= 0.1)


READER = """
import sys
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tests.core.test_storage_faults import BigAgent

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
    save(registry, 0.0)
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
            save(registry, float(done), done)
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


# --- how long it takes ---


@pytest.mark.slow
@pytest.mark.xdist_group("timing")
def test_a_directory_of_fifty_large_snapshots_is_reopened_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goal: Goal
) -> None:
    monkeypatch.setattr(BigAgent, "size", 1 << 17)  # 1 MiB
    registry = CheckpointRegistry(tmp_path, max_snapshots=50)
    for window_id in range(50):
        save(registry, float(window_id), window_id)
    registry.close()
    taken = []
    for _ in range(40):
        start = time.perf_counter()
        again = CheckpointRegistry(tmp_path, max_snapshots=50)
        again.open()
        assert again.load_best(BigAgent()).window_id == 49
        again.close()
        taken.append(time.perf_counter() - start)
    p95 = sorted(taken)[37]
    measured = f"p95 {1e3 * p95:.0f} ms, median {1e3 * sorted(taken)[20]:.0f} ms"
    goal("G10 reopen", "p95 <= 200 ms with 50 snapshots of 1 MiB", measured, p95 <= 0.2)


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[tuple[CheckpointRegistry, Path]]:
    registry = CheckpointRegistry(tmp_path)
    yield registry, registry.stage(BigAgent())
    registry.close()


def test_a_staged_policy_that_somebody_took_away_is_a_storage_error(staged: tuple[CheckpointRegistry, Path]) -> None:
    registry, folder = staged
    shutil.rmtree(folder)
    with pytest.raises(CheckpointStorageError, match="Could not save"):
        registry.commit(folder, EvalMetrics(1.0), 0, HyperparamSet({}))
    registry.discard(folder)  # harmless
