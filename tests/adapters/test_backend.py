"""An objective, and what each framework's backend promises alike."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.adapters.tensorflow._adam import PaperAdam
from tensor_optix.adapters.tensorflow.backend import TFBackend

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def parts(framework: str) -> tuple[Any, Any, Any]:
    """A backend, a model, and an optimizer over its weights."""
    if framework == "torch":
        model = torch.nn.Linear(3, 2)
        return TorchBackend(), model, torch.optim.Adam(model.parameters(), lr=0.25)
    network: Any = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    return TFBackend(), network, PaperAdam(0.25)


both = pytest.mark.parametrize("framework", ["torch", "tf"])


@pytest.mark.parametrize(("name", "metric"), [("", "grad_norm"), ("actor", "actor_grad_norm")])
def test_objectives_that_are_trained_together_have_a_norm_each(name: str, metric: str) -> None:
    assert Objective(lambda *_: (0.0, {}), (), None, name=name).grad_norm == metric


@both
def test_weights_that_are_set_are_read_and_predicted_with(framework: str) -> None:
    backend, model, _ = parts(framework)
    predict = backend.predictor(model)
    predict(X)
    ones = {name: np.ones_like(array) for name, array in backend.weights({"model": model}).items()}
    backend.set_weights({"model": model}, ones)
    assert all((array == 1.0).all() for array in backend.weights({"model": model}).values())
    assert predict(X) == pytest.approx(np.repeat(X.sum(-1, keepdims=True) + 1.0, 2, axis=1), abs=1e-5)
    assert predict.one(X[0]) == pytest.approx(predict(X)[0], abs=1e-5)


@both
def test_weights_are_named_by_their_model(framework: str) -> None:
    backend, model, _ = parts(framework)
    found = backend.weights({"actor": model})
    assert len(found) == 2
    assert all(name.startswith("actor.") for name in found)


@both
def test_a_learning_rate_that_is_set_is_in_force(framework: str) -> None:
    backend, _, optimizer = parts(framework)
    assert backend.learning_rates(optimizer) == [0.25]
    backend.set_learning_rates(optimizer, [0.125])
    assert backend.learning_rates(optimizer) == [0.125]


@both
def test_a_lagged_copy_does_not_follow_its_model(framework: str) -> None:
    backend, model, _ = parts(framework)
    lagged = backend.lagged_copy(model)
    before = [array.copy() for array in backend.weights({"target": lagged}).values()]
    backend.set_weights({"model": model}, {n: a + 1.0 for n, a in backend.weights({"model": model}).items()})
    after = list(backend.weights({"target": lagged}).values())
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
