"""What lies at a path, and which path was meant: a run, a snapshot and its weights are folders inside each other.

    RUN_DIR/                                    a run: `load_policy`, the command line, `checkpoint_dir`
    RUN_DIR/snapshot_<id>/                      a snapshot: `load_policy`
    RUN_DIR/snapshot_<id>/weights/agent         weights, without a suffix: `load_weights`

Nothing that is read here decides what is loaded: it only makes the message.
"""

import contextlib
import json
import os
from pathlib import Path

from tensor_optix.core.storage.line_log import DESCRIPTION, HISTORY, REPORT
from tensor_optix.core.storage.metadata import METADATA
from tensor_optix.errors import CheckpointCorruptError, CheckpointPathError

AGENT = Path("weights") / "agent"
"""Where a snapshot has the agent's weights."""
_MOST_LISTED = 1_000
_MANIFEST, _SNAPSHOT = "manifest.json", "snapshot_"
_OF_A_RUN = (_MANIFEST, HISTORY, DESCRIPTION, REPORT)
_SUFFIX = ".safetensors"


def is_snapshot(path: Path) -> bool:
    """Return True for the folder of a snapshot, whatever its name."""
    return (path / METADATA).is_file() and (path / AGENT.parent).is_dir()


def is_run(path: Path) -> bool:
    """Return True for the folder of a run."""
    return path.is_dir() and (
        any((path / name).is_file() for name in _OF_A_RUN) or any(is_snapshot(folder) for folder in _snapshots_in(path))
    )


def check_run(path: Path) -> None:
    """Raise `CheckpointPathError`, with the run that was meant, unless `path` is the folder of a run."""
    if not is_run(path):
        raise not_a_run(path)


def not_a_run(path: Path) -> CheckpointPathError:
    """Return the error for a path that is not the folder of a run."""
    run = _run_near(path)
    return CheckpointPathError(
        f"{str(path)!r} is {_what(path)}, where the folder of a run is wanted. "
        + (f"Did you mean {str(run)!r}?" if run is not None else "A run's folder is its checkpoint_dir or --run-dir.")
    )


def nothing_intact(path: Path, *, has_scored: bool) -> CheckpointCorruptError:
    """Return the error for a run of which no snapshot could be loaded, or that has not come to one with a score."""
    remedy = (
        "."
        if has_scored
        else ": it ended before the first evaluation, or they were removed. Train it on, with tensor-optix resume, or "
        "RLOptimizer(..., resume=True)."
    )
    return CheckpointCorruptError(f"{str(path)!r} holds no intact snapshot with a score{remedy}")


def not_weights(path: str) -> CheckpointPathError:
    """Return the error for a path at which there are no weights, given as `load_weights` takes it."""
    given = Path(path)
    if (meant := _weights_near(given)) is not None:
        return CheckpointPathError(
            f"{path!r} is {_what(given)}, where weights are wanted. Did you mean load_weights({str(meant)!r})? To act "
            f"with the policy, tensor_optix.load_policy(RUN_DIR or a snapshot's folder) takes everything along."
        )
    return CheckpointPathError(
        f"There are no weights at {path!r}: {path + _SUFFIX!r} is not there. Pass the path that save_weights had."
    )


def _what(path: Path) -> str:
    if not os.path.lexists(path):
        return "not there"
    if not path.is_dir():
        return "a file"
    if is_snapshot(path):
        return "the folder of a snapshot"
    if is_run(path):
        return "the folder of a run"
    if path.name == AGENT.parent.name and is_snapshot(path.parent):
        return "the folder of a snapshot's weights"
    return "a folder of runs" if _runs_in(path) else "a folder without a run"


def _run_near(path: Path) -> Path | None:
    """Return the run that a path lies in, or the newest one in it."""
    for folder in list(path.absolute().parents)[:4]:
        if is_run(folder):
            return folder
    return next(iter(_runs_in(path)), None)


def _weights_near(path: Path) -> Path | None:
    """Return the weights that a path holds, without their suffix."""
    if path.name.endswith(_SUFFIX) and path.is_file():
        return path.with_name(path.name.removesuffix(_SUFFIX))
    if not path.is_dir():
        return None
    if is_snapshot(path):
        return path / AGENT
    if path.name == AGENT.parent.name and is_snapshot(path.parent):
        return path.parent / AGENT
    snapshots = _snapshots_in(path)
    return next((path / f"{_SNAPSHOT}{best}" / AGENT for best in _best_of(path)), None) or (
        snapshots[-1] / AGENT if snapshots else None
    )


def _best_of(run: Path) -> list[str]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        best = json.loads((run / _MANIFEST).read_bytes()[: 1 << 22])["best"]
        if isinstance(best, str) and (run / f"{_SNAPSHOT}{best}").is_dir():
            return [best]
    return []


def _snapshots_in(run: Path) -> list[Path]:
    return [folder for folder in _folders_in(run) if folder.name.startswith(_SNAPSHOT)]


def _runs_in(path: Path) -> list[Path]:
    """Return the runs in a folder, the newest first."""
    return sorted(filter(is_run, _folders_in(path)), key=lambda run: run.stat().st_mtime, reverse=True)


def _folders_in(path: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [path / name for name in sorted(os.listdir(path))[-_MOST_LISTED:] if (path / name).is_dir()]
    return []
