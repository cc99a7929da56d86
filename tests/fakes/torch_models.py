"""PyTorch models of every kind, as agents; a kind that is refused says so when it is made."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from torch import nn
from torch.nn.utils import prune

from tensor_optix.adapters.pytorch.inputs import TorchDictModel
from tensor_optix.algorithms.torch_dqn import TorchDQNAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.algorithms.torch_sac import TorchSACAgent
from tests.fakes.cycles import DQN, PPO, SAC, Make

DICT = spaces.Dict({"image": spaces.Box(0, 1, (2, 2)), "side": spaces.Discrete(3), "speed": spaces.Box(-1, 1, (2,))})
"""Nine numbers."""


class Own(nn.Module):
    """A module of the user's own around any layers, with a call."""

    def __init__(self, outputs: int, size: int, body: Callable[[int], list[nn.Module]], form: Any = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(body(outputs))
        self.form = form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x if self.form is None else self.form(x)
        for layer in self.layers:
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


class Noisy(nn.Module):
    """Draws from the process's generator, in training and in acting."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1.0 + 0.5 * torch.randn_like(x) * self.training)


class HoldsGenerator(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1.0 + 0.5 * torch.randn(x.shape, generator=self.generator) * self.training)


class InPlace(nn.Module):
    """Changes its input, which others read after it."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.net = dense(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.mul_(0.5).add_(0.1))


class Aside(InPlace):
    """The same on a copy."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x * 0.5 + 0.1)


class CutOff(Aside):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).detach()


class Counting(Aside):
    """Holds a number that training changes, and no `state_dict` has."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.calls, self.unchanged = 0, 3.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        return super().forward(x)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phase = nn.Parameter(torch.ones(8, dtype=torch.cfloat))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.phase).real


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.2, batch_first=True)
        self.register_buffer("mask", torch.triu(torch.full((2, 2), -torch.inf), 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sequence = x.reshape(-1, 2, 4)
        return self.attention(sequence, sequence, sequence, attn_mask=self.mask)[0].flatten(1)


class Wrapper(nn.Module):
    """As data parallelism does it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.module(*inputs)


class OfDict(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.image, self.speed, self.side = nn.Linear(4, 3), nn.Linear(2, 3), nn.Linear(3, 3)
        self.head = nn.Linear(3, outputs)

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.head(self.image(x["image"].flatten(1)) + self.speed(x["speed"]) * self.side(x["side"]))


class OfMembers(OfDict):
    """Takes each member as an input of its own."""

    def forward(self, side: torch.Tensor, speed: torch.Tensor, image: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward({"image": image, "side": side, "speed": speed})


class CriticOfDict(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.observation, self.head = OfDict(3), nn.Linear(5, outputs)

    def forward(self, observation: dict[str, torch.Tensor], action: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.observation(observation), action], -1))


class OfTwo(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(2, 8)
        self.head = nn.Linear(8, outputs)

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.first(observation) + self.second(action)))


def dense(outputs: int, size: int = 4, hidden: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, outputs))


def transposed(outputs: int) -> nn.Module:
    """Weights whose strides are those of another matrix, as a convolution's with `channels_last` are."""
    model = dense(outputs)
    model[0].weight = nn.Parameter((0.5 * torch.randn(4, 8)).t())
    return model


def pruned(outputs: int) -> nn.Module:
    """A weight that each forward pass makes of another one and a mask."""
    model = dense(outputs)
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def normed(norm: Callable[[nn.Module], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda outputs: nn.Sequential(norm(nn.Linear(4, 8)), nn.Tanh(), nn.Linear(8, outputs))


def between(*layers: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda outputs: nn.Sequential(nn.Linear(4, 8), *(layer() for layer in layers), nn.Linear(8, outputs))


def adam(*models: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for model in models for p in model.parameters()])


def ppo(network: Callable[[int], nn.Module], optimizer: Callable[..., Any] = adam) -> Make:
    """Return what makes PPO agents of two such networks."""

    def make(seed: int) -> TorchPPOAgent:
        torch.manual_seed(seed)
        actor, critic = network(2), network(1)
        return TorchPPOAgent(actor, critic, optimizer(actor, critic), PPO, seed=seed, compile=False)

    return make


def dqn(network: Callable[[int], nn.Module], optimizer: Callable[..., Any] = adam) -> Make:
    def make(seed: int) -> TorchDQNAgent:
        torch.manual_seed(seed)
        model = network(2)
        return TorchDQNAgent(model, 2, optimizer(model), DQN, seed=seed, compile=False)

    return make


def sac(
    actor: Callable[[int], nn.Module], critic: Callable[[int], nn.Module], optimizer: Callable[..., Any] = adam
) -> Make:
    def make(seed: int) -> TorchSACAgent:
        torch.manual_seed(seed)
        policy, one, two = actor(4), critic(1), critic(1)
        alpha = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
        optimizers = optimizer(policy), optimizer(one, two), alpha
        return TorchSACAgent(policy, one, two, 2, *optimizers, SAC, seed=seed, compile=False)

    return make


def shared(seed: int) -> TorchPPOAgent:
    """Actor and critic are two heads on one trunk, whose weights the optimizer is given twice."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
    actor, critic = nn.Sequential(trunk, nn.Linear(8, 2)), nn.Sequential(trunk, nn.Linear(8, 1))
    parameters = list(dict.fromkeys([*actor.parameters(), *critic.parameters()]))
    return TorchPPOAgent(actor, critic, torch.optim.Adam(parameters), PPO, seed=seed, compile=False)


def frozen(outputs: int) -> nn.Module:
    model = dense(outputs)
    model[0].requires_grad_(False)
    return model


def images(outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(4 * 9, outputs)
    )


def recurrent(outputs: int) -> nn.Module:
    body = [nn.LSTM(1, 6, num_layers=2, dropout=0.2, batch_first=True), nn.Flatten(), nn.Linear(24, outputs)]
    return Own(outputs, 4, lambda _: body, lambda x: x.unsqueeze(-1))


def embedded(outputs: int, sparse: bool = False) -> nn.Module:
    body = [nn.Embedding(8, 3, sparse=sparse), nn.Flatten(), nn.Linear(12, outputs)]
    return Own(outputs, 4, lambda _: body, lambda x: (x > 0).long())


def taken_apart(outputs: int) -> nn.Module:
    return TorchDictModel(DICT, OfDict(outputs))


def wired(make: Make) -> Make:
    """Return what makes such agents and wires them to an environment whose observations have members."""

    def made(seed: int) -> Any:
        agent = make(seed)
        agent.take_observation_space(DICT)
        return agent

    return made


def compiled(outputs: int) -> nn.Module:
    model: Any = torch.compile(dense(outputs), backend="eager")
    return model


def scripted(outputs: int) -> nn.Module:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        model: Any = torch.jit.script(dense(outputs))
    return model


def traced(outputs: int) -> nn.Module:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        model: Any = torch.jit.trace(dense(outputs), torch.zeros(1, 4))
    return model
