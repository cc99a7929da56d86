"""Does the reported score of the best hold on fresh episodes, however the run ended?

15 environments, three seeds: ended by the loop itself (the runs of `field`), by Ctrl-C after some evaluations, and by
`--max-episodes`.
"""

from collections.abc import Iterator, Sequence

from benchmarks._field_runs import KeptRun, kept_run, measurement
from benchmarks._field_tasks import REPORTED, SHORT, Task
from benchmarks._field_verdicts import ERRORS, holds, intervals_agree, is_covered
from benchmarks._results import Row, table
from benchmarks._suite import Measurement, Options
from tensor_optix.presets import preset_for

TITLE = "Reported score and re-test"
TASKS = REPORTED
GOAL = 0.95
EVALUATIONS = (8, 14, 20)
"""After which a run is interrupted, and for which `--max-episodes` suffices; by seed."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return three runs per environment and seed."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or SHORT:
                for name, run in _runs(task, seed, options).items():
                    # The run that ends by itself is that of `field`, and is left to it.
                    key, is_left = f"{task.env}/{name}/seed{seed}", name == "itself"
                    yield measurement(key, run, task.episodes, options, is_left=is_left)


def _runs(task: Task, seed: int, options: Options) -> dict[str, KeptRun]:
    """Return the runs of one seed by what ends them."""
    evaluations = EVALUATIONS[seed % len(EVALUATIONS)]
    windows = evaluations * preset_for(task.env, task.algorithm).base_interval
    limit = ("--max-episodes", str(windows))
    return {
        "interrupted": kept_run(task.env, seed, options, "interrupted", interrupt_after=evaluations),
        "max_episodes": kept_run(task.env, seed, options, "max_episodes", arguments=limit),
        "itself": kept_run(task.env, seed, options),
    }


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line per reason of ending, and one for all."""
    reasons = sorted({_reason(row) for row in rows})
    lines = [_line(reason, [row for row in rows if _reason(row) == reason]) for reason in reasons]
    return [
        "The score that the run reported for its best policy against 200 fresh episodes of the policy handed back "
        f"(Blackjack: 5,000). Within {ERRORS:g} errors: they differ by at most so many standard errors of their "
        "difference; the error of equal returns is that of their interval. Intervals: the 95 % interval of the "
        "difference, from the intervals of both scores, holds 0. Higher, lower: reported by more than that above or "
        "below the re-test. "
        f"Goal: {GOAL:.0%}.",
        "",
        *table(
            ("Ended", "Environments", "Runs", f"Within {ERRORS:g} errors", "Intervals", "Higher", "Lower", "No score"),
            [*lines, _line("all", rows)],
        ),
    ]


def _reason(row: Row) -> str:
    return "cut" if row["cut"] else row["reason"]


def _line(name: str, rows: Sequence[Row]) -> list[str]:
    scored = [row for row in rows if row["reported"] is not None]
    held, agree = sum(map(holds, scored)), sum(map(intervals_agree, scored))
    count = max(len(scored), 1)
    return [
        name,
        str(len({row["env"] for row in rows})),
        str(len(rows)),
        f"{held}/{len(scored)} ({held / count:.0%})",
        f"{agree}/{len(scored)} ({agree / count:.0%})",
        str(sum(not is_covered(row) for row in scored)),
        str(len(scored) - agree - sum(not is_covered(row) for row in scored)),
        str(len(rows) - len(scored)),
    ]
