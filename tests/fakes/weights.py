"""The weights of agents: all that learning changes, and such as are made invalid."""

import math
from typing import Any

import numpy as np


def set_nan(agent: Any, framework: str, name: str) -> None:
    """Put a NaN into one weight, past what refuses such weights."""
    model, _, key = name.partition(".")
    network = agent._learned_models[model]
    if framework == "torch":
        next(value for n, value in network.named_parameters() if n == key).data.view(-1)[0] = math.nan
    else:
        names = list(agent._backend.weights({model: network}))
        variable = network.weights[names.index(name)]
        array = variable.numpy().copy()
        array.reshape(-1)[0] = math.nan
        variable.assign(array)


def weights_of(agent: Any) -> dict[str, np.ndarray]:
    """Return every weight that learning changes, the lagged copies' included, by name."""
    weights, _ = agent.snapshot()
    return weights


def model_weights(agent: Any) -> dict[str, np.ndarray]:
    """Return the weights of the models themselves, which a snapshot on disk holds."""
    return {name: array for name, array in weights_of(agent).items() if not name.startswith("target")}


def assert_equal_weights(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(array, theirs[name]) for name, array in ours.items())
