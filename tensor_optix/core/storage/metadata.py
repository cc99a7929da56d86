"""`metadata.json` of a folder: its files with their lengths and hashes, its number, a signature, and its own hash."""

import functools
from collections.abc import Mapping
from pathlib import Path

from tensor_optix.core.storage import atomic
from tensor_optix.core.storage.signing import SIGNATURE, check_signature, signed
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.narrowing import is_mapping
from tensor_optix.support.schemas import decode_object

FOLDER_FORMAT = 1
METADATA = "metadata.json"
_REMEMBERED = 1 << 16
"""Longest metadata, in bytes, of which it is remembered that they are whole: all are read at each save."""


class ForeignFormatError(CheckpointCorruptError):
    """Written by a later version of this library: not readable here, but not damaged."""


def sealed(sequence: int, content: Mapping[str, object], files: Mapping[str, object]) -> bytes:
    """Return the bytes of a folder's metadata, signed where there is a key, with their own hash."""
    metadata = {**content, "format": FOLDER_FORMAT, "sequence": sequence, "files": files}
    metadata = signed(metadata, atomic.encode_json(metadata))
    return atomic.encode_json(metadata | {"sha256": atomic.digest_of(metadata)})


def metadata_in(folder: Path, sequence: int) -> dict[str, object]:
    """Return the metadata of a folder, verified.

    Args:
        folder: where they are.
        sequence: the number that the folder's name says.

    Raises:
        CheckpointCorruptError: absent or damaged.
        ForeignFormatError: written by a later version.
        CheckpointUnsignedError: the user has a key, and they were not signed with it.
    """
    data = atomic.read_plain(folder / METADATA, atomic.MAX_JSON_BYTES)
    metadata = decode_object(data, repr(str(folder / METADATA)))
    if (written := metadata.get("format")) != FOLDER_FORMAT:
        is_later = isinstance(written, int) and written > FOLDER_FORMAT
        kind = ForeignFormatError if is_later else CheckpointCorruptError
        raise kind(f"its format is {written!r}, this version reads {FOLDER_FORMAT}.")
    (_check_unchanged if len(data) > _REMEMBERED else _check_unchanged_once)(data)
    del metadata["sha256"]
    signature = metadata.pop(SIGNATURE, None)
    check_signature(signature, lambda: atomic.encode_json(metadata), repr(str(folder)))
    if metadata.get("sequence") != sequence:
        raise CheckpointCorruptError(f"its metadata.json belongs to number {metadata.get('sequence')!r}.")
    if not _are_checksums(metadata.get("files")):
        raise CheckpointCorruptError("its metadata.json does not list the files as it should.")
    return metadata


def _are_checksums(files: object) -> bool:
    return is_mapping(files) and all(
        is_mapping(sums) and set(sums) == {"bytes", "sha256"} and type(sums["bytes"]) is int for sums in files.values()
    )


def _check_unchanged(data: bytes) -> None:
    metadata = decode_object(data, METADATA)
    try:
        hashed = {name: value for name, value in metadata.items() if name != "sha256"}
        # Bytes, too: not every change of them is one of what they mean (a last line end, the case of an escape).
        is_so = atomic.digest_of(hashed) == metadata.get("sha256")
        is_so = is_so and atomic.encode_json(metadata) == data
    except (ValueError, TypeError, RecursionError) as error:
        # What the parser takes and the encoder refuses (1e999, nesting) was not written here.
        raise CheckpointCorruptError(f"its metadata.json cannot be verified: {error}.") from error
    if not is_so:
        raise CheckpointCorruptError("its metadata.json was changed since it was saved.")


_check_unchanged_once = functools.lru_cache(maxsize=256)(_check_unchanged)
