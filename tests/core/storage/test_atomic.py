import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.storage import atomic
from tensor_optix.core.storage.atomic import DirectoryLock
from tensor_optix.errors import (
    CheckpointCorruptError,
    CheckpointLockedError,
    CheckpointStorageError,
    CheckpointUnsafeError,
)

# --- files ---


def test_write_file_creates_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write_file(path, b"first")
    with pytest.raises(FileExistsError):
        atomic.write_file(path, b"second")
    assert path.read_bytes() == b"first"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no such flag on this platform")
def test_write_file_does_not_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        atomic.write_file(tmp_path / "link", b"data")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("before", [None, b"old"])
def test_replace_file_puts_the_new_content_in_place_and_leaves_nothing_else(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    atomic.replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_replace_file_that_fails_half_way_leaves_the_old_content_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*args: Any) -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no"):
            atomic.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    atomic.replace_file(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_file_that_could_not_be_written_or_synced_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*args: Any) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="Input/output error"):
            atomic.replace_file(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    atomic.write_file(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_removing_a_file_that_is_not_there_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    atomic.remove_file(tmp_path / "file")
    atomic.remove_file(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_made_with_those_above_it_and_each_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(atomic, "fsync_directory", synced.append)
    for _ in range(2):
        atomic.make_directory(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_directory_whose_name_could_not_be_synced_is_made_and_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "fsync_directory", fail)
        with pytest.raises(OSError, match="Input/output error"):
            atomic.make_directory(tmp_path / "a" / "b")
    synced: list[Path] = []
    monkeypatch.setattr(atomic, "fsync_directory", synced.append)
    atomic.make_directory(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this platform")
@pytest.mark.parametrize("kind", ["a link", "a second name", "a pipe", "a folder"])
def test_only_a_plain_file_with_one_name_is_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "plain").write_bytes(b"{}")
    path = tmp_path / "x.json"
    assert atomic.read_plain(tmp_path / "plain", 2) == b"{}"
    if kind == "a link":
        path.symlink_to(tmp_path / "plain")
    elif kind == "a second name":
        os.link(tmp_path / "plain", path)
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(CheckpointCorruptError, match=r"x\.json"):
        atomic.read_json(path)


# --- JSON ---


def test_json_is_strict_sorted_and_round_trips(tmp_path: Path) -> None:
    data = {"b": [1, 2.5, None], "a": {"ü": True}}
    encoded = atomic.encode_json(data)
    assert encoded.endswith(b"}\n")
    assert encoded.index(b'"a"') < encoded.index(b'"b"')
    (tmp_path / "x.json").write_bytes(encoded)
    assert atomic.read_json(tmp_path / "x.json") == data
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.encode_json({"x": float("nan")})


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"": {"": []}, "deep": [[], {}, [1, [2, {"x": ({},)}]]], "b": [True, None]},
        {'é"\\/\n': "ü\u2028 \x01 </ 😀", "numbers": [1e-7, 1e22, -0.0, 5e-324, 12345678901234567890123, 1.5, -1]},
        {"keys": {2: "two", 10: "ten"}},
    ],
)
def test_json_is_that_of_the_standard_library_byte_for_byte(data: dict[str, Any]) -> None:
    # Files are verified by encoding what was read once more.
    assert atomic.encode_json(data) == (json.dumps(data, sort_keys=True, indent=1) + "\n").encode()


def test_the_digest_depends_on_the_content_and_not_on_the_order() -> None:
    assert atomic.digest_of({"a": 1, "b": 2}) == atomic.digest_of({"b": 2, "a": 1})
    assert atomic.digest_of({"a": 1, "b": 2}) != atomic.digest_of({"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        (b"", "cannot be read as JSON"),
        (b'{"a": 1', "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b'{"a": NaN}', "cannot be read as JSON"),
        (b'{"a": -Infinity}', "cannot be read as JSON"),
        (b"[" * 100_000, "cannot be read as JSON"),  # deeper than any parser's stack
        (b"[1, 2]", "must hold a JSON object, but holds a list"),
        (b"null", "must hold a JSON object, but holds a NoneType"),
    ],
)
def test_what_is_no_json_object_is_corrupt_and_says_where(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "metadata.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointCorruptError) as error:
        atomic.read_json(path)
    assert reason in str(error.value)
    assert str(path) in str(error.value)


def test_a_json_file_of_absurd_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "MAX_JSON_BYTES", 10)
    (tmp_path / "x.json").write_text(json.dumps({"a": "b" * 20}))
    with pytest.raises(CheckpointCorruptError, match="larger than 10 bytes"):
        atomic.read_json(tmp_path / "x.json")


# --- errors ---


def test_an_os_error_becomes_one_that_names_the_deed_the_place_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointStorageError) as error, atomic.storage_errors("open", tmp_path):
        (tmp_path / "nowhere").read_bytes()
    assert str(error.value).startswith(f"Could not open {str(tmp_path)!r}: No such file")
    assert "choose another checkpoint_dir" in str(error.value)
    assert isinstance(error.value, OSError)


def test_a_storage_error_is_not_wrapped_twice_and_other_errors_pass(tmp_path: Path) -> None:
    inner = CheckpointStorageError("inner")
    with pytest.raises(CheckpointStorageError) as error, atomic.storage_errors("open", tmp_path):
        raise inner
    assert error.value is inner
    with pytest.raises(KeyError), atomic.storage_errors("open", tmp_path):
        raise KeyError("mine")


# --- the lock ---

TRY_LOCK = """
import sys
from pathlib import Path
from tensor_optix.core.storage.atomic import DirectoryLock
from tensor_optix.errors import CheckpointLockedError
try:
    lock = DirectoryLock(Path(sys.argv[1]))
    lock.acquire()
    print("acquired", flush=True)
except CheckpointLockedError as error:
    print("locked", error.code)
"""


def try_lock_in_another_process(directory: Path) -> str:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", TRY_LOCK, str(directory)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_another_process_gets_the_lock_only_when_it_is_given_back(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    lock.acquire()  # harmless
    assert try_lock_in_another_process(tmp_path) == "locked checkpoint-locked"
    lock.release()
    lock.release()  # harmless
    assert try_lock_in_another_process(tmp_path) == "acquired"


def test_two_locks_of_one_process_share_and_the_last_one_out_gives_it_back(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    second.acquire()
    first.release()
    assert try_lock_in_another_process(tmp_path) == "locked checkpoint-locked"
    second.release()
    assert try_lock_in_another_process(tmp_path) == "acquired"


def test_a_lock_held_elsewhere_names_the_directory_and_the_way_out(tmp_path: Path) -> None:
    holder = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", TRY_LOCK + "sys.stdin.read()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "acquired"
        with pytest.raises(CheckpointLockedError, match=r"in use by another process.*no stale one") as error:
            DirectoryLock(tmp_path).acquire()
        assert str(tmp_path) in str(error.value)
        holder.kill()


FORK = """
import os, sys
from pathlib import Path
from tensor_optix.core.storage.atomic import DirectoryLock
from tensor_optix.errors import CheckpointLockedError
lock = DirectoryLock(Path(sys.argv[1]))
lock.acquire()
if os.fork() == 0:
    print(lock.is_held, end=" ")
    lock.release()  # another's: left alone
    try:
        lock.acquire()
    except CheckpointLockedError:
        print("locked", end=" ", flush=True)
    os._exit(0)
os.wait()
print(lock.is_held)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_of_the_holder_does_not_hold_the_lock(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", FORK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "locked", "True"]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no such flag on this platform")
def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(CheckpointStorageError, match="Could not lock"):
        DirectoryLock(tmp_path).acquire()
    assert (tmp_path / "precious").read_text() == "x"


def test_a_directory_that_cannot_hold_a_lock_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointStorageError, match="Could not lock"):
        DirectoryLock(tmp_path / "file" / "below").acquire()


# --- other platforms, other runs ---


def test_where_permissions_say_nothing_and_folders_cannot_be_synced_neither_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(CheckpointUnsafeError, match="may be written by others"):
        atomic.check_private(tmp_path)
    synced: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced.append)
        patch.setattr(os, "name", "nt")
        atomic.check_private(tmp_path)
        atomic.fsync_directory(tmp_path)
    assert synced == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are not listed on this platform")
def test_neither_syncing_nor_writing_leaves_a_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("not this one")

    before = sorted(os.listdir("/proc/self/fd"))
    atomic.fsync_directory(tmp_path)
    atomic.write_file(tmp_path / "a", b"1")
    monkeypatch.setattr(os, "fsync", fail)
    for act in (lambda: atomic.fsync_directory(tmp_path), lambda: atomic.write_file(tmp_path / "b", b"2")):
        with pytest.raises(OSError, match="not this one"):
            act()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    atomic.check_private(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(CheckpointUnsafeError, match="belongs to user"):
        atomic.check_private(tmp_path)


def test_one_run_of_a_process_at_a_time_uses_a_directory(tmp_path: Path) -> None:
    with atomic.sole_run(tmp_path):
        with atomic.sole_run(tmp_path / "another"):
            pass
        again = atomic.sole_run(tmp_path / "." / "x" / "..")
        with pytest.raises(CheckpointLockedError, match="in use by another run of this process"), again:
            pass
    with pytest.raises(ValueError, match="mine"), atomic.sole_run(tmp_path):
        raise ValueError("mine")
    with atomic.sole_run(tmp_path):
        pass
