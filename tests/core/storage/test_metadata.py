"""The metadata of a folder: sealed with their hash, and read only as they were written."""

import json
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.storage import atomic
from tensor_optix.core.storage.metadata import FOLDER_FORMAT, METADATA, ForeignFormatError, metadata_in, sealed
from tensor_optix.core.storage.signing import KEY_FILE, SIGNATURE
from tensor_optix.errors import CheckpointCorruptError, CheckpointUnsignedError

FILES = {"weights/agent.npy": {"bytes": 3, "sha256": "0" * 64}}


def write(folder: Path, data: bytes) -> Path:
    (folder / METADATA).write_bytes(data)
    return folder


def with_hash(metadata: dict[str, Any]) -> bytes:
    """Metadata as somebody would seal them who knows how."""
    return atomic.encode_json(metadata | {"sha256": atomic.digest_of(metadata)})


def plain(**changes: Any) -> dict[str, Any]:
    return {"score": 1.5, "format": FOLDER_FORMAT, "sequence": 4, "files": FILES, **changes}


def test_what_is_sealed_is_read_with_its_number_and_without_its_hash(tmp_path: Path) -> None:
    assert metadata_in(write(tmp_path, sealed(4, {"score": 1.5}, FILES)), 4) == plain()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert sealed(4, {"score": 1.5}, FILES) == sealed(4, {"score": 1.5}, FILES) == with_hash(plain())


def test_content_does_not_choose_format_number_or_files(tmp_path: Path) -> None:
    content = {"format": 99, "sequence": 99, "files": {}}
    assert metadata_in(write(tmp_path, sealed(4, content, FILES)), 4)["sequence"] == 4


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_changed_byte_is_seen(tmp_path: Path, place: int) -> None:
    data = bytearray(sealed(4, {"score": 1.5}, FILES))
    data[place] ^= 1
    with pytest.raises(CheckpointCorruptError):
        metadata_in(write(tmp_path, bytes(data)), 4)


def test_metadata_of_another_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match="belongs to number 4"):
        metadata_in(write(tmp_path, sealed(4, {}, FILES)), 5)


def test_a_folder_without_metadata_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match=METADATA):
        metadata_in(tmp_path, 4)


@pytest.mark.parametrize(
    ("written", "is_later"), [(FOLDER_FORMAT + 1, True), (FOLDER_FORMAT - 1, False), (None, False), ("2", False)]
)
def test_only_a_later_format_is_foreign_and_any_other_is_damage(tmp_path: Path, written: Any, is_later: bool) -> None:
    with pytest.raises(CheckpointCorruptError, match=f"its format is {written!r}") as raised:
        metadata_in(write(tmp_path, with_hash(plain(format=written))), 4)
    assert isinstance(raised.value, ForeignFormatError) is is_later


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        "weights",
        {"a": 3},
        {"a": {"bytes": 3}},
        {"a": {"bytes": True, "sha256": ""}},
        {"a": {"bytes": 1.0, "sha256": ""}},
    ],
)
def test_files_are_listed_with_length_and_hash(tmp_path: Path, files: Any) -> None:
    with pytest.raises(CheckpointCorruptError, match="does not list the files as it should"):
        metadata_in(write(tmp_path, with_hash(plain(files=files))), 4)


class TestSigned:
    @pytest.fixture(autouse=True)
    def key(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "key"
        file.write_bytes(b"k" * 32)
        file.chmod(0o600)
        monkeypatch.setenv(KEY_FILE, str(file))

    def test_with_a_key_metadata_are_signed_and_read_without_the_signature(self, tmp_path: Path) -> None:
        data = sealed(4, {"score": 1.5}, FILES)
        assert SIGNATURE in json.loads(data)
        assert metadata_in(write(tmp_path, data), 4) == plain()

    @pytest.mark.parametrize("signature", [None, "0" * 64, 3])
    def test_without_its_signature_nothing_is_believed(self, tmp_path: Path, signature: Any) -> None:
        forged = plain() if signature is None else plain(**{SIGNATURE: signature})
        with pytest.raises(CheckpointUnsignedError, match=KEY_FILE):
            metadata_in(write(tmp_path, with_hash(forged)), 4)

    def test_without_the_key_what_was_signed_is_still_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, sealed(4, {"score": 1.5}, FILES))
        monkeypatch.delenv(KEY_FILE)
        assert metadata_in(tmp_path, 4) == plain()
