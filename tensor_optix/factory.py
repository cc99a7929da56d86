"""A ready agent for an environment."""

import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.algorithms._distributions import distribution_for
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import HyperparamTable
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import InvalidArgumentError, MissingDependencyError, SpaceError
from tensor_optix.pipeline._environment import make_environment
from tensor_optix.presets import preset_for

ALGORITHMS = ("ppo",)
FRAMEWORKS = ("torch",)

_TABLES = {"ppo": PPO_HYPERPARAMS}


def make_agent(
    env: str | gym.Env,
    algorithm: str = "auto",
    framework: str = "auto",
    hyperparams: Mapping[str, Any] | HyperparamSet | None = None,
    seed: int | None = None,
    net_arch: Sequence[int] | None = None,
) -> BaseAgent:
    """Build an agent that fits `env`, with the field's usual networks, initialisation and hyper-parameters.

    PPO: actor and critic are separate tanh networks, 64-64 by default, orthogonal initialisation (√2 hidden, 0.01
    policy head, 1 value head), Adam with ε = 1e-5, a Gaussian policy with a free log_std for Box actions.

    Args:
        env: environment, or its id; only its spaces and id are used.
        algorithm: `"auto"` or `"ppo"`.
        framework: `"auto"` or `"torch"`.
        hyperparams: overrides of the preset.
        seed: seed of initialisation, exploration and minibatch order.
        net_arch: sizes of the hidden layers.

    Raises:
        InvalidArgumentError: an unknown algorithm or framework, or a layer size below 1.
        SpaceError: spaces that no algorithm here can serve.
        MissingDependencyError: the framework is not installed.
    """
    algorithm, framework = resolve_algorithm(algorithm), resolve_framework(framework)
    made = make_environment(env)
    observation_space, action_space, env_id = (
        made.observation_space,
        made.action_space,
        made.spec.id if made.spec else "",
    )
    if made is not env:
        made.close()
    distribution = distribution_for(action_space)
    if distribution is None:
        raise SpaceError(
            f"No algorithm here serves the action space {action_space}. Supported: Discrete, and Box with one axis of "
            f"floats."
        )
    if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
        raise SpaceError(
            f"make_agent builds networks for observations that are one vector, but the space is {observation_space}. "
            f"Wrap the environment in gymnasium.wrappers.FlattenObservation, or build your own networks."
        )
    sizes = tuple(net_arch) if net_arch is not None else (64, 64)
    if any(size < 1 for size in sizes):
        raise InvalidArgumentError(f"net_arch must be layer sizes of at least 1, but got {net_arch!r}.")
    preset = preset_for(env_id, algorithm)
    given = hyperparams.params if isinstance(hyperparams, HyperparamSet) else (hyperparams or {})
    return _torch_ppo(
        int(np.prod(observation_space.shape)),
        action_space,
        sizes,
        {**preset.hyperparams, **given},
        distribution.name,
        seed,
    )


def resolve_algorithm(algorithm: str) -> str:
    """Return the algorithm that `"auto"` stands for, or the given one."""
    if algorithm != "auto" and algorithm not in ALGORITHMS:
        raise InvalidArgumentError(f"algorithm must be 'auto' or one of {ALGORITHMS}, but got {algorithm!r}.")
    return "ppo" if algorithm == "auto" else algorithm


def resolve_framework(framework: str) -> str:
    """Return the framework that `"auto"` stands for, or the given one, if it is installed."""
    if framework != "auto" and framework not in FRAMEWORKS:
        raise InvalidArgumentError(f"framework must be 'auto' or one of {FRAMEWORKS}, but got {framework!r}.")
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError("make_agent needs PyTorch. Install it with: pip install 'tensor-optix[torch]'")
    return "torch"


def hyperparam_table(algorithm: str) -> HyperparamTable:
    """Return the hyper-parameters of an algorithm: defaults, ranges and meanings."""
    return _TABLES[resolve_algorithm(algorithm)]


def set_threads(framework: str, threads: int) -> None:
    """Bound the threads of a framework; small networks are fastest on one."""
    if threads < 1:
        raise InvalidArgumentError(f"threads must be at least 1, but got {threads!r}.")
    resolve_framework(framework)
    import torch

    torch.set_num_threads(threads)


def _torch_ppo(
    observation_size: int,
    action_space: spaces.Space[Any],
    sizes: Sequence[int],
    hyperparams: dict[str, Any],
    distribution: str,
    seed: int | None,
) -> BaseAgent:
    import torch

    from tensor_optix.adapters.pytorch._predictor import LogStd
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent

    generator = torch.Generator()
    generator.manual_seed(seed if seed is not None else generator.seed() % 2**63)

    def network(output_size: int, head_gain: float) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = []
        widths = [observation_size, *sizes, output_size]
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            linear = torch.nn.Linear(fan_in, fan_out)
            is_head = i == len(sizes)
            torch.nn.init.orthogonal_(linear.weight, head_gain if is_head else 2**0.5, generator=generator)
            torch.nn.init.zeros_(linear.bias)
            layers += [linear] if is_head else [linear, torch.nn.Tanh()]
        return torch.nn.Sequential(*layers)

    if distribution == "gaussian":
        n_actions = int(action_space.shape[0])  # type: ignore[index]
        actor = network(n_actions, 0.01).append(LogStd(n_actions))
    else:
        actor = network(int(action_space.n), 0.01)  # type: ignore[attr-defined]
    critic = network(1, 1.0)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], eps=1e-5)
    return TorchPPOAgent(actor, critic, optimizer, HyperparamSet(hyperparams), distribution=distribution, seed=seed)
