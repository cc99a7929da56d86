"""What a trial of Ray Tune goes on from: a folder that verifies itself, and whose policy plays like that of a run.

run.json                what the trial is made of
snapshot_000000/        its policy, with the episodes that it has played
training_000000/        all that learning needs, and trial.json: where the trial stood
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tensor_optix.core.storage.atomic import encode_json, read_json, storage_errors, write_file
from tensor_optix.core.storage.durable_folder import DurableFolders
from tensor_optix.core.types import PlayedWindow
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.multirun.member import Member
from tensor_optix.support.plain import jsonable
from tensor_optix.support.schemas import rebuilt

TRAINING, STANDING = "training_", "trial.json"
FORMAT = 1
_MAX_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialState:
    """Where a trial stands between two reports."""

    format: int = FORMAT
    trial: str
    """Whose it is: Tune's PBT gives it to others."""
    number: int
    """Root of the trial's own random numbers."""
    reports: int = 0
    steps: int = 0
    """That the policy has learned from, those of the trials that it was copied from included."""
    windows: int = 0
    statistics: dict[str, object] = dataclasses.field(default_factory=dict)
    """Of the pipeline."""
    stream: dict[str, object] | None = None
    """Where the pipeline stands; None = at the beginning."""


def write_checkpoint(folder: Path, member: Member, state: TrialState, evidence: Sequence[PlayedWindow]) -> None:
    """Write a checkpoint into an empty folder.

    Args:
        folder: the folder.
        member: who learns.
        state: where the trial stands; the pipeline's part is filled in.
        evidence: what the policy has played.

    Raises:
        CheckpointStorageError: the disk refuses it.
    """
    member.run.write(folder)
    member.save_policy(folder, evidence, is_final=False)
    folders = DurableFolders(folder, TRAINING)
    with storage_errors("save a trial in", folder):
        staged = folders.stage()
        statistics, stream = member.save(staged), jsonable(member.pipeline.stream_state())
        whole = dataclasses.replace(state, statistics=statistics, stream=stream)
        write_file(staged / STANDING, encode_json(dataclasses.asdict(whole)))
        folders.seal(staged, 0, {})


def read_checkpoint(folder: Path) -> TrialState:
    """Return where the trial stood that has written a checkpoint, once its files are verified.

    Raises:
        CheckpointCorruptError: it is damaged, or no checkpoint of a trial.
    """
    folders = DurableFolders(folder, TRAINING)
    folders.verify(0)
    state = rebuilt(TrialState, read_json(folders.folder(0) / STANDING, _MAX_BYTES))
    if state.format != FORMAT:
        raise CheckpointCorruptError(f"{str(folder)!r} has format {state.format}, not {FORMAT}.")
    return state


def load_checkpoint(folder: Path, member: Member, state: TrialState) -> None:
    """Let a member go on from the weights, the moments and the statistics of a checkpoint.

    Args:
        folder: the folder, as `read_checkpoint` has verified it.
        member: who goes on.
        state: what `read_checkpoint` returned.
    """
    member.load(DurableFolders(folder, TRAINING).folder(0), state.statistics)
