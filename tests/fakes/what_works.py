"""The tables of models and optimizers in docs/what-works.md: `python -m tests.fakes.what_works` writes them.

Each cell makes agents. `tests/adapters/test_what_works.py` runs it: what is said to work goes through an update,
saving, loading and resuming, and what is said to be refused raises an error with that remedy when the agent is made.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from torch import nn

from tests.fakes import keras_models as k
from tests.fakes import torch_models as t
from tests.fakes.cycles import Make

PAGE = Path(__file__).parents[2] / "docs" / "what-works.md"


@dataclass(frozen=True)
class Cell:
    """An agent that works, or is refused with a remedy."""

    make: Make
    refused: str = ""
    note: str = ""
    window: dict[str, Any] = field(default_factory=dict)
    others: tuple[Make, Make] | None = None
    """DQN and SAC of the same optimizer, of which the same holds as of PPO."""

    def __str__(self) -> str:
        return (
            f"refused at the constructor: {self.refused}" if self.refused else f"works{self.note and f': {self.note}'}"
        )


Rows = dict[str, tuple[Cell | None, Cell | None]]
"""What a row is about, with PyTorch's cell and that of Keras; None where the framework has no such thing."""


def on(make: Make, **window: Any) -> Cell:
    return Cell(make, window=window)


NO_SEED = "keras.layers.Dropout, keras.random or tf.random.get_global_generator()"
MODELS: Rows = {
    "Dense stack": (Cell(t.ppo(t.dense)), Cell(k.ppo(k.dense))),
    "Own class": (Cell(t.dqn(lambda n: t.Own(n, 4, lambda m: list(t.dense(m))))), Cell(k.dqn(k.own))),
    "Convolutions on images": (
        on(t.dqn(t.images), shape=(3, 8, 8), dtype=np.uint8),
        on(k.dqn(k.images), shape=(8, 8, 3), dtype=np.uint8),
    ),
    "Convolutions with `channels_first`": (None, on(k.ppo(k.channels_first), shape=(3, 8, 8))),
    "Recurrent layers within an observation": (Cell(t.ppo(t.recurrent)), Cell(k.ppo(k.recurrent))),
    "Recurrent layers that remember the last batch": (
        None,
        Cell(k.ppo(k.remembering), refused="Make it with stateful=False"),
    ),
    "Dropout in recurrent layers": (
        Cell(t.ppo(t.recurrent)),
        Cell(k.ppo(k.forgetful)),
    ),
    "Attention with a causal mask": (Cell(t.ppo(t.between(t.Causal))), Cell(k.ppo(k.attending))),
    "Embedding": (Cell(t.ppo(t.embedded)), Cell(k.ppo(k.embedded))),
    "Embedding with sparse gradients": (Cell(t.ppo(lambda n: t.embedded(n, sparse=True))), None),
    "Dropout": (Cell(t.ppo(t.between(lambda: nn.Dropout(0.5)))), Cell(k.ppo(k.between(lambda: k.L.Dropout(0.5))))),
    "Dropout in DQN": (
        Cell(t.dqn(t.between(lambda: nn.Dropout(0.5)))),
        Cell(k.dqn(k.between(lambda: k.L.Dropout(0.5)))),
    ),
    "Noise from the process's generator": (
        Cell(t.ppo(t.between(t.Noisy))),
        Cell(k.ppo(k.between(lambda: k.Noisy(keras.random.normal)))),
    ),
    "Noise from `tf.random.get_global_generator()`": (
        None,
        Cell(k.ppo(k.between(lambda: k.Noisy(lambda shape: tf.random.get_global_generator().normal(shape))))),
    ),
    "Noise from `tf.random.normal`, `tf.nn.dropout`": (
        None,
        Cell(k.ppo(k.between(lambda: k.Noisy(tf.random.normal))), refused=f"Use {NO_SEED}"),
    ),
    "Noise from a `torch.Generator` that a module holds": (Cell(t.ppo(t.between(t.HoldsGenerator))), None),
    "Batch normalisation": (
        Cell(t.ppo(t.between(lambda: nn.BatchNorm1d(8)))),
        Cell(k.ppo(k.between(k.L.BatchNormalization))),
    ),
    "Batch normalisation without running statistics": (
        Cell(
            t.ppo(t.between(lambda: nn.BatchNorm1d(8, track_running_stats=False))),
            refused="Make it with track_running_stats=True, or use LayerNorm",
        ),
        None,
    ),
    "Works in place on its input": (Cell(t.ppo(t.InPlace)), None),
    "`torch.nn.utils.prune`": (Cell(t.ppo(t.pruned)), None),
    "`torch.nn.utils.prune` in DQN": (Cell(t.dqn(t.pruned)), None),
    "`weight_norm`": (Cell(t.dqn(t.normed(nn.utils.parametrizations.weight_norm))), None),
    "`spectral_norm`": (Cell(t.dqn(t.normed(nn.utils.parametrizations.spectral_norm))), None),
    "Frozen layers": (Cell(t.ppo(t.frozen)), Cell(k.ppo(k.frozen))),
    "Weights without a name": (None, Cell(k.ppo(k.between(k.Unnamed)))),
    "Variables that Keras does not track": (None, Cell(k.ppo(k.between(k.Hidden)), refused="self.add_weight(...)")),
    "Shared trunk": (Cell(t.shared), Cell(k.shared)),
    "Critic of two inputs in SAC": (
        on(t.sac(t.dense, t.OfTwo), action_dim=2),
        on(k.sac(k.dense, k.of_two), action_dim=2),
    ),
    "Own class of two inputs in SAC": (
        on(t.sac(t.dense, lambda n: nn.DataParallel(t.OfTwo(n))), action_dim=2),
        on(k.sac(k.dense, k.own_of_two), action_dim=2),
    ),
    "One dict of the members": (
        on(t.wired(t.ppo(t.OfDict)), shape=(9,)),
        on(t.wired(k.ppo(k.own_of_dict)), shape=(9,)),
    ),
    "An input for each member": (
        on(t.wired(t.dqn(t.OfMembers)), shape=(9,)),
        on(t.wired(k.ppo(k.of_dict)), shape=(9,)),
    ),
    "An input for each member, in a list": (None, on(t.wired(k.dqn(k.listed)), shape=(9,))),
    "The members and the action in SAC": (
        on(t.wired(t.sac(t.OfDict, t.CriticOfDict)), shape=(9,), action_dim=2),
        on(t.wired(k.sac(k.of_dict, k.critic_of_dict)), shape=(9,), action_dim=2),
    ),
    "Members, in `TorchDictModel` or `TFDictModel`": (
        on(t.ppo(t.taken_apart), shape=(9,)),
        on(k.ppo(k.taken_apart), shape=(9,)),
    ),
    "Several inputs that are no members": (
        Cell(t.wired(t.ppo(t.OfTwo)), refused="Name its inputs as the members are named"),
        Cell(t.wired(k.ppo(k.of_two)), refused="Name its inputs as the members are named"),
    ),
    "`torch.compile`": (Cell(t.ppo(t.compiled)), None),
    "TorchScript, scripted or traced": (Cell(t.ppo(t.scripted)), None),
    "TorchScript in DQN": (Cell(t.dqn(t.traced)), None),
    "`DataParallel` and other wrappers": (
        Cell(t.dqn(lambda n: nn.DataParallel(t.Wrapper(t.dense(n))))),
        Cell(k.ppo(k.wrapped)),
    ),
    "Not built yet": (
        Cell(t.ppo(lambda n: nn.Sequential(nn.LazyLinear(n))), refused="Call it once on a batch of observations"),
        Cell(k.ppo(lambda n: keras.Sequential([k.L.Dense(n)])), refused="call it once on a batch of observations"),
    ),
    "Low-rank adaptation (`enable_lora`)": (None, Cell(k.ppo(k.adapted))),
    "float64": (
        Cell(t.ppo(lambda n: t.dense(n).double())),
        Cell(k.ppo(k.between(lambda: k.L.Dropout(0.2)), precision="float64")),
    ),
    "bfloat16 weights": (
        Cell(t.ppo(lambda n: t.dense(n).bfloat16())),
        Cell(k.ppo(k.dense, precision="bfloat16"), refused="Use the dtype policy 'mixed_bfloat16'"),
    ),
    "bfloat16 weights in DQN": (
        Cell(t.dqn(lambda n: t.dense(n).bfloat16())),
        Cell(k.dqn(k.dense, precision="bfloat16"), refused="Use the dtype policy 'mixed_bfloat16'"),
    ),
    "float16 weights": (
        Cell(t.ppo(lambda n: t.dense(n).half()), refused="Use bfloat16 or float32"),
        Cell(k.ppo(k.dense, precision="float16"), refused="Use the dtype policy 'mixed_float16'"),
    ),
    "Complex weights": (
        Cell(
            t.ppo(t.between(t.Complex)),
            refused="Keep real and imaginary parts in two tensors, and join them in the forward pass",
        ),
        None,
    ),
    "Weights in another order of memory, as `channels_last`": (Cell(t.ppo(t.transposed)), None),
    "`mixed_float16`": (None, Cell(k.ppo(k.dense, precision="mixed_float16"), note="the loss is scaled")),
    "`mixed_bfloat16`": (None, Cell(k.ppo(k.dense, precision="mixed_bfloat16"))),
    "Observations of bool": (on(t.ppo(t.dense), dtype=bool), on(k.ppo(k.dense), dtype=bool)),
    "Observations of whole numbers": (on(t.ppo(t.dense), dtype=np.int64), on(k.ppo(k.dense), dtype=np.int64)),
}


def of_torch(kind: Any, refused: str = "", **arguments: Any) -> Cell:
    def optimizer(*models: nn.Module) -> torch.optim.Optimizer:
        return kind([p for model in models for p in model.parameters()], **arguments)

    return with_torch(optimizer, refused=refused)


def with_torch(optimizer: Callable[..., Any], model: Any = t.dense, critic: Any = t.OfTwo, **about: Any) -> Cell:
    others = t.dqn(model, optimizer), t.sac(model, critic, optimizer)
    return Cell(t.ppo(model, optimizer), others=others, **about)


def of_keras(make: Callable[[], Any], **about: Any) -> Cell:
    others = k.dqn(k.dense, optimizer=make), k.sac(k.dense, k.of_two, make)
    return Cell(k.ppo(k.dense, make), others=others, **about)


def of_matrices(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8, bias=False), nn.Tanh(), nn.Linear(8, outputs, bias=False))


class OfTwoMatrices(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 8, bias=False), nn.Linear(8, outputs, bias=False)

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.first(torch.cat([observation, action], -1))))


def on_matrices(*models: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Muon([p for model in models for p in model.parameters() if p.ndim == 2])


def two_rates() -> Any:
    kinds = keras.optimizers
    return kinds.MultiOptimizer(kinds.OptimizerMap(kinds.Adam(1e-3), {".*bias": kinds.SGD(1e-2)}))


T, K = torch.optim, keras.optimizers
OPTIMIZERS: Rows = {
    "Adadelta": (of_torch(T.Adadelta), of_keras(K.Adadelta)),
    "Adafactor": (of_torch(T.Adafactor), of_keras(K.Adafactor)),
    "Adagrad": (of_torch(T.Adagrad), of_keras(K.Adagrad)),
    "Adam": (of_torch(T.Adam), of_keras(K.Adam)),
    "Adam, AMSGrad": (of_torch(T.Adam, amsgrad=True), of_keras(lambda: K.Adam(amsgrad=True))),
    "Adamax": (of_torch(T.Adamax), of_keras(K.Adamax)),
    "AdamW": (of_torch(T.AdamW), of_keras(K.AdamW)),
    "ASGD": (of_torch(T.ASGD), None),
    "Ftrl": (None, of_keras(K.Ftrl)),
    "Lamb": (None, of_keras(K.Lamb)),
    "LBFGS": (
        of_torch(T.LBFGS, refused="Use an optimizer that takes one gradient per step, such as Adam"),
        None,
    ),
    "Lion": (None, of_keras(K.Lion)),
    "LossScaleOptimizer": (None, of_keras(lambda: K.LossScaleOptimizer(K.Adam()))),
    "MultiOptimizer": (None, of_keras(two_rates)),
    "Muon": (with_torch(on_matrices, of_matrices, OfTwoMatrices, note="matrices only"), of_keras(K.Muon)),
    "Muon on a model with biases": (
        with_torch(on_matrices, refused="It takes matrices only: use AdamW, or layers with bias=False"),
        of_keras(K.Muon),
    ),
    "Nadam": (of_torch(T.NAdam), of_keras(K.Nadam)),
    "RAdam": (of_torch(T.RAdam), None),
    "RMSprop": (of_torch(T.RMSprop), of_keras(K.RMSprop)),
    "RMSprop, centred": (
        of_torch(T.RMSprop, centered=True, momentum=0.9),
        of_keras(lambda: K.RMSprop(centered=True, momentum=0.9)),
    ),
    "Rprop": (of_torch(T.Rprop), None),
    "ScheduleFreeAdamW": (None, of_keras(K.ScheduleFreeAdamW, refused="Use AdamW")),
    "SGD": (of_torch(T.SGD), of_keras(K.SGD)),
    "SGD, momentum": (of_torch(T.SGD, momentum=0.9), of_keras(lambda: K.SGD(momentum=0.9))),
    "SparseAdam": (
        of_torch(T.SparseAdam, refused="Use Adam"),
        None,
    ),
    "Steps that are differentiable": (
        of_torch(T.Adam, differentiable=True, refused="Make it with differentiable=False"),
        None,
    ),
    "Clipping of its own": (None, of_keras(lambda: K.Adam(clipnorm=1.0))),
    "Averages of the weights": (
        None,
        of_keras(lambda: K.Adam(use_ema=True), refused="Make it with use_ema=False"),
    ),
    "Gradients accumulated": (None, of_keras(lambda: K.SGD(gradient_accumulation_steps=2))),
    "`loss_scale_factor`": (None, of_keras(lambda: K.Adam(loss_scale_factor=128.0))),
}
TABLES = {"models": ("Model", MODELS), "optimizers": ("Optimizer", OPTIMIZERS)}


def table(head: str, rows: Rows) -> str:
    lines = [f"| {head} | PyTorch | Keras |", "|---|---|---|"]
    for name, cells in rows.items():
        lines.append(f"| {name} | " + " | ".join("-" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def written(text: str) -> str:
    """Return the page's text with the tables in place."""
    for name, (head, rows) in TABLES.items():
        pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n<!-- end of {name} -->)", re.DOTALL)
        text = pattern.sub(lambda _, head=head, rows=rows: table(head, rows), text)
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
