"""What the arithmetic of an update of SAC costs, without anything around it.

Matrix products of the same shapes as an update has, by numpy or PyTorch, whichever is faster here, and the elementwise
work of Adam and of the target networks on one flat array each. Biases, activations, losses, sampling and environments
are left out: no implementation with these libraries can be faster.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks._speed_tasks import Task, Trace

Product = tuple[Any, Any, Any]
"""Two matrices and where their product goes."""
_TRIALS = 20
"""Updates by which the faster library is told."""


def run_limit(task: Task, windows: int, seed: int) -> Trace:
    """Do the arithmetic of as many updates as the windows have steps, and tell when each window ended."""
    import torch

    torch.set_num_threads(task.threads)
    actor, critic = _networks(task)
    batch = int(task.hyperparams["batch_size"])
    products = list(_products_of_update(actor, critic, batch, np.random.default_rng(seed)))
    tensors = [tuple(map(torch.from_numpy, product)) for product in products]
    multiply = min((_multiplies(np.matmul, products), _multiplies(torch.mm, tensors)), key=_seconds)
    adjust = _adjusts(_weights(actor) + 2 * _weights(critic), 2 * _weights(critic))
    trace = Trace()
    trace.note()
    for _ in range(windows):
        for _ in range(task.window):
            multiply()
            adjust()
        trace.note()
    return trace


def _networks(task: Task) -> tuple[list[int], list[int]]:
    """Return the layers of the actor and of a critic."""
    env = gym.make(task.env)
    observed, acted = (math.prod(space.shape or ()) for space in (env.observation_space, env.action_space))
    env.close()
    return [observed, *task.net_arch, 2 * acted], [observed + acted, *task.net_arch, 1]


def _products_of_update(
    actor: Sequence[int], critic: Sequence[int], batch: int, rng: np.random.Generator
) -> Iterator[Product]:
    """Yield the products of one update: the critics learn from their targets, then the actor from the critics."""
    passes = [
        *(_forward(actor, batch), *[_forward(critic, batch)] * 2),  # the targets
        *[_forward(critic, batch)] * 2,
        *[_backward(critic, batch)] * 2,
        *(_forward(actor, batch), *[_forward(critic, batch)] * 2),
        *[_backward_inputs(critic, batch)] * 2,
        _backward(actor, batch),
    ]

    def drawn(rows: int, columns: int) -> np.ndarray:
        return rng.standard_normal((rows, columns), np.float32)

    for rows, inner, columns in itertools.chain.from_iterable(passes):
        yield drawn(rows, inner), drawn(inner, columns), np.empty((rows, columns), np.float32)


def _forward(layers: Sequence[int], batch: int) -> list[tuple[int, int, int]]:
    return [(batch, inputs, outputs) for inputs, outputs in itertools.pairwise(layers)]


def _backward_inputs(layers: Sequence[int], batch: int) -> list[tuple[int, int, int]]:
    return [(batch, outputs, inputs) for inputs, outputs in itertools.pairwise(layers)]


def _backward(layers: Sequence[int], batch: int) -> list[tuple[int, int, int]]:
    """Return the gradients of the weights, and of all inputs but the network's own."""
    weights = [(inputs, batch, outputs) for inputs, outputs in itertools.pairwise(layers)]
    return weights + _backward_inputs(layers, batch)[1:]


def _weights(layers: Sequence[int]) -> int:
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(layers))


def _multiplies(matmul: Callable[..., object], products: Sequence[Sequence[Any]]) -> Callable[[], None]:
    def multiply() -> None:
        for a, b, out in products:
            matmul(a, b, out=out)

    return multiply


def _seconds(multiply: Callable[[], None]) -> float:
    """Return what it takes at best, as others on the machine only ever add to the time."""
    best = math.inf
    for _ in range(_TRIALS):
        begun = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - begun)
    return best


def _adjusts(learned: int, followed: int) -> Callable[[], None]:
    """Return Adam's step on so many weights, and the move of so many target weights towards them."""
    import torch

    weights = torch.zeros(learned, requires_grad=True)
    weights.grad = torch.full_like(weights, 1e-3)
    target, source = torch.zeros(followed), torch.ones(followed)
    adam = torch.optim.Adam([weights], fused=True)

    def adjust() -> None:
        adam.step()
        target.lerp_(source, 0.005)

    return adjust
