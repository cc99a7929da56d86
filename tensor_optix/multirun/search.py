"""A search for hyper-parameters over whole runs: trials in batches, seed after seed, and a last test of the best.

    a batch is drawn:  the preset and the values of earlier runs first; then in turn by the TPE sampler and at random
    seed k of all:     a run directory each, trained for a budget of steps without tuning; a run that stands still below
                       the median of earlier trials ends early (`multirun.pruning`)
    after each seed:   in the order of the trials, those clearly worse than the best one are pruned (Wilcoxon)
    at the end:        the best and the preset are trained with fresh seeds, and the preset stays unless it is beaten

Every second trial is drawn at random. These are random search at equal steps, at no further cost, and they are what the
sampler needs to know of the space as a whole.

All runs with the k-th seed have the same seed and play the same episodes. What is decided depends on the trials of
earlier batches alone, so nothing depends on how many workers there are, or on which is ready first.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensor_optix.core.loop.final_evaluation import LEADER_WINDOWS
from tensor_optix.errors import InvalidArgumentError, JobCancelledError
from tensor_optix.executors import Executor, Payload
from tensor_optix.executors.executor import Outcome, Watcher
from tensor_optix.multirun.description import Trials
from tensor_optix.multirun.jobs import item_of
from tensor_optix.multirun.pruning import patience_for
from tensor_optix.multirun.seeds import SeveralSeeds
from tensor_optix.multirun.space import Values, run_of
from tensor_optix.multirun.study import SearchStudy, SearchTrial
from tensor_optix.multirun.trial import TRY
from tensor_optix.multirun.verdict import PRESET, finalists
from tensor_optix.runs import RunDescription

JOURNAL = "journal.log"
TRIALS, FINALS = "trials", "finals"
WINDOWS = 4
"""Of validation, that score a run of a trial; the last test has as many as that of one run."""
_EPISODES, _LAST_EPISODES = 0x7A, 0x7B
"""Set the episodes of both apart, and from those of training and validation."""

Watch = Callable[[Sequence[str]], Watcher]
"""Returns what is told of the runs that are about to begin, by their names."""


@dataclass
class Search:
    """The search of a folder.

    Args:
        folder: what holds it.
        run: what is searched around: its budget, its seed, and what the user has set.
        description: how many trials and seeds, and the space.
        say: told of trials that have failed.
    """

    folder: Path
    run: RunDescription
    description: Trials
    say: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        self.study = SearchStudy(self.folder / JOURNAL, self.run.seed)

    def drawn(self, number: int) -> tuple[str, Values | None]:
        """Return by whom a trial is drawn, and its values where they are known."""
        earlier = self.description.earlier
        if number == PRESET:
            return "preset", self.description.preset
        if number <= len(earlier):
            return "earlier run", earlier[number - 1]
        return ("random" if number % 2 else "search"), None

    def batch(self) -> list[SearchTrial]:
        """Return the trials that have not ended, drawn where they are not there yet; empty at the end of the search.

        A batch is begun when all trials of the one before have ended.
        """
        trials, size = self.study.trials(), self.description.batch
        running = [one for one in trials if one.state == "running"]
        is_open = running or len(trials) % size
        begun = (len(trials) - 1) // size * size if is_open else len(trials)
        while len(trials) < min(begun + size, self.description.trials):
            drawn, values = self.drawn(len(trials))
            running.append(self.study.add(self.description.space, drawn, values))
            trials = self.study.trials()
        return running

    def advance(self, executor: Executor, batch: Sequence[SearchTrial], watch: Watch) -> None:
        """Train the trials of a batch with all their seeds, and end them.

        Args:
            executor: runs them.
            batch: what `batch` returned.
            watch: who is told.

        Raises:
            JobCancelledError: the executor was cancelled; the batch goes on when this is called again.
            JobError: a run of the preset has failed; likewise.
        """
        for index in range(self.description.seeds):
            running = [one for one in map(self._trial, (t.number for t in batch)) if one.state == "running"]
            todo = [one for one in running if len(one.seeds) <= index]
            items = [self._item(one, index) for one in todo]
            names = [f"trial-{one.number} seed-{self._seeds[index]}" for one in todo]
            outcomes = executor.outcomes(TRY, items, watch(names)) if items else []
            _raise_if_interrupted(outcomes)
            for trial, outcome in reversed(list(zip(todo, outcomes, strict=True))):
                self._tell(trial.number, index, outcome)
            self._prune([one.number for one in running], index)
        for number in (one.number for one in batch):
            if self._trial(number).state == "running":
                self.study.complete(number)

    def _trial(self, number: int) -> SearchTrial:
        return self.study.trials()[number]

    def _tell(self, number: int, index: int, outcome: Outcome) -> None:
        if isinstance(outcome, Payload):
            self.study.tell_seed(number, index, outcome.values)
        elif number == PRESET:
            raise outcome  # with nothing to compare there is nothing to search for
        else:
            self.say(f"trial-{number} has failed: {outcome}")
            self.study.fail(number)

    def _prune(self, numbers: Sequence[int], index: int) -> None:
        """End the trials that are not worth another seed, in their order."""
        is_last = index + 1 == self.description.seeds
        for trial in map(self._trial, numbers):
            if trial.state == "running" and len(trial.seeds) == index + 1:
                is_behind = trial.seeds[index]["is_pruned"]
                if is_behind or (not is_last and self.study.is_worse_than_the_best(trial.number)):
                    self.study.prune(trial.number)

    @property
    def _seeds(self) -> range:
        return range(self.run.seed, self.run.seed + self.description.seeds)

    @property
    def _final_seeds(self) -> range:
        return range(self._seeds.stop, self._seeds.stop + self.description.final_seeds)

    def _folder(self, kind: str, trial: SearchTrial, seeds: Sequence[int]) -> SeveralSeeds:
        """Return the runs of a trial, whose folder is made where it is not there yet."""
        run = dataclasses.replace(run_of(self.run, trial.values), seed=seeds[0])
        return SeveralSeeds.begun(self.folder / kind / f"trial-{trial.number}", run, seeds, workers=1)

    def _item(self, trial: SearchTrial, index: int) -> Payload:
        several = self._folder(TRIALS, trial, self._seeds)
        first = trial.number - trial.number % self.description.batch
        ended = [one.seeds[index] for one in self.study.trials()[:first] if len(one.seeds) > index]
        curves = [one["curve"] for one in ended if one["curve"] and not one["is_pruned"]]
        values = {"references": curves, "patience": patience_for(self.evaluations)}
        return self._payload(several, self._seeds[index], _EPISODES, WINDOWS, values)

    @property
    def evaluations(self) -> int:
        """How many of them the budget of a run affords."""
        return (self.run.max_steps or 0) // (self.run.window_size * self.run.base_interval)

    def _payload(self, several: SeveralSeeds, seed: int, episodes: int, n: int, more: Mapping[str, object]) -> Payload:
        windows = np.random.default_rng([self.run.seed, episodes]).integers(2**31, size=(n, self.run.val_episodes))
        return item_of(several.run_dir(seed), self.run.modules, windows=windows.tolist(), **more)

    def test(self, executor: Executor, watch: Watch) -> dict[int, list[float]]:
        """Train the finalists with fresh seeds, and return the score of each, by its number, for each seed.

        Args:
            executor: runs them.
            watch: who is told.

        Raises:
            JobCancelledError: the executor was cancelled; the test goes on when this is called again.
            JobError: a run of the preset has failed; likewise.
        """
        trials, scores = self.study.trials(), self._known_scores()
        runs = [(number, seed) for number in finalists(trials) for seed in self._final_seeds]
        todo = [one for one in runs if one not in scores]
        none = {"references": [], "patience": 0}
        items = [
            self._payload(
                self._folder(FINALS, trials[number], self._final_seeds), seed, _LAST_EPISODES, LEADER_WINDOWS, none
            )
            for number, seed in todo
        ]
        names = [f"trial-{number} seed-{seed}" for number, seed in todo]
        outcomes = executor.outcomes(TRY, items, watch(names)) if items else []
        _raise_if_interrupted(outcomes)
        for (number, seed), outcome in zip(todo, outcomes, strict=True):
            if isinstance(outcome, Payload):
                scores[number, seed] = float(np.mean(outcome.values["returns"]))
                self.study.keep(f"final-{number}-{seed}", scores[number, seed])
            elif number == PRESET:
                raise outcome
            else:
                self.say(f"trial-{number} has failed, and is no finalist: {outcome}")
        whole = [number for number in finalists(trials) if all((number, seed) in scores for seed in self._final_seeds)]
        return {number: [scores[number, seed] for seed in self._final_seeds] for number in whole}

    def _known_scores(self) -> dict[tuple[int, int], float]:
        found = dict[tuple[int, int], float]()
        for name, value in self.study.kept().items():
            kind, _, place = name.partition("-")
            if kind == "final":
                number, _, seed = place.partition("-")
                found[int(number), int(seed)] = value
        return found


def _raise_if_interrupted(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, JobCancelledError) or (
            isinstance(outcome, Payload) and outcome.values["is_interrupted"]
        ):
            raise JobCancelledError("The search was interrupted.")


def search_run(run: RunDescription) -> RunDescription:
    """Return a run as a search trains it: for its budget of steps to the end, evaluated evenly, nothing tuned.

    Args:
        run: what the user has set, with the budget in `max_steps`.

    Raises:
        InvalidArgumentError: no budget, or one that affords no evaluation.
    """
    needed = run.window_size * run.base_interval
    if run.max_steps is None or run.max_steps < needed:
        told = "none was given" if run.max_steps is None else f"got {run.max_steps}"
        raise InvalidArgumentError(
            f"--total-steps is the budget of each run, and must be at least {needed}, the steps to its first "
            f"evaluation (window_size x base_interval), but {told}."
        )
    never = 2**24
    return dataclasses.replace(
        run,
        tuning=False,
        escape=False,
        evolve=0,
        scaled_patience=False,
        plateau_threshold=never - 1,
        dormant_threshold=never,
        max_interval=run.base_interval,
        max_episodes=None,
    )
