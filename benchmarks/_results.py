"""Where measurements are kept (one JSON line each), how their spread is told, and the Markdown made of them."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks import _machine

Row = dict[str, Any]
"""One measurement: `key`, `measured_at`, `commit`, `machine`, and what its suite has found."""


class Store:
    """The measurements of one suite: a file that only grows, so that an interrupted bench goes on where it stopped.

    Args:
        path: the JSON lines file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> dict[str, Row]:
        """Return the measurements by key; a line that an interruption has torn is left out."""
        rows: dict[str, Row] = {}
        for line in self._path.read_text().splitlines() if self._path.exists() else []:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            rows[row["key"]] = row
        return rows

    def append(self, key: str, result: Mapping[str, Any]) -> Row:
        """Add one measurement, and return it as it is kept."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        made_by = {"measured_at": now, "commit": _machine.commit()}
        row = {"key": key, **made_by, **result, "machine": _machine.describe()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_torn = self._path.exists() and self._path.read_bytes()[-1:] not in (b"", b"\n")
        with self._path.open("a") as file:
            file.write(("\n" if is_torn else "") + json.dumps(row) + "\n")
        return row

    def forget(self, keys: Iterable[str]) -> None:
        """Remove measurements, so that they are made anew."""
        gone = set(keys)
        kept = [row for key, row in self.rows().items() if key not in gone]
        if self._path.exists():
            self._path.write_text("".join(json.dumps(row) + "\n" for row in kept))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a handful of numbers are spread."""

    median: float
    iqr: float
    """Distance between the quartiles."""
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Summarise at least one value."""
        ordered = sorted(values)
        quartiles = statistics.quantiles(ordered, method="inclusive") if len(ordered) > 1 else ordered * 3
        return cls(median=quartiles[1], iqr=quartiles[2] - quartiles[0], low=ordered[0], high=ordered[-1])

    def text(self, digits: int = 0) -> str:
        """Return `median [min, max]`."""
        return f"{self.median:,.{digits}f} [{self.low:,.{digits}f}, {self.high:,.{digits}f}]"

    def with_iqr(self, digits: int = 0) -> str:
        """Return `median (IQR iqr) [min, max]`."""
        return self.text(digits).replace(" [", f" (IQR {self.iqr:,.{digits}f}) [", 1)


def seeds_of(rows: Sequence[Row]) -> str:
    """Return the seeds of some measurements, in words."""
    return ", ".join(map(str, sorted({row["seed"] for row in rows})))


def share(flags: Sequence[bool]) -> str:
    """Return how many of them are true, as `k/n`."""
    return f"{sum(flags)}/{len(flags)}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, followed by an empty one."""
    lines = [header, ["---"] * len(header), *rows]
    return [*("| " + " | ".join(cells) + " |" for cells in lines), ""]


def section(title: str, rows: Sequence[Row], body: Sequence[str]) -> list[str]:
    """Return one suite's part of the page, with what it was measured on and when."""
    days = sorted({row["measured_at"][:10] for row in rows})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    machines = sorted({row["machine"] for row in rows})
    return [f"## {title}", "", *body, *(f"Measured {when} on {machine}." for machine in machines), ""]


def write_page(path: Path, sections: Iterable[Sequence[str]]) -> None:
    """Write the page of all results."""
    head = ["# Results", "", "Rendered from the `.jsonl` files in this folder by `python -m benchmarks`.", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*head, *(line for lines in sections for line in lines)]).rstrip() + "\n")
