"""What `test_tuning.py` does not see of a checkpoint: one that is of another version, or none."""

import json
from pathlib import Path

import pytest

from tensor_optix.core.storage.durable_folder import DurableFolders
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.ray.checkpoints import FORMAT, STANDING, TRAINING, TrialState, read_checkpoint


def saved(folder: Path, **state: object) -> Path:
    folders = DurableFolders(folder, TRAINING)
    staged = folders.stage()
    (staged / STANDING).write_text(json.dumps(state))
    folders.seal(staged, 0, {})
    return folder


WHOLE = {"trial": "a_1", "number": 1, "reports": 2, "steps": 64, "windows": 2, "statistics": {}, "stream": None}


def test_it_is_read_back(tmp_path: Path) -> None:
    assert read_checkpoint(saved(tmp_path, format=FORMAT, **WHOLE)) == TrialState(**WHOLE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "message"),
    [({"format": FORMAT + 1, **WHOLE}, f"has format {FORMAT + 1}, not {FORMAT}"), ({"format": FORMAT}, "trial")],
)
def test_what_is_of_another_version_or_not_whole_is_refused(
    tmp_path: Path, state: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointCorruptError, match=message):
        read_checkpoint(saved(tmp_path, **state))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match="training_000000"):
        read_checkpoint(tmp_path)
