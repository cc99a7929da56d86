"""Weights that are made invalid."""

import math
from typing import Any


def spoil(agent: Any, framework: str, name: str) -> None:
    """Put a NaN into one weight, past what refuses such weights."""
    model, _, key = name.partition(".")
    network = agent._models[model]
    if framework == "torch":
        next(value for n, value in network.named_parameters() if n == key).data.view(-1)[0] = math.nan
    else:
        names = list(agent._backend.weights({model: network}))
        variable = network.weights[names.index(name)]
        array = variable.numpy().copy()
        array.reshape(-1)[0] = math.nan
        variable.assign(array)
