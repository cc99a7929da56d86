"""Does `tensor-optix train ENV` alone reach what the field's tuned settings reach?

No flag but the seed, on 19 environments; the loop itself decides when the training is over. A run that is cut after
`--minutes` is recorded as cut, and goes on where it was when more minutes are given; the same after Ctrl-C.
"""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks._field_runs import kept_run, measurement
from benchmarks._field_tasks import ENOUGH, FIELD, Task
from benchmarks._field_verdicts import has_learned, is_called_trained, share_of_goal
from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options
from benchmarks._untrained import MOST_STEPS

TITLE = "The field, without a flag"
TASKS = FIELD
HALF = 0.5
"""Share of the goal that no run may be below."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment and seed."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or task.seeds:
                run = kept_run(task.env, seed, options)
                yield measurement(f"{task.env}/seed{seed}", run, task.episodes, options)


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line per environment, and the counts that are asked for."""
    groups = [(task, found) for task in TASKS if (found := [row for row in rows if row["env"] == task.env])]
    shares = {task.env: _share(task, found) for task, found in groups}
    unlearned = sum(is_called_trained(row) and not has_learned(row) for _, found in groups for row in found)
    return [
        "`tensor-optix train ENV --seed N`, nothing else set. Score: mean return of the policy handed back, on 200 "
        "fresh episodes (Blackjack: 5,000). Untrained: the policy of the same run before any training, in episodes of "
        f"at most {MOST_STEPS:,} steps. Share: of the way from there to the goal ({_floors()}). "
        "Goals are published returns of RL Baselines3 Zoo's tuned settings, one run each, the best of PPO, DQN and "
        "SAC; where there is none, the return of the optimal policy, or the registered threshold. Minutes of wall "
        "time depend on what else the machine does. Medians over the seeds, with [min, max].",
        "",
        *table(
            (
                "Environment",
                "Seeds",
                "Score",
                "Untrained",
                "Goal",
                "Share",
                "Ended",
                "Environment steps",
                "Minutes",
                "Validation",
            ),
            (_line(task, found) for task, found in groups),
        ),
        f"At least {ENOUGH:.0%} of the goal: {sum(share >= ENOUGH for share in shares.values())} of {len(shares)} "
        f"environments measured (asked: 17 of {len(TASKS)}). Below {HALF:.0%}: "
        f"{sum(not share >= HALF for share in shares.values())} (asked: 0). Runs called trained that learned nothing: "
        f"{unlearned} (asked: 0).",
        "",
    ]


def _floors() -> str:
    return "from {} on {}, where the untrained policy is worse".format(
        " and ".join(sorted({f"{task.floor:g}" for task in TASKS if task.floor is not None})),
        " and ".join(task.env for task in TASKS if task.floor is not None),
    )


def _share(task: Task, rows: Sequence[Row]) -> float:
    return statistics.median(share_of_goal(row, task) for row in rows)


def _line(task: Task, rows: Sequence[Row]) -> list[str]:
    ended = dict.fromkeys("cut" if row["cut"] else row["reason"] for row in rows)
    scores = [row["retest"] for row in rows if row["retest"] is not None]
    return [
        task.env,
        str(len(rows)),
        Spread.of(scores).text(2) if scores else "no episode ends",
        Spread.of(row["untrained"] for row in rows).text(1),
        f"{task.goal:g} ({task.source})",
        f"{_share(task, rows):.0%}",
        ", ".join(ended),
        Spread.of(row["env_steps"] for row in rows).text(),
        Spread.of(row["seconds"] / 60.0 for row in rows).text(1),
        f"{statistics.median(row['validation_share'] or 0.0 for row in rows):.0%}",
    ]
