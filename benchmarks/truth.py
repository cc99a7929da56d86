"""Does the report tell the truth where learning is hard, or impossible?

A chain whose reward random actions never see, a deceptive local optimum (MountainCarContinuous with PPO: each push
costs, and the flag is far), and FrozenLake 8x8, whose few successes are luck at first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks._field_runs import kept_run, measurement
from benchmarks._field_tasks import SHORT
from benchmarks._field_verdicts import has_learned, has_right_exit_code, is_covered, told_the_truth
from benchmarks._results import Row, Spread, share, table
from benchmarks._suite import Measurement, Options
from benchmarks._worlds import CHAIN, DEEP_CHAIN

TITLE = "The truth about hard environments"
EPISODES = 200


@dataclass(frozen=True, kw_only=True)
class Task:
    """A hard environment."""

    env: str
    arguments: tuple[str, ...] = ()
    """Further ones of `train`."""

    @property
    def name(self) -> str:
        """The environment and what else is set."""
        return " ".join((self.env, *self.arguments))


TASKS = (
    Task(env=DEEP_CHAIN),
    Task(env=CHAIN),
    Task(env="MountainCarContinuous-v0", arguments=("--algo", "ppo")),
    Task(env="FrozenLake8x8-v1"),
)


def plan(options: Options) -> Iterator[Measurement]:
    """Return one run per environment and seed."""
    for task in TASKS:
        if not options.only or task.env in options.only:
            for seed in options.seeds or SHORT:
                suffix = "".join(task.arguments[1:])
                run = kept_run(task.env, seed, options, suffix, arguments=task.arguments)
                yield measurement(f"{task.name}/seed{seed}", run, EPISODES, options)


def render(rows: Sequence[Row]) -> list[str]:
    """Return one line per environment."""
    groups = [(task, found) for task in TASKS if (found := [row for row in rows if _is_of(row, task)])]
    return [
        "`tensor-optix train` with no flag but the seed and what is named. The truth: the reported score is not above "
        f"that of {EPISODES} fresh episodes by more than the 95 % intervals of both leave open, a run whose policy is "
        "not ahead of the untrained one is not called trained, and the exit code is that of the reason. Goal: 100 %.",
        "",
        *table(
            ("Environment", "Truth told", "Learned", "Ended", "Not above re-test", "Exit code", "Reported", "Re-test"),
            (_line(task, found) for task, found in groups),
        ),
    ]


def _is_of(row: Row, task: Task) -> bool:
    return (row["env"], tuple(row["arguments"])) == (task.env, task.arguments)


def _line(task: Task, rows: Sequence[Row]) -> list[str]:
    def spread(name: str) -> str:
        found = [row[name] for row in rows if row[name] is not None]
        return Spread.of(found).text(2) if found else "-"

    return [
        task.name,
        share([told_the_truth(row) for row in rows]),
        share([has_learned(row) for row in rows]),
        ", ".join(dict.fromkeys("cut" if row["cut"] else row["reason"] for row in rows)),
        share([is_covered(row) for row in rows]),
        share([has_right_exit_code(row) for row in rows]),
        spread("reported"),
        spread("retest"),
    ]
