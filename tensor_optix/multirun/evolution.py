"""Variants of the best policy that learn side by side: a first run, then generations of variants.

    first run     learns until it is DORMANT
    generation    variants of the best policy, mutated: runs of their own from the same verified snapshot, on any
                  executor, each as long as the first run at most
    barrier       they and the incumbent play the same fresh episodes, and are judged in the order of the variants; the
                  winner is confirmed by others, and is the parent of the next generation

Nothing depends on who runs the variants, or on which is ready first. A crash costs nothing: each run goes on where it
was, and where there was a barrier stands in `evolution.json`, which is replaced as a whole.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from tensor_optix._run_reports import read_report
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.decisions.mutation import adaptive_noise_scale
from tensor_optix.core.run_state import read_history
from tensor_optix.core.storage.atomic import encode_json, make_directory, read_json, replace_file, storage_errors
from tensor_optix.core.storage.line_log import DESCRIPTION, HISTORY
from tensor_optix.core.training_report import StopReason
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError, JobError
from tensor_optix.executors import Executor, Payload
from tensor_optix.executors.executor import Watcher
from tensor_optix.multirun.description import (
    Variants,
    holds_more,
    is_multirun,
    read_description,
    write_description,
    write_result,
)
from tensor_optix.multirun.final_test import FinalTest, Windows, final_test_on
from tensor_optix.multirun.jobs import PLAY, TRAIN, has_ended, item_of, refuse_interrupted
from tensor_optix.multirun.judging import FIRST, FORMAT, Standing, share_of
from tensor_optix.multirun.variant import LEARN_ON
from tensor_optix.runs import RunDescription
from tensor_optix.support.plain import SavedState
from tensor_optix.support.schemas import rebuilt

STANDING = "evolution.json"
_MAX_BYTES = 1 << 26
_TEST = 0xE0
"""Sets the episodes of the tests apart from those of training and validation."""
_DORMANT = (StopReason.CONVERGED, StopReason.NOTHING_LEARNED)


@dataclasses.dataclass(frozen=True)
class Evolution:
    """The first run and the variants of a folder.

    Args:
        folder: what holds them, `first` and `variant-<n>`.
        description: how many there are.
        allow_modules: modules and files that the name of the environment may import.
    """

    folder: Path
    description: Variants
    allow_modules: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, allow_modules: Collection[str] = ()) -> "Evolution":
        """Return that of a folder.

        Raises:
            CheckpointCorruptError: what the folder says of itself is damaged.
            InvalidArgumentError: it holds something else, or its environment would import a module that is not allowed.
        """
        description = read_description(folder)
        if not isinstance(description, Variants):
            raise InvalidArgumentError(f"{str(folder)!r} holds no variants of one run. Choose another --run-dir.")
        found = cls(folder, description, tuple(allow_modules))
        found.run(FIRST)
        return found

    @classmethod
    def begun(
        cls,
        folder: Path,
        run: RunDescription,
        description: Variants,
        measured: Callable[[RunDescription], RunDescription] | None = None,
    ) -> "Evolution":
        """Return that of a folder, which is written where it is not there yet.

        Args:
            folder: what holds it.
            run: what the first run trains, and the variants after it.
            description: how many variants there are.
            measured: gives a run the number of environments where that is not told; a folder that has it keeps it.

        Raises:
            InvalidArgumentError: the folder holds something else.
        """
        made = cls(folder, description, tuple(run.modules))
        # The escapes are what a run tries where nothing else follows; a variant evolves no further by itself.
        run = dataclasses.replace(run, evolve=0, escape=False)
        if is_multirun(folder):
            made._refuse_another(run, is_measured=measured is not None)
            return made
        if holds_more(folder, [made.run_dir(FIRST).name]):
            raise InvalidArgumentError(f"{str(folder)!r} holds something else already. Choose another --run-dir.")
        made._write(FIRST, run if measured is None else measured(run))
        write_description(folder, description)
        return made

    def _refuse_another(self, run: RunDescription, *, is_measured: bool) -> None:
        known = Evolution.read(self.folder, self.allow_modules)
        first = known.run(FIRST)
        kept = {"n_envs": first.n_envs, "async_envs": first.async_envs} if is_measured else {}
        counts = [(one.variants, one.generation) for one in (known.description, self.description)]
        if counts[0] != counts[1] or dataclasses.replace(run, **kept) != first:
            raise InvalidArgumentError(
                f"{str(self.folder)!r} holds {known.description.variants} variants of {first.env} with "
                f"{first.algorithm} in generations of {known.description.generation}, or other settings. Choose "
                f"another --run-dir, or go on with those: tensor-optix resume {self.folder}"
            )

    def run_dir(self, number: int) -> Path:
        """Return the folder of a run: the first, or from 1 on a variant's."""
        return self.folder / ("first" if number == FIRST else f"variant-{number}")

    def run(self, number: int) -> RunDescription:
        """Return what a run trains."""
        return RunDescription.read(self.run_dir(number), self.allow_modules)

    def _write(self, number: int, run: RunDescription) -> None:
        """Write what a run trains, unless that stands there already."""
        make_directory(self.run_dir(number))
        if not (self.run_dir(number) / DESCRIPTION).exists() or self.run(number) != run:
            run.write(self.run_dir(number))

    def bound(self, bounds: Mapping[str, object]) -> None:
        """Change what ends it, by the names in `RunDescription`."""
        self._write(FIRST, dataclasses.replace(self.run(FIRST), **bounds))

    # --- where it stands ---

    def standing(self) -> Standing | None:
        """Return where it stood at the newest barrier; before the first one, that at the end of the first run.

        None while the first run has not ended.
        """
        path = self.folder / STANDING
        if path.exists():
            found = rebuilt(Standing, read_json(path, _MAX_BYTES))
            if found.format != FORMAT:
                raise CheckpointCorruptError(f"{str(path)!r} has format {found.format}, not {FORMAT}.")
            return found
        report = read_report(self.run_dir(FIRST)) if has_ended(self.run_dir(FIRST), self.run(FIRST)) else None
        return None if report is None else Standing(steps=report.env_steps, windows=report.windows)

    @property
    def reason(self) -> StopReason | None:
        """Why it has ended; None while it goes on."""
        standing, report = self.standing(), read_report(self.run_dir(FIRST))
        if standing is None or report is None:
            return None
        first, run = StopReason(report.reason), self.run(FIRST)
        if not standing.variants and (first not in _DORMANT or report.best_snapshot is None):
            return first
        if run.target_score is not None and standing.score is not None and standing.score >= run.target_score:
            return StopReason.TARGET
        if not self._following(standing):
            return StopReason.BUDGET
        windows, steps = self._shares(standing)
        if steps == 0:
            return StopReason.MAX_STEPS
        return StopReason.MAX_EPISODES if windows == 0 else None

    def following(self) -> list[str]:
        """Return the names of the runs that `step` will train."""
        standing = self.standing()
        return [self.run_dir(number).name for number in ([FIRST] if standing is None else self._following(standing))]

    def _following(self, standing: Standing) -> list[int]:
        judged = len(standing.variants)
        last = min(judged + self.description.generation, self.description.variants)
        return list(range(judged + 1, last + 1))

    def _shares(self, standing: Standing) -> tuple[int | None, int | None]:
        """Return how many windows and steps each of the next variants may have."""
        run, n = self.run(FIRST), len(self._following(standing))
        windows, steps = share_of(run.max_episodes, standing.windows, n), share_of(run.max_steps, standing.steps, n)
        report = read_report(self.run_dir(FIRST))
        like_first = max(report.windows, 1) if report is not None else None
        return min((one for one in (windows, like_first) if one is not None), default=None), steps

    # --- learning ---

    def step(self, executor: Executor, on_event: Watcher) -> None:
        """Let the first run learn to its end, or a generation of variants, which are judged then.

        Args:
            executor: runs them.
            on_event: told what happens to each; `index` is a place in `following`.

        Raises:
            JobError: a run has failed; the others are saved, and all go on when this is called again.
            JobCancelledError: the runs were interrupted; likewise.
        """
        standing = self.standing()
        if standing is None:
            self._results(executor, TRAIN, [self._item(FIRST)], on_event)
            return
        numbers, (windows, steps) = self._following(standing), self._shares(standing)
        best = CheckpointRegistry(self.run_dir(standing.best)).best
        if best is None:
            raise CheckpointCorruptError(f"{str(self.run_dir(standing.best))!r} has no policy any more.")
        history = [one.eval_metrics for one in read_history(self.run_dir(standing.best) / HISTORY)]
        noise_scale = adaptive_noise_scale(history)
        about = {
            "parent_dir": str(self.run_dir(standing.best)), "parent": best.snapshot_id, "noise_scale": noise_scale
        }  # fmt: skip
        first = self.run(FIRST)
        for number in numbers:
            seed = int(np.random.SeedSequence([first.seed, number]).generate_state(1)[0])
            self._write(number, dataclasses.replace(first, seed=seed, max_episodes=windows, max_steps=steps))
        items = [self._item(number, **about) for number in numbers]
        results = [result.values for result in self._results(executor, LEARN_ON, items, on_event)]
        scored = [number for number, one in zip(numbers, results, strict=True) if one["snapshot"] is not None]
        players = [standing.best, *scored]
        test = self._test(executor, players, standing.generation)
        parent = f"{self.run_dir(standing.best).name}/{best.snapshot_id}"
        self._keep(standing.after(results, parent, noise_scale, test, players))

    def _item(self, number: int, **more: object) -> Payload:
        return item_of(self.run_dir(number), self.allow_modules, **more)

    def _results(self, executor: Executor, job: str, items: Sequence[Payload], on_event: Watcher) -> list[Payload]:
        outcomes = executor.outcomes(job, items, on_event)
        refuse_interrupted(outcomes)
        for outcome in outcomes:
            if isinstance(outcome, JobError):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, Payload)]

    def _keep(self, standing: Standing) -> None:
        with storage_errors("write", self.folder):
            replace_file(self.folder / STANDING, encode_json(dataclasses.asdict(standing)))

    def _test(self, executor: Executor, numbers: Sequence[int], generation: int) -> FinalTest:
        """Let the best policies of some runs play fresh episodes; `best` is a place in `numbers`."""
        run = self.run(FIRST)
        rng = np.random.default_rng([_TEST, run.seed, generation])

        def item(place: int, windows: Windows) -> Payload:
            return self._item(numbers[place], windows=windows)

        return final_test_on(executor, PLAY, len(numbers), item, rng, run.val_episodes)

    def conclude(self, executor: Executor) -> SavedState:
        """Write what it has come to, and return it: the folder of the best, its score on fresh episodes, the variants.

        Args:
            executor: plays the best policy where no generation has done so.

        Raises:
            InvalidArgumentError: no run has a policy.
        """
        standing, reason = self.standing(), self.reason
        if standing is None or reason is None or CheckpointRegistry(self.run_dir(standing.best)).best is None:
            raise InvalidArgumentError(f"{str(self.folder)!r} has no policy yet.")
        if not standing.returns:
            test = self._test(executor, [standing.best], standing.generation)
            standing = dataclasses.replace(standing, returns=test.returns)
        result = {
            "best": self.run_dir(standing.best).name,
            "score": standing.score,
            "interval": dataclasses.asdict(mean_interval(standing.returns)),
            "returns": standing.returns,
            "reason": reason.value,
            "steps": standing.steps,
            "windows": standing.windows,
            "variants": [dataclasses.asdict(one) for one in standing.variants],
        }
        write_result(self.folder, result)
        return result
