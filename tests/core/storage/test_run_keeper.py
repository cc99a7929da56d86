"""When the state of a run is saved, on a clock of the test's own, and from what it resumes."""

import shutil
from pathlib import Path

import pytest

from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.storage.run_keeper import RunKeeper
from tensor_optix.errors import CheckpointCorruptError, CheckpointInterruptedError, CheckpointStorageError
from tests.fakes.disk import write_agent


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(tmp_path: Path, clock: Clock) -> RunKeeper:
    keeper = RunKeeper(ResumeRing(tmp_path / "run"), clock, share=0.1, longest=60.0)
    keeper.start()
    return keeper


def save_taking(keeper: RunKeeper, clock: Clock, seconds: float) -> None:
    def write(folder: Path) -> None:
        write_agent(1.0)(folder)
        clock.now += seconds

    keeper.save(write, lambda: {"n": 1})


def test_a_state_is_saved_as_often_as_the_share_of_the_time_allows(keeper: RunKeeper, clock: Clock) -> None:
    assert keeper.is_due  # what it costs is not known yet
    save_taking(keeper, clock, 1.0)
    assert keeper.seconds == 1.0
    clock.now = 119.9
    assert not keeper.is_due  # another second would make two, of less than twenty
    clock.now = 120.1
    assert keeper.is_due


def test_a_state_that_is_too_old_is_saved_whatever_it_costs(keeper: RunKeeper, clock: Clock) -> None:
    save_taking(keeper, clock, 50.0)
    clock.now = 209.9
    assert not keeper.is_due
    clock.now = 210.0
    assert keeper.is_due


def test_a_save_that_fails_costs_its_time_too(keeper: RunKeeper, clock: Clock) -> None:
    def full(folder: Path) -> None:
        clock.now += 2.0
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointStorageError, match="No space left"):
        keeper.save(full, dict)
    assert keeper.seconds == 2.0


def test_the_newest_state_is_restored(keeper: RunKeeper, clock: Clock) -> None:
    found: list[ResumePoint] = []
    assert not keeper.resume(found.append)
    save_taking(keeper, clock, 0.0)
    assert keeper.resume(found.append)
    assert [point.state for point in found] == [{"n": 1}]


def test_a_restore_that_raises_is_no_crash_and_may_be_tried_again(keeper: RunKeeper, clock: Clock) -> None:
    save_taking(keeper, clock, 0.0)

    def refuse(point: ResumePoint) -> None:
        raise ValueError("mine")

    for _ in range(5):
        with pytest.raises(ValueError, match="mine"):
            keeper.resume(refuse)
    assert keeper.resume(lambda point: None)


def test_states_that_the_process_died_on_are_kept_and_the_error_names_the_way_back(
    keeper: RunKeeper, clock: Clock, tmp_path: Path
) -> None:
    class KilledError(BaseException):
        pass

    def die(point: ResumePoint) -> None:
        raise KilledError

    for _ in range(2):
        save_taking(keeper, clock, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper.ring, "survived", lambda point: None)  # a process that is killed says no more
        for _ in range(6):
            with pytest.raises(KilledError):
                keeper.resume(die)
    with pytest.raises(
        CheckpointInterruptedError, match=r"resume_000001 and resume_000000 in .* delete resume_attempts.json"
    ):
        keeper.resume(die)
    (tmp_path / "run" / "resume_attempts.json").unlink()
    assert keeper.resume(lambda point: None)


def test_a_full_disk_does_not_keep_a_run_from_going_on(
    keeper: RunKeeper, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save_taking(keeper, clock, 0.0)

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensor_optix.core.storage.atomic.replace_file", full)
    monkeypatch.setattr("tensor_optix.core.storage.atomic.remove_file", full)
    assert keeper.resume(lambda point: None)
    assert caplog.text.count("No space left on device") == 2


def test_states_of_which_none_is_intact_are_an_error_and_no_new_beginning(
    keeper: RunKeeper, clock: Clock, tmp_path: Path
) -> None:
    save_taking(keeper, clock, 0.0)
    for folder in (tmp_path / "run").glob("resume_[0-9]*"):
        shutil.rmtree(folder / "weights", ignore_errors=True)
        for path in folder.rglob("*"):
            if path.is_file():
                path.write_bytes(b"damaged")
    with pytest.raises(CheckpointCorruptError, match="none that is intact"):
        keeper.resume(lambda point: None)
