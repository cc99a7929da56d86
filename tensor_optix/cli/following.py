"""What can be done next with a run, as the command that does it."""

from pathlib import Path

from tensor_optix._run_reports import read_report
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError
from tensor_optix.runs import MAX_BYTES, modules_of
from tensor_optix.support.commands import named_run
from tensor_optix.support.narrowing import is_array
from tensor_optix.support.schemas import decode_object


def resume_command(report: TrainingReport, run_dir: Path) -> str:
    """Return the command that trains on, a run that a bound has ended for as long again; empty where nothing is left.

    Args:
        report: of the run.
        run_dir: its folder, as the user named it.
    """
    command, reason = f"tensor-optix resume {named_run(str(run_dir), report.allow_module)}", StopReason(report.reason)
    if reason is StopReason.MAX_EPISODES:
        return f"{command} --max-windows {2 * report.windows}"
    if reason is StopReason.MAX_STEPS:
        return f"{command} --max-steps {2 * report.env_steps}"
    return "" if reason.is_final else command


def enjoy_command_of(run_dir: Path) -> str:
    """Return the command that shows the best policy of a run; empty where there is none to be made."""
    try:
        described = decode_object(read_plain(run_dir / DESCRIPTION, MAX_BYTES), DESCRIPTION)
        report = read_report(run_dir)
    except CheckpointCorruptError:
        return ""
    env, wrappers = described.get("env"), described.get("wrappers")
    if not isinstance(env, str) or not any(run_dir.glob("snapshot_*")):
        return ""
    if report is not None:
        return f"tensor-optix enjoy {named_run(str(run_dir), report.allow_module)}"
    try:
        modules = modules_of(env, [str(each) for each in wrappers] if is_array(wrappers) else [])
    except InvalidArgumentError:
        return ""
    return f"tensor-optix enjoy {named_run(str(run_dir), chr(10).join(modules))}"


def resume_command_of(run_dir: Path) -> str:
    """Return the command that trains a run of the command line on; empty where there is none, or no report."""
    try:
        described = decode_object(read_plain(run_dir / DESCRIPTION, MAX_BYTES), DESCRIPTION)
        report = read_report(run_dir)
    except CheckpointCorruptError:
        return ""
    return "" if report is None or described.get("made_in") is not None else resume_command(report, run_dir)
