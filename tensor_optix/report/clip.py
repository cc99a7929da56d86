"""The recording of a run's best policy, as the page holds it."""

import base64
from pathlib import Path

from tensor_optix.core.storage.line_log import CLIP
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.film import CLIP_BYTES


def clip_of(run_dir: Path) -> str:
    """Return the recording as a `data:` address, empty where a run has none that fits the page."""
    try:
        content = read_plain(run_dir / CLIP, CLIP_BYTES)
    except CheckpointCorruptError:
        return ""
    return f"data:image/gif;base64,{base64.b64encode(content).decode()}" if content.startswith(b"GIF8") else ""
