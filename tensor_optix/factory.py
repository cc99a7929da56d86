"""A ready agent for an environment."""

import importlib.util
import itertools
import logging
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

logger = logging.getLogger(__name__)

ALGORITHMS = ("ppo",)
FRAMEWORKS = ("tf", "torch")

_MODULES = {"tf": "tensorflow", "torch": "torch"}
_INSTALL = {"tf": "pip install 'tensorflow>=2.18'", "torch": "pip install 'tensor-optix[torch]'"}
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
        framework: `"tf"`, `"torch"`, or `"auto"`: TensorFlow if it is installed, else PyTorch.
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
    sizes = (64, 64) if net_arch is None else tuple(net_arch) if isinstance(net_arch, Sequence) else (0,)
    if any(not isinstance(size, int) or size < 1 for size in sizes):
        raise InvalidArgumentError(f"net_arch must be layer sizes of at least 1, e.g. (64, 64), but got {net_arch!r}.")
    preset = preset_for(env_id, algorithm)
    given = hyperparams.params if isinstance(hyperparams, HyperparamSet) else (hyperparams or {})
    build = _tf_ppo if framework == "tf" else _torch_ppo
    return build(
        int(np.prod(observation_space.shape)),
        sizes,
        distribution.output_size(action_space) or 0,
        HyperparamSet({**preset.hyperparams, **given}),
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
    wanted = FRAMEWORKS if framework == "auto" else (framework,)
    for name in wanted:
        if importlib.util.find_spec(_MODULES[name]) is not None:
            return name
    raise MissingDependencyError(
        f"make_agent needs {' or '.join(_MODULES[name] for name in wanted)}. Install it with: "
        f"{' or '.join(_INSTALL[name] for name in wanted)}"
    )


def hyperparam_table(algorithm: str) -> HyperparamTable:
    """Return the hyper-parameters of an algorithm: defaults, ranges and meanings."""
    return _TABLES[resolve_algorithm(algorithm)]


def set_threads(framework: str, threads: int) -> None:
    """Bound the threads of a framework; small networks are fastest on one."""
    if threads < 1:
        raise InvalidArgumentError(f"threads must be at least 1, but got {threads!r}.")
    if resolve_framework(framework) == "tf":
        from tensor_optix.adapters.tensorflow._keras import tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:  # TensorFlow has started: what it started with stays
            if tf.config.threading.get_intra_op_parallelism_threads() != threads:
                logger.warning("TensorFlow has started already; its number of threads stays as it is.")
    else:
        import torch

        torch.set_num_threads(threads)


def _torch_ppo(
    observation_size: int,
    sizes: Sequence[int],
    output_size: int,
    hyperparams: HyperparamSet,
    distribution: str,
    seed: int | None,
) -> BaseAgent:
    import torch

    from tensor_optix.adapters.pytorch._predictor import LogStd
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent

    generator = torch.Generator()
    generator.manual_seed(seed if seed is not None else generator.seed() % 2**63)

    def network(size: int, head_gain: float) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise([observation_size, *sizes, size])):
            # Without the default initialisation, which would draw on the process's global generator.
            linear: Any = torch.nn.utils.skip_init(torch.nn.Linear, fan_in, fan_out)
            is_head = i == len(sizes)
            torch.nn.init.orthogonal_(linear.weight, head_gain if is_head else 2**0.5, generator=generator)
            torch.nn.init.zeros_(linear.bias)
            layers += [linear] if is_head else [linear, torch.nn.Tanh()]
        return torch.nn.Sequential(*layers)

    if distribution == "gaussian":
        actor = network(output_size // 2, 0.01).append(LogStd(output_size // 2))
    else:
        actor = network(output_size, 0.01)
    critic = network(1, 1.0)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], eps=1e-5)
    return TorchPPOAgent(actor, critic, optimizer, hyperparams, distribution=distribution, seed=seed)


def _tf_ppo(
    observation_size: int,
    sizes: Sequence[int],
    output_size: int,
    hyperparams: HyperparamSet,
    distribution: str,
    seed: int | None,
) -> BaseAgent:
    from tensor_optix.adapters.tensorflow._adam import PaperAdam
    from tensor_optix.adapters.tensorflow._keras import keras
    from tensor_optix.adapters.tensorflow._predictor import LogStd
    from tensor_optix.algorithms.tf_ppo import TFPPOAgent

    seeds = np.random.SeedSequence(seed)

    def network(size: int, head_gain: float) -> Any:
        layers = [keras.layers.Input((observation_size,))]
        for i, width in enumerate([*sizes, size]):
            is_head = i == len(sizes)
            orthogonal: Any = keras.initializers.Orthogonal(
                head_gain if is_head else 2**0.5, seed=int(seeds.spawn(1)[0].generate_state(1)[0])
            )
            layers.append(
                keras.layers.Dense(width, activation=None if is_head else "tanh", kernel_initializer=orthogonal)
            )
        return keras.Sequential(layers)

    if distribution == "gaussian":
        actor = network(output_size // 2, 0.01)
        actor.add(LogStd())
    else:
        actor = network(output_size, 0.01)
    critic = network(1, 1.0)
    optimizer = PaperAdam(epsilon=1e-5)
    return TFPPOAgent(actor, critic, optimizer, hyperparams, distribution=distribution, seed=seed)
