"""The printed block of a report: labels and texts between rules, and the rows that need more than one line."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tensor_optix._visible import in_line
from tensor_optix.core.decisions.escape_records import EscapeRecord
from tensor_optix.core.faults import reasons_by_count
from tensor_optix.support.numbers import decimals_of

WIDTH = 54
"""Characters of a line of prose, its indent included."""
_LABEL_WIDTH = 16
_MOST_REASONS = 3
"""Of failures, that are printed."""
Row: TypeAlias = tuple[str | None, str] | None
"""A label and its text; a text without a label; or a rule."""


def block(heading: str, rows: Sequence[Row]) -> str:
    """Return the block with its heading."""
    lines = [rule := "━" * WIDTH, f"  {heading}"]
    for row in rows:
        if row is None:
            lines.append(rule)
        else:
            label, text = row[0], in_line(row[1])
            lines.append(f"  {text}" if label is None else f"  {label:<{_LABEL_WIDTH}} : {text}".rstrip())
    return "\n".join([*lines, rule])


def evolution_rows(evolution: Mapping[str, Any]) -> list[Row]:
    """Return what `PolicyManager.training_report()` says, line by line."""
    limit = "no limit" if evolution["max_spawns"] is None else evolution["max_spawns"]
    failed = f"  ({evolution['failed_spawns']} failed)" if evolution["failed_spawns"] else ""
    rows: list[Row] = [
        ("Spawns used", f"{evolution['spawns_used']} / {limit}{failed}"),
        ("Pruned agents", str(evolution["pruned"])),
        ("Ensemble size", str(evolution["ensemble_size"])),
        ("Regime", evolution["regime"]),
    ]
    if evolution["agents"]:
        rows.append(("Agents", ""))
    for agent in evolution["agents"]:
        score = number(agent["mean_score"])
        rows.append((None, f"  [{agent['index']}] weight={agent['weight']:.4f}  mean_score={score}"))
    if evolution["lineage"]:
        rows.append(("Lineage", ""))
    for variant in evolution["lineage"]:
        changes = [f"{name} {short(old)} -> {short(new)}" for name, (old, new) in variant["changes"].items()]
        scores = f"{number(variant['parent_score'])} -> {number(variant['score'])}"
        rows.append((None, f"  variant {variant['number']} of snapshot {variant['parent']}: {variant['outcome']}"))
        rows.append((None, f"      score {scores} in {variant['windows']} windows"))
        rows += [(None, f"      {change}") for change in changes or ["nothing changed"]]
    return rows


def escape_rows(escapes: Sequence[EscapeRecord]) -> list[Row]:
    """Return what was tried, each escape with what it changed."""
    rows: list[Row] = [("Escapes", str(len(escapes)))] if escapes else []
    for escape in escapes:
        rows.append((None, f"  {escape.text}"))
        rows.append((None, f"      score {number(escape.score_before)} -> {number(escape.score)}"))
        rows += [(None, f"      {name} {short(old)} -> {short(new)}") for name, (old, new) in escape.changes.items()]
    return rows


def failure_rows(failed: Mapping[str, Mapping[str, int]]) -> list[Row]:
    """Return how many episodes were left because their environment failed, and the reasons that were met most often.

    Args:
        failed: how many, by how the environment failed and by reason.
    """
    kinds = {kind: sum(reasons.values()) for kind, reasons in failed.items()}
    if not kinds:
        return []
    rows: list[Row] = [
        ("Failed episodes", f"{sum(kinds.values()):,}  ({', '.join(f'{n:,} {kind}' for kind, n in kinds.items())})")
    ]
    by_count = reasons_by_count(failed)
    for kind, reason, times in by_count[:_MOST_REASONS]:
        lines = textwrap.wrap(f"{times:,} x {kind} in {reason}", WIDTH - 4, subsequent_indent="    ")
        rows += [(None, f"  {line}") for line in lines]
    others = len(by_count) - _MOST_REASONS
    return [*rows, (None, f"  and {others} more: see report.json")] if others > 0 else rows


def number(value: float | None) -> str:
    """Return four decimals, or as many as show two digits; `-` for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{decimals_of(value, 4, 2)}f}"


def short(value: Any) -> str:
    """Return four digits of a number, or another value as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
