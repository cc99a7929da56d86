"""Signatures, where the user has a key: only what was written with it is read.

A checksum shows damage; whoever can change a file can change its checksum, too, but not sign it without the key.
"""

import hashlib
import hmac
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError, CheckpointUnsafeError, CheckpointUnsignedError

KEY_FILE = "TENSOR_OPTIX_KEY_FILE"
SIGNATURE = "signature"
FEWEST_BYTES, MOST_BYTES = 16, 4096


def signing_key() -> bytes | None:
    """Return the key in the file that `TENSOR_OPTIX_KEY_FILE` names, None where that is not set.

    Raises:
        CheckpointUnsafeError: it cannot be read, others may read it, or it is too short to be a key.
    """
    name = os.environ.get(KEY_FILE)
    if not name:
        return None
    try:
        key = read_plain(Path(name), MOST_BYTES)
        found = os.stat(name, follow_symlinks=False)
    except (CheckpointCorruptError, OSError) as error:
        raise CheckpointUnsafeError(f"{KEY_FILE} names no key: {error}") from error
    if os.name == "posix" and (found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077):
        raise CheckpointUnsafeError(
            f"{KEY_FILE} names {name!r}, which must be this user's alone, but belongs to user {found.st_uid} and has "
            f"mode {stat.S_IMODE(found.st_mode):04o}. run chmod 600; a key that others have read is worthless."
        )
    if len(key) < FEWEST_BYTES:
        raise CheckpointUnsafeError(
            f"{KEY_FILE} names {name!r}, which has {len(key)} bytes; a key has at least {FEWEST_BYTES}, by chance: "
            f"head -c 32 /dev/urandom > {name}"
        )
    return key


def signed(metadata: Mapping[str, object], encoded: bytes) -> dict[str, object]:
    """Return `metadata`, of which `encoded` are the bytes, with a signature where there is a key."""
    key = signing_key()
    return dict(metadata) if key is None else {**metadata, SIGNATURE: _signature(key, encoded)}


def check_signature(signature: object, encoded: Callable[[], bytes], where: str) -> None:
    """Refuse what was not signed with the key, where there is one.

    Args:
        signature: what is said to be one.
        encoded: returns the bytes that were signed; it is asked where there is a key.
        where: they lie, for the message.

    Raises:
        CheckpointUnsignedError: `signature` is absent, or not that of the bytes.
    """
    key = signing_key()
    if key is None:
        return
    ours = _signature(key, encoded()).encode()
    is_ours = isinstance(signature, str) and hmac.compare_digest(signature.encode(), ours)
    if not is_ours:
        what = "is not signed" if signature is None else "was changed since, or signed with another key"
        raise CheckpointUnsignedError(
            f"{where} {what}; {KEY_FILE} lets nothing be read that was not signed with its key. Use the key that the "
            f"run was begun with, or another checkpoint_dir; without {KEY_FILE} it is read as it is."
        )


def _signature(key: bytes, encoded: bytes) -> str:
    return hmac.new(key, encoded, hashlib.sha256).hexdigest()
