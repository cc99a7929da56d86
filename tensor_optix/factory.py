"""A ready agent for an environment."""

import dataclasses
import importlib.util
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from threadpoolctl import threadpool_limits

from tensor_optix._algorithm_choice import resolve_algorithm as resolve_algorithm
from tensor_optix._hyperparam_names import hyperparam_table as hyperparam_table
from tensor_optix._hyperparam_names import refuse_unknown
from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.adapters._architecture import SMALLEST_IMAGE, Architecture, RecurrentArchitecture
from tensor_optix.adapters._checks import refuse_missing_bounds
from tensor_optix.algorithms._builders import Builder, builder_for
from tensor_optix.algorithms._description import ALGORITHMS as ALGORITHMS
from tensor_optix.algorithms._description import CELLS as CELLS
from tensor_optix.algorithms._description import FRAMEWORKS as FRAMEWORKS
from tensor_optix.algorithms._description import AgentDescription
from tensor_optix.algorithms._devices import resolve_device as resolve_device
from tensor_optix.algorithms._distributions import Distribution, distribution_for
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.decisions.schedules import taken_apart
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import InvalidArgumentError, MissingDependencyError, SpaceError
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.pipeline.environment.own_code import EnvLike
from tensor_optix.presets import Preset, preset_for
from tensor_optix.support.arguments import check_seed, is_whole

logger = logging.getLogger(__name__)

_MODULES = {"tf": "tensorflow", "torch": "torch"}
_INSTALL = {"tf": "pip install 'tensorflow>=2.18'", "torch": "pip install 'tensor-optix-core[torch]'"}


def make_agent(
    env: EnvLike,
    algorithm: str = "auto",
    framework: str = "auto",
    hyperparams: Mapping[str, object] | HyperparamSet | None = None,
    seed: int | None = None,
    net_arch: Sequence[int] | None = None,
    *,
    cell: str = "lstm",
    device: str = "auto",
) -> BaseAgent:
    """Build an agent that fits `env`, with the field's usual networks, initialisation and hyper-parameters.

    PPO: actor and critic are separate tanh networks, 64-64 by default, orthogonal initialisation (√2 hidden, 0.01
    policy head, 1 value head), Adam with ε = 1e-5, a Gaussian policy with a free log_std for Box actions.
    Recurrent PPO: policy and value each have an LSTM or a GRU of 64 and a tanh layer of 64, else as PPO.
    DQN and SAC: relu networks, 256-256 by default, U(±1/√fan_in) initialisation; DQN is double and has the Huber loss.
    Images (uint8, three axes) go through the convolutions of the Nature DQN and a dense layer of 512, which PPO's actor
    and critic share. Where an environment is known, its preset says otherwise.

    Args:
        env: environment, its id, or a class or function that makes one; only its spaces, id and time limit are used.
        algorithm: `"ppo"`, `"recurrent_ppo"`, `"dqn"`, `"sac"`, or `"auto"`: SAC for bounded Box actions on vectors,
            DQN for numbered observations and actions without a time limit, PPO for all others.
        framework: `"tf"`, `"torch"`, or `"auto"`: TensorFlow if it is installed, else PyTorch.
        hyperparams: overrides of the preset, by the names of the algorithm's table; `"lin_3e-4"` falls to 0 over the
            length of the run (`decisions.schedules`).
        seed: seed of initialisation, exploration and minibatch order.
        net_arch: sizes of the hidden layers; of recurrent PPO, the first is that of its memory.
        cell: `"lstm"` or `"gru"`, of recurrent PPO.
        device: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where the framework finds a GPU.

    Raises:
        InvalidArgumentError: an unknown algorithm, framework or device, a layer size below 1, or a negative seed.
        HyperparamError: a name that is not in the table, or a value out of its range.
        SpaceError: spaces that the algorithm cannot serve.
        MissingDependencyError: the framework is not installed.
        DeviceError: the framework finds no GPU.
    """
    check_seed(seed)
    made = make_environment(env)
    observation_space, action_space, env_id = (
        made.observation_space,
        made.action_space,
        made.spec.id if made.spec else "",
    )
    try:
        algorithm = resolve_algorithm(algorithm, made)
    finally:
        if made is not env:
            made.close()
    framework = resolve_framework(framework)
    device = resolve_device(device, framework)
    if net_arch is not None and not _are_sizes(net_arch):
        raise InvalidArgumentError(f"net_arch must be layer sizes of at least 1, e.g. (64, 64), but got {net_arch!r}.")
    if cell not in CELLS:
        raise InvalidArgumentError(f"cell must be one of {CELLS}, but got {cell!r}.")
    preset = preset_for(env_id, algorithm)
    given = hyperparams.params if isinstance(hyperparams, HyperparamSet) else (hyperparams or {})
    refuse_unknown(given, algorithm, "make_agent(hyperparams=...)")
    params = HyperparamSet({**preset.hyperparams, **given})
    description = AgentDescription(
        algorithm=algorithm,
        framework=framework,
        net_arch=tuple(map(int, _usual_layers(preset, observation_space) if net_arch is None else net_arch)),
        hyperparams=params.params,
        exploration_noise=preset.exploration_noise,
        cell=cell,
    )
    return build_agent(description, observation_space, action_space, seed, device)


def build_agent(
    description: AgentDescription,
    observation_space: spaces.Space[object],
    action_space: object,
    seed: int | None = None,
    device: str = "cpu",
) -> BaseAgent:
    """Build the agent that a description and the spaces of its environment stand for; see `make_agent`.

    Args:
        description: what `make_agent` has resolved.
        observation_space: of the environment.
        action_space: of the environment.
        seed: seed of initialisation, exploration and minibatch order.
        device: where its weights are, `"cpu"` or `"cuda"`.
    """
    builder = builder_for(description.framework, None if seed is None else int(seed), device)
    params, schedules = taken_apart(description.hyperparams, hyperparam_table(description.algorithm).owner)
    with builder.placed():
        box = flat_observation_space(observation_space)
        agent = _agent(builder, description, box, action_space, HyperparamSet(params))
    if isinstance(agent, BuiltInAgent):
        agent.description, agent.schedules = description, schedules
    return agent


def _agent(
    builder: Builder, description: AgentDescription, box: spaces.Box, action_space: object, params: HyperparamSet
) -> BaseAgent:
    hidden = description.net_arch
    if description.algorithm == "ppo":
        return _ppo(builder, box, action_space, hidden, params)
    if description.algorithm == "recurrent_ppo":
        return _recurrent_ppo(builder, box, action_space, hidden, params, description.cell)
    if description.algorithm == "dqn":
        return _dqn(builder, box, action_space, hidden, params)
    return _sac(builder, box, action_space, hidden, params, description.exploration_noise)


def _usual_layers(preset: Preset, observation_space: spaces.Space[object]) -> Sequence[int]:
    """Return the hidden layers where the user does not say; the convolutions bring a dense layer of their own."""
    return () if _is_image(flat_observation_space(observation_space)) else preset.net_arch


def _ppo(
    builder: Builder, box: spaces.Box, action_space: object, hidden: Sequence[int], params: HyperparamSet
) -> BaseAgent:
    distribution, outputs = _distribution(action_space)
    shape = _architecture(box, hidden, outputs, activation="tanh", initial="orthogonal")
    both = dataclasses.replace(shape, head_gain=0.01), dataclasses.replace(shape, outputs=1)
    actor, critic = builder.on_one_trunk(both) if shape.is_image else map(builder.network, both)
    return builder.ppo(actor, critic, params, distribution)


def _recurrent_ppo(
    builder: Builder, box: spaces.Box, action_space: object, hidden: Sequence[int], params: HyperparamSet, cell: str
) -> BaseAgent:
    distribution, outputs = _distribution(action_space)
    size, *rest = hidden or (512,)
    plain = _architecture(box, (), 1, activation="tanh", initial="orthogonal")
    head = dataclasses.replace(
        plain, input_shape=(size,), hidden=tuple(rest), outputs=outputs, head_gain=0.01, is_image=False
    )
    architecture = RecurrentArchitecture(
        head=head,
        input_shape=box.shape,
        cell="gru" if cell == "gru" else "lstm",
        has_log_std=distribution.name == "gaussian",
        is_image=plain.is_image,
    )
    return builder.recurrent_ppo(architecture, params, distribution)


def _distribution(action_space: object) -> tuple[Distribution, int]:
    """Return what serves an action space, and how many of its parameters come from the network, not a free log_std."""
    distribution = distribution_for(action_space)
    outputs = None if distribution is None else distribution.output_size(action_space)
    if distribution is None or outputs is None:
        raise _refused("PPO serves Discrete, MultiDiscrete, MultiBinary and Box actions of floats", action_space)
    return distribution, outputs // 2 if distribution.name == "gaussian" else outputs


def _dqn(
    builder: Builder, box: spaces.Box, action_space: object, hidden: Sequence[int], params: HyperparamSet
) -> BaseAgent:
    if not isinstance(action_space, spaces.Discrete):
        raise _refused("DQN serves Discrete actions", action_space)
    n_actions = int(action_space.n)
    network = builder.network(_architecture(box, hidden, n_actions, activation="relu", initial="uniform"))
    return builder.dqn(network, n_actions, params)


def _sac(
    builder: Builder, box: spaces.Box, action_space: object, hidden: Sequence[int], params: HyperparamSet, noise: str
) -> BaseAgent:
    if not isinstance(action_space, spaces.Box) or not np.issubdtype(action_space.dtype, np.floating):
        raise _refused("SAC serves Box actions of floats", action_space)
    refuse_missing_bounds(action_space)
    if len(box.shape) != 1:
        raise SpaceError(
            f"SAC joins observations and actions, so observations must be vectors, but the space is {box}. Flatten it "
            f"(gymnasium.wrappers.FlattenObservation), or use PPO."
        )
    size = math.prod(action_space.shape)
    actor = _architecture(box, hidden, 2 * size, activation="relu", initial="uniform")
    critic = dataclasses.replace(actor, input_shape=(box.shape[0] + size,), outputs=1)
    return builder.sac([builder.network(a) for a in (actor, critic, critic)], size, params, noise)


def _refused(rule: str, action_space: object) -> SpaceError:
    """Return the error for an action space that an algorithm cannot serve, with what can be done about it."""
    if isinstance(action_space, spaces.Discrete):
        remedy = "Use DQN or PPO."
    elif distribution_for(action_space) is not None:
        remedy = "Use PPO."
    elif isinstance(action_space, spaces.Box):
        remedy = (
            "Make whole numbers choices: gymnasium.wrappers.TransformAction(env, lambda action: action + low, "
            "MultiDiscrete(high - low + 1)), and use PPO."
        )
    else:
        remedy = (
            "Make it one array: gymnasium.wrappers.TransformAction(env, function, space) with a Discrete, "
            "MultiDiscrete, MultiBinary or Box space, and a function that makes an action of the environment's from "
            "one of that space."
        )
    return SpaceError(f"{rule}, but the space is {action_space}. {remedy}")


def _architecture(box: spaces.Box, hidden: Sequence[int], outputs: int, **how: Any) -> Architecture:
    is_image = _is_image(box)
    if is_image and sorted(box.shape)[1] < SMALLEST_IMAGE:
        raise SpaceError(
            f"Images must be at least {SMALLEST_IMAGE} pixels high and wide for the Nature CNN, but the space is "
            f"{box}. If they are pictures, enlarge them (gymnasium.wrappers.ResizeObservation); a small grid of "
            f"symbols is learned flat (gymnasium.wrappers.FlattenObservation, or --wrapper "
            f"gymnasium.wrappers:FlattenObservation)."
        )
    return Architecture(input_shape=box.shape, hidden=hidden, outputs=outputs, is_image=is_image, **how)


def _is_image(box: spaces.Box) -> bool:
    return box.dtype == np.uint8 and len(box.shape) == 3


def _are_sizes(net_arch: object) -> bool:
    return isinstance(net_arch, Sequence) and all(is_whole(size) and size >= 1 for size in net_arch)


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


def set_threads(framework: str, threads: int) -> None:
    """Bound the threads of a framework, and of numpy's matrix products; small networks are fastest on one.

    Of a GPU's memory TensorFlow takes what it needs from then on, and not all: several runs share one.
    """
    if threads < 1:
        raise InvalidArgumentError(f"threads must be at least 1, but got {threads!r}.")
    threadpool_limits(threads, "blas")  # policies act in numpy, and PyTorch's dense updates are made there
    if resolve_framework(framework) == "tf":
        from tensor_optix.adapters.tensorflow._keras import tf

        try:
            for gpu in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(gpu, True)
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:  # TensorFlow has started: what it started with stays
            if tf.config.threading.get_intra_op_parallelism_threads() != threads:
                logger.warning("TensorFlow has started already; its number of threads stays as it is.")
    else:
        from tensor_optix.adapters.pytorch._torch import torch

        torch.set_num_threads(threads)
