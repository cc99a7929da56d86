"""What importing the library costs on top of NumPy and Gymnasium, and that it loads no framework."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options, run_python

TITLE = "Import time"
PAIRS = 15
FRAMEWORKS = ("torch", "tensorflow", "keras")
BASE = "import numpy, gymnasium"
STATEMENTS = {
    "package": "import tensor_optix",
    "names": "from tensor_optix import BatchPipeline, RLOptimizer, make_agent",
}
"""Names load when they are first used, so the package alone says little."""

_TIMED = """
import json, sys, time
start = time.perf_counter()
{statements}
seconds = time.perf_counter() - start
print(json.dumps([1000 * seconds, [name for name in {frameworks!r} if name in sys.modules]]))
"""


def plan(options: Options) -> Iterator[Measurement]:
    """Return the pairs, whatever the options."""
    for pair in range(PAIRS):
        yield Measurement(f"pair{pair}", partial(_measure, is_odd=bool(pair % 2)))


def _measure(is_odd: bool) -> dict[str, Any]:
    """Time the imports without and with the library, in a changing order, each in a process of its own."""
    codes = {"base": BASE, **{name: f"{BASE}\n{statement}" for name, statement in STATEMENTS.items()}}
    found = {name: _timed(codes[name]) for name in sorted(codes, reverse=is_odd)}
    frameworks = sorted({framework for _, loaded in found.values() for framework in loaded})
    return {"ms": {name: ms for name, (ms, _) in found.items()}, "frameworks": frameworks}


def _timed(statements: str) -> tuple[float, list[str]]:
    ms, frameworks = json.loads(run_python("-c", _TIMED.format(statements=statements, frameworks=FRAMEWORKS)))
    return ms, frameworks


def render(rows: Sequence[Row]) -> list[str]:
    """Return the time that the library adds, and the frameworks it has loaded."""
    loaded = sorted({name for row in rows for name in row["frameworks"]})
    lines = [["`" + BASE + "`", Spread.of(row["ms"]["base"] for row in rows).with_iqr(1)]]
    for name, statement in STATEMENTS.items():
        added = Spread.of(row["ms"][name] - row["ms"]["base"] for row in rows)
        lines.append([f"`{statement}`, in addition", added.with_iqr(1)])
    return [
        *table(("Import", f"Milliseconds, {len(rows)} pairs"), lines),
        f"Frameworks among {', '.join(FRAMEWORKS)} loaded by it: {', '.join(loaded) or 'none'}.",
        "",
    ]
