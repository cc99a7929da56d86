"""Agents of both frameworks from equal weights, and windows of made-up transitions."""

from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import torch
from torch import nn

from tensor_optix import HyperparamSet, TFDQNAgent, TFSACAgent, TorchDQNAgent, TorchSACAgent
from tensor_optix.adapters.saving.tensorfile import load_tensors
from tensor_optix.adapters.saving.weights import translated
from tensor_optix.adapters.tensorflow._adam import PaperAdam
from tensor_optix.core.types import EpisodeData
from tests.fakes.weights import weights_of

torch.set_num_threads(1)
OBSERVATIONS, ACTIONS = 3, 2
FRAMEWORKS = ("torch", "tf")


def torch_net(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))


def keras_net(inputs: int, outputs: int) -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential([layers.Input((inputs,)), layers.Dense(16, "relu"), layers.Dense(outputs)])


NETWORKS: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
"""The networks that each agent was made with."""


def outputs(agent: Any, observations: np.ndarray, number: int = 0) -> np.ndarray:
    """Return what one of an agent's networks gives, by the framework itself."""
    network = NETWORKS[agent][number]
    if isinstance(network, nn.Module):
        with torch.no_grad():
            return network(torch.as_tensor(observations)).numpy()
    return network(observations).numpy()


def dqn(framework: str, seed: int = 5, n_actions: int = ACTIONS, **params: Any) -> Any:
    torch.manual_seed(seed)
    keras.utils.set_random_seed(seed)
    given, kwargs = split(params)
    if framework == "torch":
        net = torch_net(OBSERVATIONS, n_actions)
        agent = TorchDQNAgent(net, n_actions, torch.optim.Adam(net.parameters()), given, seed=seed, **kwargs)
        NETWORKS[agent] = [net]
        return agent
    kwargs.setdefault("compile", False)  # the plain graph makes the same steps, and is traced in less time
    net = keras_net(OBSERVATIONS, n_actions)
    agent = TFDQNAgent(net, n_actions, PaperAdam(epsilon=1e-8), given, seed=seed, **kwargs)
    NETWORKS[agent] = [net]
    return agent


def sac(framework: str, seed: int = 5, **params: Any) -> Any:
    torch.manual_seed(seed)
    keras.utils.set_random_seed(seed)
    given, kwargs = split(params)
    sizes = ((OBSERVATIONS, 2 * ACTIONS), (OBSERVATIONS + ACTIONS, 1), (OBSERVATIONS + ACTIONS, 1))
    if framework == "torch":
        nets = [torch_net(*size) for size in sizes]
        log_alpha = torch.zeros(1, requires_grad=True)
        trained = (nets[0].parameters(), [*nets[1].parameters(), *nets[2].parameters()], [log_alpha])
        optimizers = [torch.optim.Adam(parameters, lr=3e-4) for parameters in trained]
        agent = TorchSACAgent(*nets, ACTIONS, *optimizers, given, seed=seed, **kwargs)
        NETWORKS[agent] = nets
        return agent
    kwargs.setdefault("compile", False)
    optimizers = [PaperAdam(3e-4, epsilon=1e-8) for _ in range(3)]
    nets = [keras_net(*size) for size in sizes]
    agent = TFSACAgent(*nets, ACTIONS, *optimizers, given, seed=seed, **kwargs)
    NETWORKS[agent] = nets
    return agent


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
    ours, theirs = weights_of(first), weights_of(second)
    moved = translated(ours, list(ours), theirs)
    return max(float(np.abs(moved[name] - theirs[name]).max()) for name in theirs)


def target_weights(agent: Any) -> dict[str, np.ndarray]:
    """The weights of the lagged copies."""
    return {name: array for name, array in weights_of(agent).items() if name.startswith("target")}


def as_targets(agent: Any) -> dict[str, np.ndarray]:
    """The weights of the networks that have a lagged copy, by the names that they have in the copy."""
    names = {"q_network": "target", "critic1": "target1", "critic2": "target2"}
    parts = {name: name.partition(".") for name in weights_of(agent)}
    return {
        f"{names[model]}.{rest}": weights_of(agent)[name] for name, (model, _, rest) in parts.items() if model in names
    }


def saved_state(agent: Any, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the values of an agent's training state."""
    agent.save_training_state(str(folder / "looked_at"))
    return load_tensors(str(folder / "looked_at"))
