import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.storage import resume_ring
from tensor_optix.core.storage.atomic import DirectoryLock
from tensor_optix.core.storage.durable_folder import DurableFolders
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.errors import BadDataError, CheckpointLockedError, CheckpointStorageError, InvalidArgumentError


@pytest.fixture
def ring(tmp_path: Path) -> ResumeRing:
    return ResumeRing(tmp_path / "run")


def write(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "agent.txt").write_text(text) and None


def save(ring: ResumeRing, n: int) -> int:
    return ring.save(write(f"agent {n}"), {"window": n})


def newest(ring: ResumeRing) -> ResumePoint:
    point = ring.newest()
    assert point is not None
    return point


def names(ring: ResumeRing) -> list[str]:
    return sorted(path.name for path in ring.directory.iterdir() if path.name != ".lock")


def test_what_was_saved_is_what_is_found(ring: ResumeRing) -> None:
    state = {"window": 3, "rng": [2**80, 0.1, None, True], "words": {"é": "\n"}}
    assert ring.save(write("weights"), state) == 0
    point = newest(ring)
    assert point == ResumePoint(0, ring.directory / "resume_000000", state)
    assert (point.folder / "agent.txt").read_text() == "weights"
    assert sorted(path.name for path in point.folder.iterdir()) == ["agent.txt", "metadata.json", "state.json"]


def test_there_is_none_in_a_new_directory_and_looking_makes_none(ring: ResumeRing) -> None:
    assert ring.newest() is None
    assert ring.given_up == ()
    assert not ring.directory.exists()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_newest_are_kept_and_numbers_go_on(tmp_path: Path, size: int) -> None:
    ring = ResumeRing(tmp_path, size)
    assert [save(ring, n) for n in range(5)] == [0, 1, 2, 3, 4]
    assert names(ring) == [f"resume_{n:06d}" for n in range(5 - size, 5)]
    assert newest(ring).state == {"window": 4}
    assert save(ResumeRing(tmp_path, size), 5) == 5


def test_a_ring_holds_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="size must be at least 1, but got 0"):
        ResumeRing(tmp_path, 0)


@pytest.mark.parametrize("state", [{"loss": math.nan}, {"x": b"bytes"}, {"x": b""}, {"x": {1, 2}}], ids=repr)
def test_a_state_that_is_no_json_is_refused_and_the_earlier_one_stays(ring: ResumeRing, state: dict[str, Any]) -> None:
    save(ring, 0)
    with pytest.raises(BadDataError, match="plain JSON values"):
        ring.save(write(""), state)
    assert names(ring) == ["resume_000000"]


def test_an_agent_that_fails_while_writing_leaves_the_earlier_one_and_nothing_else(ring: ResumeRing) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("out of luck")

    save(ring, 0)
    with pytest.raises(RuntimeError, match="out of luck"):
        ring.save(fail, {})
    assert names(ring) == ["resume_000000"]
    assert save(ring, 1) == 1


def test_a_caller_that_takes_the_name_of_the_state_is_a_storage_error(ring: ResumeRing) -> None:
    with pytest.raises(CheckpointStorageError, match="File exists"):
        ring.save(lambda folder: (folder / "state.json").write_text("{}") and None, {})
    assert names(ring) == []


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a changed file": lambda folder: (folder / "agent.txt").write_text("agent 7"),
    "a changed state": lambda folder: (folder / "state.json").write_text('{"window": 7}'),
    "a lost file": lambda folder: (folder / "agent.txt").unlink(),
    "lost metadata": lambda folder: (folder / "metadata.json").unlink(),
    "a foreign file": lambda folder: (folder / "extra").write_text(""),
    "a link": lambda folder: (folder / "extra").symlink_to("agent.txt"),
    "a second name": lambda folder: os.link(folder / "agent.txt", folder.parent / "twin"),
    "a pipe": lambda folder: os.mkfifo(folder / "pipe"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_goes_to_quarantine_and_the_older_one_is_used(
    ring: ResumeRing, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    save(ring, 0)
    save(ring, 1)
    DAMAGES[damage](newest(ring).folder)
    with caplog.at_level(logging.WARNING):
        assert newest(ring).state == {"window": 0}
        assert newest(ring).state == {"window": 0}
    assert len([record for record in caplog.records if "resume_000001 was moved" in record.getMessage()]) == 1
    assert [path.name for path in (ring.directory / "quarantine").iterdir()] == ["000000-resume_000001"]
    assert save(ring, 2) == 2  # its number is not given again


def test_without_the_lock_a_damaged_one_is_only_passed_over(ring: ResumeRing) -> None:
    save(ring, 0)
    save(ring, 1)
    (newest(ring).folder / "agent.txt").write_text("damaged")
    before = names(ring)
    script = (
        "import sys; from pathlib import Path; from tensor_optix.core.storage.resume_ring import ResumeRing\n"
        "ring = ResumeRing(Path(sys.argv[1])); print(ring.newest().state)\n"
        "from tensor_optix.errors import CheckpointLockedError\n"
        "try: ring.save(lambda folder: None, {})\n"
        "except CheckpointLockedError: print('locked')"
    )
    lock = DirectoryLock(ring.directory)
    lock.acquire()
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", script, str(ring.directory)], capture_output=True, text=True, check=True, timeout=60
    )
    lock.release()
    assert done.stdout.splitlines() == ["{'window': 0}", "locked"]
    assert names(ring) == before


def test_the_lock_is_held_for_each_call_only(ring: ResumeRing, monkeypatch: pytest.MonkeyPatch) -> None:
    save(ring, 0)
    lock = DirectoryLock(ring.directory)
    assert lock.acquire()  # nobody in this process held it
    save(ring, 1)
    lock.release()

    def locked(self: DirectoryLock) -> bool:
        raise CheckpointLockedError("held elsewhere")

    monkeypatch.setattr(DirectoryLock, "acquire", locked)
    with pytest.raises(CheckpointLockedError):
        save(ring, 2)
    assert newest(ring).state == {"window": 1}


def test_what_a_dead_process_left_is_cleared_by_the_next_and_other_files_are_left_alone(ring: ResumeRing) -> None:
    save(ring, 0)
    for name in (".tmp-resume_77-3", ".trash-resume_000009"):
        (ring.directory / name).mkdir()
        (ring.directory / name / "agent.txt").write_text("half")
    (ring.directory / "mine").write_text("x")
    save(ring, 1)
    assert names(ring) == ["mine", "resume_000000", "resume_000001"]


def test_a_damaged_one_that_cannot_be_moved_is_passed_over(
    ring: ResumeRing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(ring, 0)
    save(ring, 1)
    (newest(ring).folder / "agent.txt").write_text("damaged")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    assert newest(ring).state == {"window": 0}
    assert "agent.txt missing, changed" in caplog.text
    assert "No space left" in caplog.text


def test_a_point_without_a_state_is_none(ring: ResumeRing) -> None:
    folders = DurableFolders(ring.directory, "resume_")
    save(ring, 0)
    folders.seal(folders.stage(), 1, {})
    assert newest(ring).sequence == 0


def test_old_points_that_cannot_be_deleted_are_no_error_and_go_with_the_next_save(
    ring: ResumeRing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(ring, 0)
    save(ring, 1)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        assert save(ring, 2) == 2
    assert "could not be deleted" in caplog.text
    save(ring, 3)
    assert names(ring) == ["resume_000002", "resume_000003"]


def test_a_state_that_is_too_large_to_be_read_is_not_written(ring: ResumeRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume_ring, "MAX_STATE_BYTES", 20)
    with pytest.raises(BadDataError, match="more than the 20 that are read"):
        ring.save(write(""), {"x": "y" * 20})
    assert not ring.directory.exists()


# --- crash loops ---


def start(ring: ResumeRing) -> int | None:
    """Do what a run does that dies while it starts: return the number of the point it died on."""
    point = ResumeRing(ring.directory).newest()
    if point is None:
        return None
    ResumeRing(ring.directory).begin(point)
    return point.sequence


def test_a_point_that_three_starts_died_on_is_passed_over_and_kept_and_there_is_no_endless_loop(
    ring: ResumeRing, caplog: pytest.LogCaptureFixture
) -> None:
    save(ring, 0)
    save(ring, 1)
    with caplog.at_level(logging.WARNING):
        assert [start(ring) for _ in range(20)] == [1] * 3 + [0] * 3 + [None] * 14
    assert "resume_000001 is passed over: 3 starts from it were broken off" in caplog.text
    assert names(ring) == ["resume_000000", "resume_000001", "resume_attempts.json"]
    assert not (ring.directory / "quarantine").exists()
    assert (ring.newest(), ring.given_up) == (None, ("resume_000001", "resume_000000"))
    (ring.directory / "resume_attempts.json").unlink()  # the way back
    assert start(ring) == 1
    assert save(ring, 2) == 2
    assert start(ring) == 2


def test_a_start_that_is_survived_makes_up_for_those_that_were_not(ring: ResumeRing) -> None:
    save(ring, 0)
    for _ in range(4):
        assert [start(ring), start(ring)] == [0, 0]
        ring.survived(newest(ring))
    ring.survived(newest(ring))  # harmless
    assert names(ring) == ["resume_000000"]


def test_a_newer_one_stays_passed_over_when_the_run_goes_on_from_an_older(ring: ResumeRing) -> None:
    save(ring, 0)
    save(ring, 1)
    assert [start(ring) for _ in range(5)] == [1, 1, 1, 0, 0]
    ring.survived(newest(ring))
    assert [start(ring) for _ in range(4)] == [0, 0, 0, None]  # what belongs to 1 beside the ring is gone
    ring.survived(ResumePoint(0, ring.directory, {}))
    save(ring, 2)
    save(ring, 3)
    ring.survived(newest(ring))
    assert not (ring.directory / "resume_attempts.json").exists()


def test_starts_are_counted_for_each_point(ring: ResumeRing) -> None:
    save(ring, 0)
    assert [start(ring), start(ring)] == [0, 0]
    save(ring, 1)
    assert [start(ring) for _ in range(5)] == [1, 1, 1, 0, None]


def test_a_count_of_an_earlier_version_counts(ring: ResumeRing) -> None:
    save(ring, 0)
    (ring.directory / "resume_attempts.json").write_text('{"format": 1, "sequence": 0, "count": 2}')
    assert [start(ring), start(ring)] == [0, None]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"count": "x", "sequence": 0}', '{"sequence": 0}', '{"counts": [0]}', '{"counts": {"x": 1}}'],
)
def test_a_damaged_count_counts_for_nothing(ring: ResumeRing, content: str, caplog: pytest.LogCaptureFixture) -> None:
    save(ring, 0)
    (ring.directory / "resume_attempts.json").write_text(content)
    assert start(ring) == 0
    assert "is ignored" in caplog.text
    assert [start(ring) for _ in range(3)] == [0, 0, None]
