"""What an optimizer of three methods has by default: it tries nothing, remembers nothing, and binds nothing."""

import pytest

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tests.helpers import NumpyAgent


class Minimal(BaseOptimizer):
    forgotten = 0

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        return hyperparams


def test_suggest_is_needed_and_nothing_else() -> None:
    with pytest.raises(TypeError, match="suggest"):
        BaseOptimizer()  # type: ignore[abstract]
    optimizer = Minimal()
    optimizer.on_improvement(EvalMetrics(1.0))
    optimizer.on_plateau(EvalMetrics(1.0))


def test_by_default_nothing_is_on_trial_and_nothing_was_decided() -> None:
    optimizer = Minimal()
    assert (optimizer.is_probing, optimizer.probed_param, optimizer.decision) == (False, None, "")
    assert optimizer.search_space is None


def test_a_divergence_forgets_what_a_new_learner_forgets() -> None:
    class Remembering(Minimal):
        def on_new_learner(self) -> None:
            self.forgotten += 1

    optimizer = Remembering()
    optimizer.on_divergence()
    optimizer.on_new_learner()
    assert optimizer.forgotten == 2


def test_an_optimizer_without_bounds_takes_any_agent_and_any_degradation() -> None:
    optimizer, values = Minimal(), NumpyAgent().get_hyperparams()
    optimizer.bind({"no such name": (0.0, 1.0)}, values)
    optimizer.on_degradation(EvalMetrics(1.0), values)
    assert optimizer.suggest(values, EvalMetrics(1.0)) is values


def test_one_that_remembers_nothing_goes_on_from_nothing() -> None:
    optimizer = Minimal()
    assert optimizer.state_dict() == {}
    optimizer.load_state_dict({"anything": 1})
    assert optimizer.state_dict() == {}
