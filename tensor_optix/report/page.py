"""The page of a run: the words, the tables and the figures, in one HTML file that needs no network."""

from collections.abc import Mapping
from pathlib import Path

from tensor_optix.core.decisions.schedules import is_schedule
from tensor_optix.core.faults import reasons_by_count
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.storage.line_log import REPORT
from tensor_optix.core.training_report import (
    CONFIRMED_IN_PYTHON,
    NOT_AHEAD,
    TrainingReport,
    cut_text,
    episodes_text,
    score_text,
)
from tensor_optix.report.clip import clip_of
from tensor_optix.report.curves import curve_figure
from tensor_optix.report.figures import time_figure, window_figures
from tensor_optix.report.policy_tests import last_tests_figure, rows_of_tests, tests_figure
from tensor_optix.report.rendering import plain, rendered, write
from tensor_optix.report.run_data import RunData
from tensor_optix.support.commands import confirm_command, named_run
from tensor_optix.support.packages import OURS, version_of

PAGE = "report.html"
_US = "tensor-optix"
_TOLD = ("state", "degradation", "rollback", "watch", "escape", "spawn", "prune", "variant", "resume")
MOST_ROWS = 200
"""Of a table; the newest are shown."""


def write_page(run_dir: Path, to: Path | None = None) -> Path:
    """Write the page of a run, and return where it is.

    Args:
        run_dir: the folder of the run.
        to: the file to write; None = `report.html` in that folder.

    Raises:
        InvalidArgumentError: the folder holds no run.
        MissingDependencyError: jinja2 or plotly is not installed; the message has the install line.
        CheckpointStorageError: the file cannot be written.
    """
    return write(page_of(RunData.read(run_dir)), run_dir / PAGE if to is None else to)


def page_of(data: RunData, *, reloads: bool = False) -> str:
    """Return the page of a run.

    Args:
        data: the records of the run.
        reloads: True for a page that asks its server for a newer one.
    """
    drawn = (curve_figure(data), last_tests_figure(data), tests_figure(data), time_figure(data))
    main = [figure for figure in drawn if figure is not None]
    health = window_figures(data)
    report = data.report
    return rendered(
        "page.html.jinja",
        [*main, *health],
        data=data,
        title=f"{data.name}: what this run did",
        verdict=_verdict(data),
        notes=notes_of(data),
        main={figure.key: figure for figure in main},
        health=health,
        tests=rows_of_tests(data)[-MOST_ROWS:],
        tuning=_tuning_rows(data),
        scheduled=_scheduled(data),
        escapes=[] if report is None else report.escapes,
        lineage=[] if report is None else report.evolution.get("lineage", []),
        faults=data.of_kind("fault")[-MOST_ROWS:],
        counts=_counts(report),
        failures=[] if report is None else reasons_by_count(report.failed_episodes)[:MOST_ROWS],
        events=data.of_kind(*_TOLD)[-MOST_ROWS:],
        settings=_settings(data),
        clip=clip_of(data.run_dir),
        watch_command=f"tensor-optix enjoy {named_run(str(data.run_dir), report.allow_module if report else '')}",
        reloads=reloads,
    )


def notes_of(data: RunData) -> list[str]:
    """Return what could not be read of a run, and that it is of another version where it is."""
    damaged = [f"{count} damaged in {name}" for name, count in data.damaged.items()]
    found = [f"Not everything could be read: {', '.join(damaged)}."] if damaged else []
    theirs, ours = _version_of(data), next(filter(None, map(version_of, OURS)), None)
    if theirs is not None and ours is not None and theirs != ours:
        found.append(
            f"The run was written by {_US} {theirs}, and this page by {ours}: what the two do not have in common is "
            f"left out."
        )
    return found


def _version_of(data: RunData) -> str | None:
    """Return the version that wrote a run; None where that is not known."""
    packages = data.environment.get("packages")
    named = packages if isinstance(packages, Mapping) else {}
    known = next((named[name] for name in OURS if named.get(name)), None)
    found = known or data.description.get("version")
    return None if found is None else str(found)


def _verdict(data: RunData) -> dict[str, object]:
    """Return what the run came to: the heading, the sentence, the rows, and the command that verifies it."""
    report = data.report
    if report is None:
        return _verdict_so_far(data)
    reason = StopReason(report.reason)
    interval = report.best_interval
    rows = [
        ("Best score", score_text(report.best_score, interval) + cut_text(report.best_limit)),
        ("Tested on", episodes_text(interval, confirmed=report.confirmed)),
        ("Untrained policy", score_text(report.start_score, report.start_interval) + cut_text(report.start_limit)),
        ("Found in window", "-" if report.best_window is None else f"{report.best_window} of {report.windows}"),
        ("Training steps", f"{report.env_steps:,}"),
        ("Time", f"{report.seconds.get('total', 0.0):,.1f} s"),
        ("Why it stopped" if report.converged else "Patience by then", report.stopped_because or "-"),
    ]
    if interval is not None:
        rows.insert(1, ("Interval", f"{interval.level:.0%} {interval.method}"))
    command = f"tensor-optix evaluate {named_run(str(data.run_dir), report.allow_module)} --verify"
    if not report.confirmed:
        command = confirm_command(str(data.run_dir), report.allow_module)
    if not report.is_confirmable:
        command = ""
    return {
        "heading": report.heading,
        "kind": "good" if report.converged and report.confirmed else "warning",
        "sentence": " ".join([f"{reason.sentence}.", *_warnings(report)]),
        "rows": rows,
        "command": command,
        "otherwise": ""
        if report.confirmed or report.is_confirmable or report.test is not None
        else CONFIRMED_IN_PYTHON,
    }


def _verdict_so_far(data: RunData) -> dict[str, object]:
    """Return where a run stands that has no report, or one that cannot be read."""
    last = data.history[-1] if data.history else None
    is_over = REPORT in data.damaged
    rows = [
        ("State", last.state if last else "no window was evaluated yet"),
        ("Steps", f"{last.env_steps:,}" if last else "0"),
        ("Best score so far", "-" if last is None or last.best_score is None else f"{last.best_score:.6g}"),
    ]
    unreadable = "What the run came to cannot be read: its report is damaged, or of another version."
    return {
        "heading": "Ended" if is_over else "Running",
        "kind": "warning" if is_over else "running",
        "sentence": unreadable if is_over else "",
        "rows": rows,
        "command": "",
        "otherwise": "",
    }


def _warnings(report: TrainingReport) -> list[str]:
    found = [] if report.confirmed else ["The best is unconfirmed: it may owe its score to luck."]
    if report.ahead_of_start is False:
        found.append(NOT_AHEAD)
    return [*found, *([report.advice] if report.advice else [])]


def _tuning_rows(data: RunData) -> list[dict[str, object]]:
    """Return the audit of tuning: each value that was asked for, what arrived, and the scores before and after."""
    return [{"window": record.window_id, **tuned.to_dict()} for record in data.history for tuned in record.tuning][
        -MOST_ROWS:
    ]


def _scheduled(data: RunData) -> list[str]:
    """Return a sentence for each hyper-parameter that followed a schedule."""
    given: object = data.description.get("hyperparams")
    schedules = {name: value for name, value in given.items() if is_schedule(value)} if isinstance(given, dict) else {}
    seen = [record.hyperparams.params for record in data.history]
    return [
        f"{name} followed the schedule {value}"
        + (f", from {seen[0].get(name)} in the first evaluation to {seen[-1].get(name)} in the last" if seen else "")
        + "; it was not tuned."
        for name, value in schedules.items()
    ]


def _counts(report: TrainingReport | None) -> list[tuple[str, object]]:
    if report is None:
        return []
    return [*report.health.items(), *((f"watch: {name}", value) for name, value in report.watch.items())]


def _settings(data: RunData) -> list[tuple[str, str]]:
    report = data.report
    best = {} if report is None else {f"best policy: {name}": value for name, value in report.hyperparams.items()}
    packages = data.environment.get("packages")
    rest = {name: value for name, value in data.environment.items() if name != "packages"}
    found = {**data.description, **best, **rest, **(packages if isinstance(packages, Mapping) else {})}
    return [(str(name), plain(value)) for name, value in found.items()]
