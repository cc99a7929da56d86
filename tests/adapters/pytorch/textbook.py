"""Networks, their data, and the textbook loop that update steps are compared with."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch._compiled import ProgramChoice
from tensor_optix.adapters.pytorch._updater import TorchUpdater

ROWS = np.random.default_rng(0).integers(0, 40, (20, 8))


DATA = {
    "observations": np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32),
    "actions": np.random.default_rng(2).integers(0, 2, 40),
    "targets": np.random.default_rng(3).standard_normal(40).astype(np.float32),
}


SCALARS = {"bound": 0.3, "weight": 0.5}


Optimizers = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-2, eps=1e-5)


OPTIMIZERS: dict[str, Optimizers] = {
    "adam": adam,
    "adam with other betas": lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.5, 0.9)),
    "adam with weight decay": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "adam in two groups": lambda p: torch.optim.Adam([{"params": p[:2]}, {"params": p[2:], "lr": 1e-3}], lr=1e-2),
    "adam in another order": lambda p: torch.optim.Adam(p[::-1], lr=1e-2),
    "adam with a tensor for its rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-2)),
    "maximising adam": lambda p: torch.optim.Adam(p, lr=1e-2, maximize=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "sgd with momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
}


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)),
    ]


def loss_of(models: Sequence[Any], batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    policy, value = models
    log_probs = torch.log_softmax(policy(batch["observations"]), -1)
    chosen = log_probs.gather(-1, batch["actions"].unsqueeze(-1)).squeeze(-1)
    value_loss = ((value(batch["observations"])[..., 0] - batch["targets"]) ** 2).mean()
    policy_loss = -(chosen * batch["targets"]).mean()
    return policy_loss + scalars["weight"] * value_loss, {"policy_loss": policy_loss, "value_loss": value_loss}


def parameters_of(models: Sequence[nn.Module]) -> list[nn.Parameter]:
    return list(dict.fromkeys(p for model in models for p in model.parameters()))


def textbook(
    models: Sequence[nn.Module],
    optimizer: torch.optim.Optimizer,
    rows: np.ndarray = ROWS,
    scalars: Mapping[str, float] = SCALARS,
    bounded: bool = True,
    loss: Callable = loss_of,
) -> dict[str, float]:
    """The reference; returns the mean of each metric."""
    metrics: list[dict[str, float]] = []
    dtype = next(models[0].parameters()).dtype
    for row in rows:
        batch = {name: torch.from_numpy(array[row]) for name, array in DATA.items()}
        batch = {name: t if name == "actions" else t.to(dtype) for name, t in batch.items()}
        optimizer.zero_grad()
        value, parts = loss(models, batch, scalars)
        value.backward()
        norm = nn.utils.clip_grad_norm_(parameters_of(models), scalars["bound"] if bounded else float("inf"))
        optimizer.step()
        metrics.append({"grad_norm": float(norm)} | {name: float(part.detach()) for name, part in parts.items()})
    return {name: float(np.mean([m[name] for m in metrics])) for name in metrics[0]}


def assert_close(ours: Any, theirs: Any, tolerance: float = 1e-6) -> None:
    """Compare nested values, tensors within a tolerance."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_close(ours[key], theirs[key], tolerance)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, tolerance)
    elif isinstance(theirs, torch.Tensor):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    else:
        assert ours == theirs


class Pair:
    """The same networks and optimizer twice: one for the updater, one for the textbook."""

    def __init__(self, make_optimizer: Optimizers = adam, models: list[nn.Module] | None = None) -> None:
        self.ours = models or networks()
        self.theirs = copy.deepcopy(self.ours)
        self.our_optimizer = make_optimizer(parameters_of(self.ours))
        self.their_optimizer = make_optimizer(parameters_of(self.theirs))

    def updater(
        self,
        compile: bool | None = False,
        bound: str | None = "bound",
        loss: Callable = loss_of,
        choice: ProgramChoice | None = None,
    ) -> Any:
        return TorchUpdater(Objective(loss, self.ours, self.our_optimizer, bound), compile, choice=choice)

    def assert_equal(self, tolerance: float = 1e-6) -> None:
        for ours, theirs in zip(self.ours, self.theirs, strict=True):
            assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), tolerance)
        assert_close(self.our_optimizer.state_dict(), self.their_optimizer.state_dict(), tolerance)
