"""Whether a run that is being searched with has any hope left: late bloomers live, and what has fallen behind ends.

    a run ends that has not improved for a while  (Optuna's `PatientPruner`)
    and whose best is below the median of the earlier trials, at the same window and with the same seed
                                                  (Optuna's `PercentilePruner`)

A worker decides it by what it was given with its item, and so does every other worker, whenever it runs.
"""

import contextlib
import warnings
from collections.abc import Generator, Mapping, Sequence
from types import ModuleType
from typing import TypeAlias

from tensor_optix.support.optional import require

PERCENTILE = 50.0
FEWEST_CURVES = 4
"""With fewer of them nothing is known of what is usual."""
SHARE_OF_PATIENCE, LEAST_PATIENCE = 0.25, 3
NEEDED_BY, EXTRA = "tensor-optix tune", "tune"

Curve: TypeAlias = Mapping[int, float]
"""The score of each evaluation, by how many windows were done."""


def patience_for(evaluations: int) -> int:
    """Return how many evaluations without improvement are no reason to end a run.

    Args:
        evaluations: that the budget affords.
    """
    return max(LEAST_PATIENCE, round(SHARE_OF_PATIENCE * evaluations))


def is_hopeless(curve: Curve, references: Sequence[Curve], patience: int) -> bool:
    """Return whether a run is to be ended.

    Args:
        curve: of the run so far.
        references: of earlier trials with the same seed.
        patience: evaluations without improvement that are tolerated.

    Raises:
        MissingDependencyError: Optuna is not installed; the message has the install line.
    """
    if len(curve) <= patience + 1 or len(references) < FEWEST_CURVES:
        return False
    optuna = optuna_module()
    study = optuna.create_study(direction="maximize")
    for reference in references:
        last = reference[max(reference)]
        study.add_trial(optuna.trial.create_trial(value=last, intermediate_values=dict(reference)))
    running = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(curve))
    with quiet(optuna):
        usual = optuna.pruners.PercentilePruner(PERCENTILE, n_startup_trials=FEWEST_CURVES, n_min_trials=FEWEST_CURVES)
        return bool(optuna.pruners.PatientPruner(usual, patience).prune(study, running))


def optuna_module() -> ModuleType:
    """Return Optuna, which says warnings and errors only.

    Raises:
        MissingDependencyError: it is not installed; the message has the install line.
    """
    optuna = require("optuna", NEEDED_BY, EXTRA)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextlib.contextmanager
def quiet(optuna: ModuleType) -> Generator[None]:
    """Leave out that some of Optuna's pruners may change, and what it says of steps that only one trial has.

    Args:
        optuna: the module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="WilcoxonPruner finds steps")
        yield
