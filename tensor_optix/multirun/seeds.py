"""Several seeds of one run: a run directory each, trained beside each other, and the best policy of all."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix._run_reports import read_report
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.errors import InvalidArgumentError, JobError
from tensor_optix.executors import Executor, Payload
from tensor_optix.executors.executor import Watcher
from tensor_optix.multirun.description import (
    Seeds,
    holds_more,
    is_multirun,
    read_description,
    write_description,
    write_result,
)
from tensor_optix.multirun.final_test import FinalTest, Windows, final_test_on
from tensor_optix.multirun.jobs import PLAY, TRAIN, has_ended, item_of, refuse_interrupted
from tensor_optix.runs import RunDescription

_LAST_TEST = 0x18
"""Sets the episodes of the last test apart from those of training and validation."""


@dataclass(frozen=True)
class SeveralSeeds:
    """The runs of a folder that differ in their seed alone.

    Args:
        folder: what holds them, `seed-<n>` each.
        description: which there are.
        allow_modules: modules and files that the name of the environment may import.
    """

    folder: Path
    description: Seeds
    allow_modules: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, allow_modules: Collection[str] = ()) -> "SeveralSeeds":
        """Return those of a folder.

        Raises:
            CheckpointCorruptError: what the folder says of itself is damaged.
            InvalidArgumentError: the environment would import a module that is not allowed.
        """
        found = cls(folder, _of_seeds(folder), tuple(allow_modules))
        found.run(found.description.seeds[0])
        return found

    @classmethod
    def begun(
        cls,
        folder: Path,
        run: RunDescription,
        seeds: Sequence[int],
        workers: int,
        measured: Callable[[RunDescription], RunDescription] | None = None,
    ) -> "SeveralSeeds":
        """Return the runs of a folder, which are written where they are not there yet.

        Args:
            folder: what holds them.
            run: what each trains; its seed is replaced.
            seeds: one per run.
            workers: that train at once.
            measured: gives a run the number of environments where that is not told; a folder that has it keeps it.

        Raises:
            InvalidArgumentError: the folder holds other runs.
        """
        description = Seeds(seeds=list(seeds), workers=workers)
        made = cls(folder, description, tuple(run.modules))
        if is_multirun(folder):
            made._refuse_others(run, is_measured=measured is not None)
            return made
        runs = [made.run_dir(seed).name for seed in seeds]
        if holds_more(folder, runs) or any(folder.glob("seed-*/history.jsonl")):
            raise InvalidArgumentError(f"{str(folder)!r} holds something else already. Choose another --run-dir.")
        run = run if measured is None else measured(run)
        for seed in seeds:
            made.run_dir(seed).mkdir(mode=0o700, parents=True, exist_ok=True)
            dataclasses.replace(run, seed=seed).write(made.run_dir(seed))
        write_description(folder, description)
        return made

    def _refuse_others(self, run: RunDescription, *, is_measured: bool) -> None:
        known = _of_seeds(self.folder)
        first = self.run(known.seeds[0])
        kept = ("seed", "n_envs", "async_envs") if is_measured else ("seed",)
        wanted = dataclasses.replace(run, **{name: getattr(first, name) for name in kept})
        if known.seeds != self.description.seeds or wanted != first:
            raise InvalidArgumentError(
                f"{str(self.folder)!r} holds other runs: seeds {known.seeds} of {first.env} with {first.algorithm}, or "
                f"other settings. Choose another --run-dir, or go on with those: tensor-optix resume {self.folder}"
            )

    def run_dir(self, seed: int) -> Path:
        """Return the folder of the run with a seed."""
        return self.folder / f"seed-{seed}"

    def run(self, seed: int) -> RunDescription:
        """Return what the run with a seed trains."""
        return RunDescription.read(self.run_dir(seed), self.allow_modules)

    def bound(self, bounds: Mapping[str, object]) -> None:
        """Change what ends the runs, by the names in `RunDescription`."""
        for seed in self.description.seeds:
            dataclasses.replace(self.run(seed), **bounds).write(self.run_dir(seed))

    def unfinished(self) -> list[int]:
        """Return the seeds whose runs have not ended, or not by the bounds that they have now."""
        return [seed for seed in self.description.seeds if not has_ended(self.run_dir(seed), self.run(seed))]

    def train(self, executor: Executor, seeds: Sequence[int], on_event: Watcher) -> list[JobError]:
        """Train some of the runs to their end, and return the errors of those that failed.

        Args:
            executor: runs them.
            seeds: of the runs, see `unfinished`.
            on_event: told what happens to each; `index` is a place in `seeds`.

        Raises:
            JobCancelledError: the runs were interrupted; they are saved, and go on when this is called again.
        """
        outcomes = executor.outcomes(TRAIN, [self._item(seed) for seed in seeds], on_event)
        refuse_interrupted(outcomes)
        return [outcome for outcome in outcomes if isinstance(outcome, JobError)]

    def reports(self) -> dict[int, TrainingReport]:
        """Return the reports by seed, of the runs that have one."""
        found = {seed: read_report(self.run_dir(seed)) for seed in self.description.seeds}
        return {seed: report for seed, report in found.items() if report is not None}

    def test(self, executor: Executor, seeds: Sequence[int]) -> FinalTest:
        """Let the best policies of some runs play the last test; `best` is a place in `seeds`.

        Args:
            executor: runs it.
            seeds: of the runs.
        """
        rng = np.random.default_rng([_LAST_TEST, *self.description.seeds])

        def item(place: int, windows: Windows) -> Payload:
            return self._item(seeds[place], windows=windows)

        return final_test_on(executor, PLAY, len(seeds), item, rng, self.run(seeds[0]).val_episodes)

    def _item(self, seed: int, **more: object) -> Payload:
        return item_of(self.run_dir(seed), self.allow_modules, **more)

    def conclude(self, test: FinalTest, seeds: Sequence[int]) -> dict[str, Any]:
        """Write what the job came to, and return it: the folder of the best, and its score on fresh episodes."""
        result = {
            "best": self.run_dir(seeds[test.best]).name,
            "score": float(np.mean(test.returns)),
            "interval": dataclasses.asdict(mean_interval(test.returns)),
            "returns": test.returns,
            "raced": {self.run_dir(seed).name: list(one) for seed, one in zip(seeds, test.raced, strict=True)},
        }
        write_result(self.folder, result)
        return result


def _of_seeds(folder: Path) -> Seeds:
    description = read_description(folder)
    if not isinstance(description, Seeds):
        raise InvalidArgumentError(f"{str(folder)!r} holds no seeds of one run. Choose another --run-dir.")
    return description
