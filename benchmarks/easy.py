"""Does the loop end soon where there is nothing more to learn?

Easy environments, no flag but the seed: the runs of `field`, with a bandit and a chain.
"""

import math
import statistics
from collections.abc import Iterator, Sequence

from benchmarks._field_runs import kept_run, measurement
from benchmarks._field_tasks import EASY, FIELD
from benchmarks._field_verdicts import LEVEL, TOGETHER, steps_after
from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options

TITLE = "The end of easy trainings"
TASKS = EASY
EVALUATIONS = 20
"""That a run may always take after it."""
_OF_FIELD = frozenset(task.env for task in FIELD)
"""Their runs are those of `field`, and are left to it."""
MOST = 1.0
"""Steps after the first policy of the final level over those before it, at most."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment and seed."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or task.seeds:
                run = kept_run(task.env, seed, options)
                is_left = task.env in _OF_FIELD
                yield measurement(f"{task.env}/seed{seed}", run, task.episodes, options, is_left=is_left)


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line per environment."""
    groups = [(task, found) for task in TASKS if (found := [row for row in rows if row["env"] == task.env])]
    return [
        f"The first policy of the final level is that from which on {TOGETHER} evaluations reach {LEVEL:.0%} of the "
        "way from the untrained policy to the one handed back. Ratio: steps after it over steps before it; goal: at "
        f"most {MOST:g}, and {EVALUATIONS} evaluations in any case. Medians over the seeds, with [min, max].",
        "",
        *table(
            ("Environment", "Seeds", "Ended", "Steps before", "Ratio", "Evaluations", "after it", "Within the goal"),
            (_line(task.env, found) for task, found in groups),
        ),
    ]


def is_soon(row: Row) -> bool:
    """Return True if a run ended by itself and soon enough."""
    return not row["cut"] and (steps_after(row) <= MOST or _evaluations_after(row) <= EVALUATIONS)


def _evaluations_after(row: Row) -> float:
    reached = row["evaluations_to_level"]
    return math.inf if reached is None else row["evaluations"] - reached


def _line(env: str, rows: Sequence[Row]) -> list[str]:
    before = [row["steps_to_level"] for row in rows if row["steps_to_level"] is not None]
    ratios = [steps_after(row) for row in rows]
    after = [_evaluations_after(row) for row in rows]
    return [
        env,
        str(len(rows)),
        ", ".join(dict.fromkeys("cut" if row["cut"] else row["reason"] for row in rows)),
        Spread.of(before).text() if before else "never reached",
        f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
        Spread.of(row["evaluations"] for row in rows).text(),
        f"{statistics.median(after):g} [{min(after):g}, {max(after):g}]",
        f"{sum(map(is_soon, rows))}/{len(rows)}",
    ]
