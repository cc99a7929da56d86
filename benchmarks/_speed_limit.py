"""What the arithmetic of updates costs, without anything around it.

Matrix products of the same shapes as an update has, by numpy or PyTorch, whichever is faster here, and the elementwise
work of Adam and of target networks on one flat array each. Biases, activations, losses, sampling and environments
are left out: no implementation with these libraries can be faster.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks._speed_tasks import Task, Trace

Product = tuple[Any, Any, Any]
"""Two matrices and where their product goes."""
_TRIALS = 20
"""Updates by which the faster library is told."""


Layers = Sequence[int]
"""Sizes of a dense stack, from its input to its output."""
Shape = tuple[int, int, int]
"""Rows, inner size and columns of a product."""


@dataclass(frozen=True)
class Updates:
    """What an algorithm does with a window."""

    per_window: int
    shapes: Sequence[Shape]
    """Of the products of one update."""
    learned: int
    """Weights that Adam moves in it."""
    followed: int = 0
    """Weights of target networks that move towards others in it."""


def run_limit(task: Task, windows: int, seed: int) -> Trace:
    """Do the arithmetic of the updates of the windows, and tell when each window ended."""
    import torch

    torch.set_num_threads(task.threads)
    updates = _UPDATES[task.algorithm](task, *_sizes(task.env))
    products = list(_drawn(updates.shapes, np.random.default_rng(seed)))
    tensors = [tuple(map(torch.from_numpy, product)) for product in products]
    multiply = min((_multiplies(np.matmul, products), _multiplies(torch.mm, tensors)), key=_seconds)
    adjust = _adjusts(updates.learned, updates.followed)
    trace = Trace()
    trace.note()
    for _ in range(windows):
        for _ in range(updates.per_window):
            multiply()
            adjust()
        trace.note()
    return trace


def _sizes(env_id: str) -> tuple[int, int]:
    """Return the sizes of an observation and of an action, or the number of actions to choose from."""
    env = gym.make(env_id)
    observed, acted = math.prod(env.observation_space.shape or ()), getattr(env.action_space, "n", None)
    acted = math.prod(env.action_space.shape or ()) if acted is None else int(acted)
    env.close()
    return observed, acted


def _of_ppo(task: Task, observed: int, acted: int) -> Updates:
    """Actor and critic learn from each minibatch, several times from each step."""
    batch = int(task.hyperparams["minibatch_size"])
    networks = [[observed, *task.net_arch, outputs] for outputs in (acted, 1)]
    shapes = [shape for layers in networks for shape in (*_forward(layers, batch), *_backward(layers, batch))]
    per_window = int(task.hyperparams["n_epochs"]) * -(-task.window // batch)
    return Updates(per_window, shapes, learned=sum(map(_weights, networks)))


def _of_dqn(task: Task, observed: int, acted: int) -> Updates:
    """The network learns from its targets, which a copy of it gives."""
    batch, layers = int(task.hyperparams["batch_size"]), [observed, *task.net_arch, acted]
    shapes = [*_forward(layers, batch), *_forward(layers, batch), *_backward(layers, batch)]
    return Updates(int(task.window * task.hyperparams["updates_per_step"]), shapes, learned=_weights(layers))


def _of_sac(task: Task, observed: int, acted: int) -> Updates:
    """The critics learn from their targets, then the actor from the critics."""
    batch = int(task.hyperparams["batch_size"])
    actor, critic = [observed, *task.net_arch, 2 * acted], [observed + acted, *task.net_arch, 1]
    passes = [
        *(_forward(actor, batch), *[_forward(critic, batch)] * 2),  # the targets
        *[_forward(critic, batch)] * 2,
        *[_backward(critic, batch)] * 2,
        *(_forward(actor, batch), *[_forward(critic, batch)] * 2),
        *[_backward_inputs(critic, batch)] * 2,
        _backward(actor, batch),
    ]
    return Updates(
        task.window,
        list(itertools.chain.from_iterable(passes)),
        learned=_weights(actor) + 2 * _weights(critic),
        followed=2 * _weights(critic),
    )


_UPDATES: Mapping[str, Callable[[Task, int, int], Updates]] = {"ppo": _of_ppo, "dqn": _of_dqn, "sac": _of_sac}


def _drawn(shapes: Sequence[Shape], rng: np.random.Generator) -> Iterator[Product]:
    for rows, inner, columns in shapes:
        first, second = (rng.standard_normal(shape, np.float32) for shape in ((rows, inner), (inner, columns)))
        yield first, second, np.empty((rows, columns), np.float32)


def _forward(layers: Layers, batch: int) -> list[Shape]:
    return [(batch, inputs, outputs) for inputs, outputs in itertools.pairwise(layers)]


def _backward_inputs(layers: Layers, batch: int) -> list[Shape]:
    return [(batch, outputs, inputs) for inputs, outputs in itertools.pairwise(layers)]


def _backward(layers: Layers, batch: int) -> list[Shape]:
    """Return the gradients of the weights, and of all inputs but the network's own."""
    weights = [(inputs, batch, outputs) for inputs, outputs in itertools.pairwise(layers)]
    return weights + _backward_inputs(layers, batch)[1:]


def _weights(layers: Layers) -> int:
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
        if followed:
            target.lerp_(source, 0.005)

    return adjust
