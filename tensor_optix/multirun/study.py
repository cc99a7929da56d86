"""The trials of a search on disk: an Optuna study in a journal file, which optuna-dashboard reads, too.

    trial n:  the values that are to be tried; one record in the file, whole or not at all
              drawn by what it is told to be: values of its own, the TPE sampler, or at random
    seed k:   what the run with the k-th seed came to (`seed-k`), and its returns as the trial's steps
    then:     complete, pruned, or failed

What is drawn depends on the number of the trial, the seed of the search and the trials before it, and on no state that
a crash would lose.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tensor_optix.core.storage.atomic import storage_errors
from tensor_optix.multirun.pruning import optuna_module, quiet
from tensor_optix.multirun.space import Choices, Space, Values
from tensor_optix.support.plain import SavedState

NAME = "tensor-optix"
P_THRESHOLD = 0.1
"""Of the Wilcoxon signed-rank test by which a trial is worse than the best one."""
FEWEST_PAIRS = 10
"""Before so many episodes are common, it says nothing."""
_DRAWN, _SEED = "drawn", "seed-{}"


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """A trial as it stands."""

    number: int
    drawn: str
    """By whom: `"preset"`, `"earlier run"`, `"search"` or `"random"`."""
    values: Values
    state: Literal["running", "complete", "pruned", "failed"]
    value: float | None
    """Its score, where it is complete."""
    seeds: tuple[SavedState, ...]
    """What the runs with its seeds came to, as far as they have ended."""

    @property
    def steps(self) -> int:
        """Training steps of its runs."""
        return sum(one["steps"] for one in self.seeds)


class SearchStudy:
    """The trials of a folder.

    Args:
        path: of the journal file; whoever opens it is its only writer, but for a dashboard.
        seed: root of what is drawn.

    Raises:
        MissingDependencyError: Optuna is not installed; the message has the install line.
        CheckpointStorageError: the file cannot be read or written.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._optuna, self._seed = optuna_module(), seed
        storages = self._optuna.storages
        with storage_errors("read", path):
            _repair(path)
            backend = storages.journal.JournalFileBackend(
                str(path), lock_obj=storages.journal.JournalFileOpenLock(str(path))
            )
            self._storage = storages.JournalStorage(backend)
            if NAME not in self._optuna.get_all_study_names(self._storage):
                self._optuna.create_study(storage=self._storage, study_name=NAME, direction="maximize")
            self._study = self._optuna.load_study(study_name=NAME, storage=self._storage)
        self._id = self._storage.get_study_id_from_name(NAME)

    def trials(self) -> list[SearchTrial]:
        """Return all trials, in the order of their numbers."""
        return [_trial(one) for one in self._study.get_trials(deepcopy=False)]

    def add(self, space: Space, drawn: str, values: Values | None = None) -> SearchTrial:
        """Add a trial, and return it.

        Args:
            space: what is searched.
            drawn: by whom.
            values: to be tried; None = drawn by the TPE sampler, or at random where `drawn` says that.
        """
        # In the order of their names: what is drawn depends on it, and a file does not keep another one.
        distributions = {name: self._distribution(space[name]) for name in sorted(space)}
        if values is None:
            values = self._drawn(distributions, drawn)
        trial = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState.RUNNING,
            params={name: values[name] for name in distributions},
            distributions=distributions,
            user_attrs={_DRAWN: drawn},
        )
        self._study.add_trial(trial)
        return self.trials()[-1]

    def _drawn(self, distributions: SavedState, drawn: str) -> Values:
        """Return new values; a study in memory draws them, so that a crash leaves no half of a trial in the file."""
        known = self._study.get_trials(deepcopy=False)
        seed = int(np.random.SeedSequence([self._seed, len(known)]).generate_state(1)[0])
        samplers = self._optuna.samplers
        sampler = samplers.RandomSampler(seed) if drawn == "random" else samplers.TPESampler(seed=seed)
        scratch = self._optuna.create_study(direction="maximize", sampler=sampler)
        scratch.add_trials(known)
        return dict(scratch.ask(fixed_distributions=dict(distributions)).params)

    def _distribution(self, about: Any) -> object:
        found = self._optuna.distributions
        if isinstance(about, Choices):
            return found.CategoricalDistribution(about.values)
        if about.integer:
            return found.IntDistribution(int(about.low), int(about.high), log=about.scale == "log")
        return found.FloatDistribution(about.low, about.high, log=about.scale == "log")

    def tell_seed(self, number: int, index: int, result: SavedState) -> None:
        """Keep what the run of a trial with one of its seeds came to.

        Args:
            number: of the trial.
            index: of the seed.
            result: values `returns`, `steps`, `curve` and `is_pruned`.
        """
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        for episode, value in enumerate(result["returns"]):  # before the result, which says that all are there
            self._storage.set_trial_intermediate_value(trial_id, index * len(result["returns"]) + episode, value)
        self._storage.set_trial_user_attr(trial_id, _SEED.format(index), dict(result))

    def is_worse_than_the_best(self, number: int) -> bool:
        """Return whether a trial is clearly worse than the best one, by the episodes that both have played."""
        with quiet(self._optuna):
            pruner = self._optuna.pruners.WilcoxonPruner(p_threshold=P_THRESHOLD, n_startup_steps=FEWEST_PAIRS)
            return bool(pruner.prune(self._study, self._study.get_trials(deepcopy=False)[number]))

    def complete(self, number: int) -> None:
        """End a trial whose seeds have all been trained: its score is the mean of their means."""
        self._study.tell(number, _score(self.trials()[number].seeds))

    def prune(self, number: int) -> None:
        """End a trial that is not worth its other seeds."""
        self._study.tell(number, state=self._optuna.trial.TrialState.PRUNED)

    def fail(self, number: int) -> None:
        """End a trial whose run has raised."""
        self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)

    def keep(self, name: str, values: object) -> None:
        """Keep something of the study as a whole, JSON values."""
        self._storage.set_study_user_attr(self._id, name, values)

    def kept(self) -> SavedState:
        """Return what was kept of the study as a whole."""
        return dict(self._study.user_attrs)


def _score(seeds: Sequence[SavedState]) -> float:
    return float(np.mean([np.mean(one["returns"]) for one in seeds]))


def _trial(found: Any) -> SearchTrial:
    attrs, seeds = found.user_attrs, list[SavedState]()
    while (name := _SEED.format(len(seeds))) in attrs:
        seeds.append(attrs[name])
    state = {"RUNNING": "running", "COMPLETE": "complete", "PRUNED": "pruned"}.get(found.state.name, "failed")
    return SearchTrial(
        number=found.number,
        drawn=attrs.get(_DRAWN, ""),
        values=dict(found.params),
        state=state,  # type: ignore[arg-type]
        value=found.value if state == "complete" else None,
        seeds=tuple(seeds),
    )


def _repair(path: Path) -> None:
    """Remove what a killed driver has left: half a line at the end, and the lock of its last line."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError), path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
