"""What an optimizer of three methods has by default: it tries nothing, remembers nothing, and binds nothing."""

import pytest

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tests.helpers import NumpyAgent


class Minimal(BaseOptimizer):
    forgotten = 0

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        return hyperparams

    def on_improvement(self, metrics: EvalMetrics) -> None: ...

    def on_plateau(self, metrics: EvalMetrics) -> None: ...


@pytest.mark.parametrize("method", ["suggest", "on_improvement", "on_plateau"])
def test_each_of_the_three_methods_is_needed(method: str) -> None:
    methods = {name: value for name, value in vars(Minimal).items() if name != method}
    with pytest.raises(TypeError, match=method):
        type("Partial", (BaseOptimizer,), methods)()


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
