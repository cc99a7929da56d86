"""The page: the words, the tables and the figures of a run in one HTML file that needs no network.

Nothing from the run's files becomes markup: text is escaped by the template, and figures travel as JSON. A content
security policy allows the page's own two scripts, by their digests, and nothing else.
"""

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.storage.atomic import replace_file, storage_errors
from tensor_optix.core.training_report import (
    NOT_AHEAD,
    TrainingReport,
    confirm_command,
    episodes_text,
    score_text,
)
from tensor_optix.report.curves import curve_figure
from tensor_optix.report.figures import tests_figure, time_figure, window_figures
from tensor_optix.report.run_data import RunData
from tensor_optix.report.words import visible
from tensor_optix.support.optional import require

PAGE = "report.html"
_HERE = Path(__file__).parent
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
    page = page_of(RunData.read(run_dir))
    target = run_dir / PAGE if to is None else to
    with storage_errors("write", target):
        replace_file(target, page.encode())
    return target


def page_of(data: RunData, *, reloads: bool = False) -> str:
    """Return the page of a run.

    Args:
        data: the records of the run.
        reloads: True for a page that asks its server for a newer one.
    """
    jinja2 = require("jinja2", "a report", "report")
    plotly_js = _plotly_js()
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    main = [figure for figure in (curve_figure(data), tests_figure(data), time_figure(data)) if figure is not None]
    health = window_figures(data)
    script = (_HERE / "page.js").read_text()
    figures = {figure.key: figure.to_dict() for figure in [*main, *health]}
    return environment.get_template("page.html.jinja").render(
        data=data,
        title=f"{data.name}: what this run did",
        verdict=_verdict(data),
        figures={figure.key: figure for figure in main},
        health=health,
        tuning=_tuning_rows(data),
        escapes=[] if data.report is None else data.report.escapes,
        lineage=[] if data.report is None else data.report.evolution.get("lineage", []),
        faults=data.of_kind("fault")[-MOST_ROWS:],
        counts=_counts(data.report),
        events=data.of_kind(
            "state", "degradation", "rollback", "watch", "escape", "spawn", "prune", "variant", "resume"
        )[-MOST_ROWS:],
        settings=_settings(data),
        style=(_HERE / "page.css").read_text(),
        plotly_js=plotly_js,
        script=script,
        figures_json=_island(figures),
        reloads=reloads,
        policy=_policy(plotly_js, script),
    )


@cache
def _plotly_js() -> str:
    js: str = require("plotly.offline", "a report", "report").get_plotlyjs()
    return js.replace("</script", "<\\/script")


def _policy(*scripts: str) -> str:
    """Return the content security policy that allows these scripts alone."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
    )


def _island(value: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(_finite(value), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _verdict(data: RunData) -> dict[str, Any]:
    """Return what the run came to: the heading, the sentence, the rows, and the command that verifies it."""
    report = data.report
    if report is None:
        last = data.history[-1] if data.history else None
        rows = [
            ("State", last.state if last else "no window was evaluated yet"),
            ("Steps", f"{last.env_steps:,}" if last else "0"),
            ("Best score so far", "-" if last is None or last.best_score is None else f"{last.best_score:.6g}"),
        ]
        return {"heading": "Running", "kind": "running", "sentence": "", "rows": rows, "command": ""}
    reason = StopReason(report.reason)
    interval = report.best_interval
    rows = [
        ("Best score", score_text(report.best_score, interval)),
        ("Tested on", episodes_text(interval, confirmed=report.confirmed)),
        ("Untrained policy", score_text(report.start_score, report.start_interval)),
        ("Found in window", "-" if report.best_window is None else f"{report.best_window} of {report.windows}"),
        ("Training steps", f"{report.env_steps:,}"),
        ("Time", f"{report.seconds.get('total', 0.0):,.1f} s"),
        ("Why it stopped", report.stopped_because or reason.sentence),
    ]
    if interval is not None:
        rows.insert(1, ("Interval", f"{interval.level:.0%} {interval.method}"))
    command = f"tensor-optix evaluate {shlex.quote(str(data.run_dir))} --verify"
    if not report.confirmed:
        command = confirm_command(str(data.run_dir))
    return {
        "heading": reason.heading,
        "kind": "good" if report.converged and report.confirmed else "warning",
        "sentence": " ".join([f"{reason.sentence}.", *_warnings(report)]),
        "rows": rows,
        "command": command,
    }


def _warnings(report: TrainingReport) -> list[str]:
    found = [] if report.confirmed else ["The best is unconfirmed: it may owe its score to luck."]
    if report.ahead_of_start is False:
        found.append(NOT_AHEAD)
    return [*found, *([report.advice] if report.advice else [])]


def _tuning_rows(data: RunData) -> list[dict[str, Any]]:
    """Return the audit of tuning: each value that was asked for, what arrived, and the scores before and after."""
    return [{"window": record.window_id, **tuned.to_dict()} for record in data.history for tuned in record.tuning][
        -MOST_ROWS:
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
    return [(str(name), _plain(value)) for name, value in found.items()]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(_finite(value), default=str)
