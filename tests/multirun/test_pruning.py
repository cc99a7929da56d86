import sys
import warnings

import pytest

from tensor_optix.errors import MissingDependencyError
from tensor_optix.multirun.pruning import is_hopeless, optuna_module, patience_for, quiet

GOOD = [{1: 10.0, 2: 20.0, 3: 30.0, 4: 40.0, 5: 50.0, 6: 60.0}] * 4


def curve(*scores: float) -> dict[int, float]:
    return dict(enumerate(scores, 1))


@pytest.mark.parametrize(
    ("scores", "hopeless"),
    [
        ((9.0, 8.0, 7.0, 6.0), True),  # below the median, and no better for two evaluations
        ((9.0, 8.0, 7.0), False),  # within the patience
        ((5.0, 5.0, 5.0, 5.0, 5.0), False),  # flat from the start: it may bloom late
        ((9.0, 8.0, 7.0, 10.0), False),  # it improves
        ((90.0, 8.0, 7.0, 6.0), False),  # it was above the median
    ],
)
def test_who_stands_still_below_the_median_has_no_hope(scores: tuple[float, ...], hopeless: bool) -> None:
    assert is_hopeless(curve(*scores), GOOD, patience=2) is hopeless


def test_with_few_curves_nothing_is_known() -> None:
    assert not is_hopeless(curve(9.0, 8.0, 7.0, 6.0), GOOD[:3], patience=2)


@pytest.mark.parametrize(("evaluations", "patience"), [(1, 3), (12, 3), (40, 10)])
def test_patience_grows_with_the_budget(evaluations: int, patience: int) -> None:
    assert patience_for(evaluations) == patience


def test_no_optuna_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tensor-optix-core\[tune\]'"):
        optuna_module()


def test_pruners_that_may_change_say_nothing() -> None:
    optuna = optuna_module()
    with warnings.catch_warnings(record=True) as told, quiet(optuna):
        optuna.pruners.WilcoxonPruner()
    assert told == []
