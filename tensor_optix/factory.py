"""A ready agent for an environment."""

import dataclasses
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.adapters._architecture import SMALLEST_IMAGE, Architecture
from tensor_optix.algorithms._builders import Builder, builder_for
from tensor_optix.algorithms._distributions import distribution_for
from tensor_optix.algorithms._dqn import DQN_HYPERPARAMS
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.algorithms._sac import SAC_HYPERPARAMS
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import HyperparamTable
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import InvalidArgumentError, MissingDependencyError, SpaceError
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.presets import preset_for
from tensor_optix.support.arguments import check_seed, is_whole

logger = logging.getLogger(__name__)

ALGORITHMS = ("ppo", "dqn", "sac")
FRAMEWORKS = ("tf", "torch")

_MODULES = {"tf": "tensorflow", "torch": "torch"}
_INSTALL = {"tf": "pip install 'tensorflow>=2.18'", "torch": "pip install 'tensor-optix[torch]'"}
_TABLES = {"ppo": PPO_HYPERPARAMS, "dqn": DQN_HYPERPARAMS, "sac": SAC_HYPERPARAMS}


def make_agent(
    env: str | gym.Env,
    algorithm: str = "auto",
    framework: str = "auto",
    hyperparams: Mapping[str, object] | HyperparamSet | None = None,
    seed: int | None = None,
    net_arch: Sequence[int] | None = None,
) -> BaseAgent:
    """Build an agent that fits `env`, with the field's usual networks, initialisation and hyper-parameters.

    PPO: actor and critic are separate tanh networks, 64-64 by default, orthogonal initialisation (√2 hidden, 0.01
    policy head, 1 value head), Adam with ε = 1e-5, a Gaussian policy with a free log_std for Box actions.
    DQN and SAC: relu networks, 256-256 by default, U(±1/√fan_in) initialisation; DQN is double and has the Huber loss.
    Images (uint8, three axes) go through the convolutions of the Nature DQN. Where an environment is known, its preset
    says otherwise.

    Args:
        env: environment, or its id; only its spaces and id are used.
        algorithm: `"ppo"`, `"dqn"`, `"sac"`, or `"auto"`: SAC for Box actions on vectors, PPO for all
            others.
        framework: `"tf"`, `"torch"`, or `"auto"`: TensorFlow if it is installed, else PyTorch.
        hyperparams: overrides of the preset.
        seed: seed of initialisation, exploration and minibatch order.
        net_arch: sizes of the hidden layers.

    Raises:
        InvalidArgumentError: an unknown algorithm or framework, a layer size below 1, or a negative seed.
        SpaceError: spaces that the algorithm cannot serve.
        MissingDependencyError: the framework is not installed.
    """
    check_seed(seed)
    made = make_environment(env)
    spaces_and_id = made.observation_space, made.action_space, made.spec.id if made.spec else ""
    if made is not env:
        made.close()
    observation_space, action_space, env_id = spaces_and_id
    algorithm = resolve_algorithm(algorithm, observation_space, action_space)
    framework = resolve_framework(framework)
    if net_arch is not None and not _are_sizes(net_arch):
        raise InvalidArgumentError(f"net_arch must be layer sizes of at least 1, e.g. (64, 64), but got {net_arch!r}.")
    preset = preset_for(env_id, algorithm)
    given = hyperparams.params if isinstance(hyperparams, HyperparamSet) else (hyperparams or {})
    params = HyperparamSet({**preset.hyperparams, **given})
    box = flat_observation_space(observation_space)
    hidden = tuple(int(size) for size in (preset.net_arch if net_arch is None else net_arch))
    if _is_image(box) and net_arch is None:
        hidden = ()  # the convolutions bring a dense layer of their own
    builder = builder_for(framework, None if seed is None else int(seed))
    if algorithm == "ppo":
        return _ppo(builder, box, action_space, hidden, params)
    if algorithm == "dqn":
        return _dqn(builder, box, action_space, hidden, params)
    return _sac(builder, box, action_space, hidden, params, preset.exploration_noise)


def _ppo(builder: Builder, box: spaces.Box, action_space: object, hidden: Sequence[int], params: Any) -> BaseAgent:
    distribution = distribution_for(action_space)
    outputs = None if distribution is None else distribution.output_size(action_space)
    if distribution is None or outputs is None:
        raise SpaceError(
            f"PPO cannot serve the action space {action_space}. Supported: Discrete from 0, MultiDiscrete, "
            f"MultiBinary, and Box with one axis of floats."
        )
    if distribution.name == "gaussian":
        outputs //= 2  # the rest is the free log_std
    shape = _architecture(box, hidden, outputs, activation="tanh", initial="orthogonal")
    actor = builder.network(dataclasses.replace(shape, head_gain=0.01))
    critic = builder.network(dataclasses.replace(shape, outputs=1))
    return builder.ppo(actor, critic, params, distribution)


def _dqn(builder: Builder, box: spaces.Box, action_space: object, hidden: Sequence[int], params: Any) -> BaseAgent:
    if not isinstance(action_space, spaces.Discrete) or action_space.start != 0:
        raise SpaceError(f"DQN serves Discrete actions from 0, but the space is {action_space}. Use PPO or SAC.")
    n_actions = int(action_space.n)
    network = builder.network(_architecture(box, hidden, n_actions, activation="relu", initial="uniform"))
    return builder.dqn(network, n_actions, params)


def _sac(
    builder: Builder, box: spaces.Box, action_space: Any, hidden: Sequence[int], params: Any, noise: str
) -> BaseAgent:
    is_flat_box = isinstance(action_space, spaces.Box) and len(action_space.shape) == 1
    if not is_flat_box or not np.issubdtype(action_space.dtype, np.floating):
        raise SpaceError(
            f"SAC serves Box actions with one axis of floats, but the space is {action_space}. Use PPO or DQN."
        )
    if len(box.shape) != 1:
        raise SpaceError(
            f"SAC joins observations and actions, so observations must be vectors, but the space is {box}. Flatten it "
            f"(gymnasium.wrappers.FlattenObservation), or use PPO."
        )
    size = action_space.shape[0]
    actor = _architecture(box, hidden, 2 * size, activation="relu", initial="uniform")
    critic = dataclasses.replace(actor, input_shape=(box.shape[0] + size,), outputs=1)
    return builder.sac([builder.network(a) for a in (actor, critic, critic)], size, params, noise)


def _architecture(box: spaces.Box, hidden: Sequence[int], outputs: int, **how: Any) -> Architecture:
    is_image = _is_image(box)
    if is_image and sorted(box.shape)[1] < SMALLEST_IMAGE:
        raise SpaceError(
            f"Images must be at least {SMALLEST_IMAGE} pixels high and wide for the Nature CNN, but the space is "
            f"{box}. Enlarge them (gymnasium.wrappers.ResizeObservation), or build your own networks."
        )
    return Architecture(input_shape=box.shape, hidden=hidden, outputs=outputs, is_image=is_image, **how)


def _is_image(box: spaces.Box) -> bool:
    return box.dtype == np.uint8 and len(box.shape) == 3


def _are_sizes(net_arch: object) -> bool:
    return isinstance(net_arch, Sequence) and all(is_whole(size) and size >= 1 for size in net_arch)


def resolve_algorithm(algorithm: str, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> str:
    """Return the given algorithm, or the one that `"auto"` stands for.

    That is SAC for Box actions on vectors, which it joins, and PPO for all others.
    """
    if algorithm != "auto" and algorithm not in ALGORITHMS:
        raise InvalidArgumentError(f"algorithm must be 'auto' or one of {ALGORITHMS}, but got {algorithm!r}.")
    if algorithm != "auto":
        return algorithm
    is_vector = len(flat_observation_space(observation_space).shape) == 1
    return "sac" if isinstance(action_space, spaces.Box) and is_vector else "ppo"


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
    return _TABLES[algorithm]


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
