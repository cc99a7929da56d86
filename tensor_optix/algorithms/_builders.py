"""Ready agents from networks, one builder per framework; each imports its framework when it is made."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from tensor_optix.adapters._architecture import Architecture, RecurrentArchitecture
from tensor_optix.adapters.backend import Model, Optimizer, Tensor
from tensor_optix.algorithms._distributions import Distribution
from tensor_optix.algorithms._dqn import DQN_HYPERPARAMS
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.algorithms._recurrent_ppo import RECURRENT_PPO_HYPERPARAMS
from tensor_optix.algorithms._sac import SAC_HYPERPARAMS
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import HyperparamTable
from tensor_optix.core.types import HyperparamSet


def builder_for(framework: str, seed: int | None, device: str = "cpu") -> "Builder":
    """Return what builds agents of a framework, `"tf"` or `"torch"`, from a seed, on a device.

    An agent stays on its device: whatever it does follows its weights.
    """
    if framework == "tf":
        return _TFBuilder(seed, device)
    return _TorchBuilder(seed, device)


class Builder(Protocol):
    """One framework's part of building an agent."""

    def placed(self) -> contextlib.AbstractContextManager[object]:
        """Return the context that everything is to be built in."""
        ...

    def network(self, architecture: Architecture) -> Model:
        """Return a network."""
        ...

    def on_one_trunk(self, architectures: Sequence[Architecture]) -> Sequence[Model]:
        """Return networks of images that share all layers but those of `Architecture.hidden` and the head."""
        ...

    def ppo(self, actor: Model, critic: Model, hyperparams: HyperparamSet, distribution: Distribution) -> BaseAgent:
        """Return a PPO agent; a Gaussian one's actor gets its free log_std here."""
        ...

    def recurrent_ppo(
        self, architecture: RecurrentArchitecture, hyperparams: HyperparamSet, distribution: Distribution
    ) -> BaseAgent:
        """Return a recurrent PPO agent."""
        ...

    def dqn(self, q_network: Model, n_actions: int, hyperparams: HyperparamSet) -> BaseAgent:
        """Return a DQN agent."""
        ...

    def sac(self, networks: Sequence[Model], action_dim: int, hyperparams: HyperparamSet, noise: str) -> BaseAgent:
        """Return a SAC agent of an actor and two critics."""
        ...


class _TorchBuilder:
    def __init__(self, seed: int | None, device: str) -> None:
        import torch

        self._seed, self._device = seed, torch.device(device)
        self._generator = torch.Generator()
        self._generator.manual_seed(seed if seed is not None else self._generator.seed() % 2**63)

    def placed(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()  # each part is moved: the same numbers are drawn for all devices

    def network(self, architecture: Architecture) -> Model:
        from tensor_optix.adapters.pytorch import _networks

        return _networks.build(architecture, self._generator).to(self._device)

    def on_one_trunk(self, architectures: Sequence[Architecture]) -> Sequence[Model]:
        import torch

        from tensor_optix.adapters.pytorch import _networks

        # A CPU makes the gradients of convolutions a quarter faster where weights have their channels last.
        layout = torch.channels_last if self._device.type == "cpu" else torch.preserve_format
        networks = _networks.on_one_trunk(architectures, self._generator)
        return [n.to(self._device, memory_format=layout) for n in networks]  # pyright: ignore[reportCallIssue]

    def ppo(self, actor: Model, critic: Model, hyperparams: HyperparamSet, distribution: Distribution) -> BaseAgent:
        from tensor_optix.adapters.pytorch._predictor import LogStd
        from tensor_optix.algorithms.torch_ppo import TorchPPOAgent

        if distribution.name == "gaussian":
            actor.append(LogStd(actor[-1].out_features).to(self._device))
        parameters = dict.fromkeys([*actor.parameters(), *critic.parameters()])  # those of a trunk once
        optimizer = _torch_adam(parameters, PPO_HYPERPARAMS, eps=1e-5)
        return TorchPPOAgent(actor, critic, optimizer, hyperparams, distribution=distribution, seed=self._seed)

    def recurrent_ppo(
        self, architecture: RecurrentArchitecture, hyperparams: HyperparamSet, distribution: Distribution
    ) -> BaseAgent:
        from tensor_optix.adapters.pytorch import _recurrent
        from tensor_optix.algorithms.torch_recurrent_ppo import TorchRecurrentPPOAgent

        network = _recurrent.build(architecture, self._generator).to(self._device)
        optimizer = _torch_adam(network.parameters(), RECURRENT_PPO_HYPERPARAMS, eps=1e-5)
        return TorchRecurrentPPOAgent(network, optimizer, hyperparams, distribution=distribution, seed=self._seed)

    def dqn(self, q_network: Model, n_actions: int, hyperparams: HyperparamSet) -> BaseAgent:
        from tensor_optix.algorithms.torch_dqn import TorchDQNAgent

        optimizer = _torch_adam(q_network.parameters(), DQN_HYPERPARAMS)
        return TorchDQNAgent(q_network, n_actions, optimizer, hyperparams, seed=self._seed)

    def sac(self, networks: Sequence[Model], action_dim: int, hyperparams: HyperparamSet, noise: str) -> BaseAgent:
        import torch

        from tensor_optix.algorithms.torch_sac import TorchSACAgent

        actor, critic1, critic2 = networks
        return TorchSACAgent(
            actor,
            critic1,
            critic2,
            action_dim,
            _torch_adam(actor.parameters(), SAC_HYPERPARAMS),
            _torch_adam([*critic1.parameters(), *critic2.parameters()], SAC_HYPERPARAMS),
            _torch_adam([torch.nn.Parameter(torch.zeros(1, device=self._device))], SAC_HYPERPARAMS),
            hyperparams,
            exploration_noise=noise,
            seed=self._seed,
        )


class _TFBuilder:
    def __init__(self, seed: int | None, device: str) -> None:
        self._seed, self._device = seed, device
        self._seeds = np.random.SeedSequence(seed)

    def placed(self) -> contextlib.AbstractContextManager[object]:
        from tensor_optix.adapters.tensorflow._placement import on

        return on(self._device)

    def network(self, architecture: Architecture) -> Model:
        from tensor_optix.adapters.tensorflow import _networks

        return _networks.build(architecture, self._seeds)

    def on_one_trunk(self, architectures: Sequence[Architecture]) -> Sequence[Model]:
        from tensor_optix.adapters.tensorflow import _networks

        return _networks.on_one_trunk(architectures, self._seeds)

    def ppo(self, actor: Model, critic: Model, hyperparams: HyperparamSet, distribution: Distribution) -> BaseAgent:
        from tensor_optix.adapters.tensorflow._adam import PaperAdam
        from tensor_optix.adapters.tensorflow._predictor import LogStd
        from tensor_optix.algorithms.tf_ppo import TFPPOAgent

        if distribution.name == "gaussian":
            actor.add(LogStd())
        optimizer = PaperAdam(_rate(PPO_HYPERPARAMS), epsilon=1e-5)
        return TFPPOAgent(actor, critic, optimizer, hyperparams, distribution=distribution, seed=self._seed)

    def recurrent_ppo(
        self, architecture: RecurrentArchitecture, hyperparams: HyperparamSet, distribution: Distribution
    ) -> BaseAgent:
        from tensor_optix.adapters.tensorflow import _recurrent
        from tensor_optix.adapters.tensorflow._adam import PaperAdam
        from tensor_optix.algorithms.tf_recurrent_ppo import TFRecurrentPPOAgent

        network = _recurrent.build(architecture, self._seeds)
        optimizer = PaperAdam(_rate(RECURRENT_PPO_HYPERPARAMS), epsilon=1e-5)
        return TFRecurrentPPOAgent(network, optimizer, hyperparams, distribution=distribution, seed=self._seed)

    def dqn(self, q_network: Model, n_actions: int, hyperparams: HyperparamSet) -> BaseAgent:
        from tensor_optix.adapters.tensorflow._adam import PaperAdam
        from tensor_optix.algorithms.tf_dqn import TFDQNAgent

        optimizer = PaperAdam(_rate(DQN_HYPERPARAMS), epsilon=1e-8)
        return TFDQNAgent(q_network, n_actions, optimizer, hyperparams, seed=self._seed)

    def sac(self, networks: Sequence[Model], action_dim: int, hyperparams: HyperparamSet, noise: str) -> BaseAgent:
        from tensor_optix.adapters.tensorflow._adam import PaperAdam
        from tensor_optix.algorithms.tf_sac import TFSACAgent

        actor, critic1, critic2 = networks
        return TFSACAgent(
            actor,
            critic1,
            critic2,
            action_dim,
            PaperAdam(_rate(SAC_HYPERPARAMS), epsilon=1e-8),
            PaperAdam(_rate(SAC_HYPERPARAMS), epsilon=1e-8),
            PaperAdam(_rate(SAC_HYPERPARAMS), epsilon=1e-8),
            hyperparams,
            exploration_noise=noise,
            seed=self._seed,
        )


def _rate(table: HyperparamTable) -> float:
    return table["learning_rate"].default


def _torch_adam(parameters: Iterable[Tensor], table: HyperparamTable, eps: float = 1e-8) -> Optimizer:
    import torch

    from tensor_optix.adapters.pytorch._without_compiler import without_compiler

    with without_compiler():
        return torch.optim.Adam(parameters, lr=_rate(table), eps=eps)
