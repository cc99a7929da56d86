"""The id by which trackers know a run when it is resumed; it stands in `run.json`, and is no setting."""

import secrets
from pathlib import Path

from tensor_optix.core.storage.line_log import DESCRIPTION, RUN_ID
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.schemas import decode_object

_MAX_BYTES = 1 << 20


def run_id_in(run_dir: Path) -> str:
    """Return the id of the run in a folder; a new one where it has none."""
    try:
        known = decode_object(read_plain(run_dir / DESCRIPTION, _MAX_BYTES), DESCRIPTION).get(RUN_ID)
    except CheckpointCorruptError:
        known = None
    return known if isinstance(known, str) and known else secrets.token_hex(8)
