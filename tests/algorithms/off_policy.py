"""Agents of both frameworks from equal weights, and windows of made-up transitions."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

from tensor_optix import HyperparamSet, TFDQNAgent, TFSACAgent, TorchDQNAgent, TorchSACAgent
from tensor_optix.adapters.saving.weights import translated
from tensor_optix.adapters.tensorflow._adam import PaperAdam
from tensor_optix.core.types import EpisodeData

torch.set_num_threads(1)
OBSERVATIONS, ACTIONS = 3, 2
FRAMEWORKS = ("torch", "tf")


def torch_net(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))


def keras_net(inputs: int, outputs: int) -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential([layers.Input((inputs,)), layers.Dense(16, "relu"), layers.Dense(outputs)])


def dqn(framework: str, seed: int = 5, n_actions: int = ACTIONS, **params: Any) -> Any:
    torch.manual_seed(seed)
    keras.utils.set_random_seed(seed)
    given, kwargs = split(params)
    if framework == "torch":
        net = torch_net(OBSERVATIONS, n_actions)
        return TorchDQNAgent(net, n_actions, torch.optim.Adam(net.parameters()), given, seed=seed, **kwargs)
    kwargs.setdefault("compile", False)  # the plain graph makes the same steps, and is traced in less time
    return TFDQNAgent(
        keras_net(OBSERVATIONS, n_actions), n_actions, PaperAdam(epsilon=1e-8), given, seed=seed, **kwargs
    )


def sac(framework: str, seed: int = 5, **params: Any) -> Any:
    torch.manual_seed(seed)
    keras.utils.set_random_seed(seed)
    given, kwargs = split(params)
    sizes = ((OBSERVATIONS, 2 * ACTIONS), (OBSERVATIONS + ACTIONS, 1), (OBSERVATIONS + ACTIONS, 1))
    if framework == "torch":
        nets = [torch_net(*size) for size in sizes]
        log_alpha = torch.zeros(1, requires_grad=True)
        trained = (nets[0].parameters(), [*nets[1].parameters(), *nets[2].parameters()], [log_alpha])
        optimizers = [torch.optim.Adam(parameters) for parameters in trained]
        return TorchSACAgent(*nets, ACTIONS, *optimizers, given, seed=seed, **kwargs)
    kwargs.setdefault("compile", False)
    optimizers = [PaperAdam(epsilon=1e-8) for _ in range(3)]
    return TFSACAgent(*(keras_net(*size) for size in sizes), ACTIONS, *optimizers, given, seed=seed, **kwargs)


def split(params: dict[str, Any]) -> tuple[HyperparamSet, dict[str, Any]]:
    """Hyper-parameters, and the constructor's own arguments."""
    own = {name: params.pop(name) for name in ("compile", "save_replay", "exploration_noise") if name in params}
    small = {"batch_size": 8, "learning_starts": 8, "replay_capacity": 500}
    return HyperparamSet({**small, **params}), own


def window(steps: int = 32, seed: int = 0, *, discrete: bool = True, **changes: Any) -> EpisodeData:
    rng = np.random.default_rng(seed)
    observations = rng.normal(size=(steps + 1, OBSERVATIONS)).astype(np.float32)
    actions = rng.integers(ACTIONS, size=steps) if discrete else rng.uniform(-0.9, 0.9, (steps, ACTIONS))
    fields: dict[str, Any] = {
        "observations": observations[:-1],
        "actions": actions if discrete else actions.astype(np.float32),
        "rewards": rng.normal(size=steps).astype(np.float32),
        "terminated": rng.random(steps) < 0.1,
        "truncated": np.zeros(steps, bool),
        "next_observations": observations[1:],
    }
    return EpisodeData(**{**fields, **changes})


def equal_pair(make: Any, tmp_path: Path, **params: Any) -> tuple[Any, Any]:
    """One agent per framework, the second with the weights of the first."""
    first, second = make("torch", **params), make("tf", compile=None, **params)
    first.save_weights(str(tmp_path / "weights"))
    second.load_weights(str(tmp_path / "weights"))
    return first, second


def difference(first: Any, second: Any) -> float:
    """Largest difference between any two weights, the lagged copies' included."""
    largest = 0.0
    for ours_of, theirs_of in ((first._store._models, second._store._models), (targets(first), targets(second))):
        ours, theirs = first._backend.weights(ours_of), second._backend.weights(theirs_of)
        moved = translated(ours, list(ours), theirs)
        largest = max(largest, *(float(np.abs(moved[name] - theirs[name]).max()) for name in theirs))
    return largest


def targets(agent: Any) -> dict[str, Any]:
    return agent._target_models() if hasattr(agent, "_target_models") else {"target": agent._target}
