"""What can happen to the files of a snapshot."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_optix.core.storage import atomic


def flip_a_byte_of_the_weights(snapshot: Path) -> None:
    weights = snapshot / "weights" / "agent.npy"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def lose_the_weights(snapshot: Path) -> None:
    (snapshot / "weights" / "agent.npy").unlink()


def cut_the_weights(snapshot: Path) -> None:
    weights = snapshot / "weights" / "agent.npy"
    weights.write_bytes(weights.read_bytes()[:-1])


def add_a_file(snapshot: Path) -> None:
    (snapshot / "weights" / "extra.npy").write_bytes(b"")


def link_the_weights_elsewhere(snapshot: Path) -> None:
    weights = snapshot / "weights" / "agent.npy"
    shutil.move(weights, snapshot.parent / "elsewhere.npy")
    weights.symlink_to(snapshot.parent / "elsewhere.npy")


def link_the_metadata_elsewhere(snapshot: Path) -> None:
    shutil.move(snapshot / "metadata.json", snapshot.parent / "elsewhere.json")
    (snapshot / "metadata.json").symlink_to(snapshot.parent / "elsewhere.json")


def lose_the_metadata(snapshot: Path) -> None:
    (snapshot / "metadata.json").unlink()


def edit_the_score(snapshot: Path) -> None:
    metadata = json.loads((snapshot / "metadata.json").read_bytes())
    metadata["snapshot"]["eval_metrics"]["primary_score"] = 1e9
    (snapshot / "metadata.json").write_text(json.dumps(metadata))


def edit_a_checksum(snapshot: Path) -> None:
    metadata = json.loads((snapshot / "metadata.json").read_bytes())
    metadata["files"]["weights/agent.npy"]["sha256"] = "0" * 64
    (snapshot / "metadata.json").write_text(json.dumps(metadata))


def cut_the_metadata(snapshot: Path) -> None:
    metadata = (snapshot / "metadata.json").read_bytes()
    (snapshot / "metadata.json").write_bytes(metadata[: len(metadata) // 2])


def empty_the_metadata(snapshot: Path) -> None:
    (snapshot / "metadata.json").write_bytes(b"{}")


def resign(snapshot: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the metadata as somebody would who knows the format."""
    metadata = json.loads((snapshot / "metadata.json").read_bytes())
    del metadata["sha256"]
    change(metadata)
    metadata["sha256"] = atomic.digest_of(metadata)
    (snapshot / "metadata.json").write_bytes(atomic.encode_json(metadata))


def come_from_the_future(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata.update(format=2))


def bear_another_name(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata["snapshot"].update(snapshot_id="../../etc"))


def lack_a_field(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata["snapshot"].pop("window_id"))


def list_files_as_text(snapshot: Path) -> None:
    resign(snapshot, lambda metadata: metadata.update(files="weights/agent.npy"))


DAMAGES = [
    flip_a_byte_of_the_weights,
    lose_the_weights,
    cut_the_weights,
    add_a_file,
    link_the_weights_elsewhere,
    link_the_metadata_elsewhere,
    lose_the_metadata,
    edit_the_score,
    edit_a_checksum,
    cut_the_metadata,
    empty_the_metadata,
    come_from_the_future,
    bear_another_name,
    lack_a_field,
    list_files_as_text,
]
