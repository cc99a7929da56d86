"""`policy.json` of a snapshot: what its weights need besides, so that the policy can be built and played without code.

It holds the spaces of the environment, and what `make_agent` built the agent from. The
statistics of normalisation are in the snapshot's policy state. What is read is not trusted: kinds and sizes are bounded
before anything is built.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from gymnasium import spaces

from tensor_optix.algorithms._description import ALGORITHMS, FRAMEWORKS, AgentDescription
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.decisions.schedules import SCHEDULE_PATTERN
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.pipeline.environment.space_json import space_from_json, space_to_json
from tensor_optix.support.plain import jsonable
from tensor_optix.support.schemas import checked, decode_object

POLICY_FORMAT = 1
MAX_BYTES = 64 << 20  # a Box may have bounds of its own for each number of an observation
MAX_WEIGHTS = 1 << 28
"""Weights of dense layers that a file may ask for: a GiB."""

_Layer = Annotated[int, msgspec.Meta(ge=1, le=2**16)]
_Name = Annotated[str, msgspec.Meta(max_length=64)]
_Number = int | Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class _AgentFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    algorithm: _Name
    framework: _Name
    net_arch: Annotated[list[_Layer], msgspec.Meta(max_length=64)]
    hyperparams: dict[_Name, _Number | Annotated[str, msgspec.Meta(pattern=SCHEDULE_PATTERN)]]
    exploration_noise: _Name
    cell: Literal["lstm", "gru"] = "lstm"


class PolicyFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `policy.json` holds."""

    format: int
    agent_class: Annotated[str, msgspec.Meta(max_length=256)]
    agent: _AgentFile | None
    """None for one that was put together by hand."""
    observation_space: dict[str, object] | None
    action_space: dict[str, object] | None

    @property
    def description(self) -> AgentDescription | None:
        """What `build_agent` builds the agent from; None for one that was put together by hand."""
        if self.agent is None:
            return None
        fields = {name: getattr(self.agent, name) for name in self.agent.__struct_fields__}
        return AgentDescription(**{**fields, "net_arch": tuple(self.agent.net_arch)})

    def spaces(self) -> tuple[spaces.Space[object] | None, spaces.Space[object] | None]:
        """Return the spaces of observations and actions; None for one that the file does not tell."""
        given = (self.observation_space, self.action_space)
        observation, action = (None if data is None else space_from_json(data) for data in given)
        return observation, action


def policy_file_of(agent: BaseAgent, pipeline: BasePipeline) -> dict[str, object]:
    """Return what `policy.json` is to hold of a policy, as plain JSON values.

    Args:
        agent: whose policy is saved.
        pipeline: where it acts.
    """
    description, stream = getattr(agent, "description", None), _stream_of(pipeline)
    is_described = isinstance(description, AgentDescription)
    return {
        "format": POLICY_FORMAT,
        "agent_class": type(agent).__name__,
        "agent": jsonable(asdict(description)) if is_described else None,
        "observation_space": space_to_json(getattr(stream, "observation_space", None)),
        "action_space": space_to_json(getattr(stream, "action_space", None)),
    }


def _stream_of(pipeline: BasePipeline) -> object:
    """Return what has the spaces: a pipeline, the source of a live one, or the environment in that."""
    source: object = getattr(pipeline, "data_source", None)
    return pipeline if source is None else getattr(source, "env", source)


def read_policy_file(path: Path) -> PolicyFile:
    """Read a `policy.json`.

    Raises:
        CheckpointCorruptError: it is missing, damaged, or asks for more than any policy needs.
    """
    data = decode_object(read_plain(path, MAX_BYTES), repr(str(path)))
    if data.get("format") != POLICY_FORMAT:
        raise CheckpointCorruptError(f"{str(path)!r} has format {data.get('format')!r}, not {POLICY_FORMAT}.")
    file = checked(PolicyFile, data, f"{str(path)!r} is not as a run wrote it")
    if file.agent is not None:
        _check_agent(file, file.agent, str(path))
    return file


def check_algorithm(path: str, file: PolicyFile, agent: BaseAgent) -> None:
    """Raise `CheckpointMismatchError` where a policy is of one built-in algorithm, and an agent of another."""
    saved = _algorithm([file.agent_class])
    given = _algorithm([cls.__name__ for cls in type(agent).__mro__])
    if saved is not None and given is not None and saved != given:
        raise CheckpointMismatchError(
            f"{path!r} is a policy of {saved}, but the agent given is {type(agent).__name__}. Leave agent= out where "
            f"make_agent has built it, or pass one of {saved}."
        )


def _algorithm(classes: Sequence[str]) -> str | None:
    names = (re.fullmatch("(?:Torch|TF)(PPO|RecurrentPPO|DQN|SAC)Agent", name) for name in classes)
    return next((found[1] for found in names if found), None)


def _check_agent(file: PolicyFile, agent: _AgentFile, path: str) -> None:
    """Refuse an agent that is none of this library, or whose networks no policy has."""
    if agent.algorithm not in ALGORITHMS or agent.framework not in FRAMEWORKS:
        raise CheckpointCorruptError(
            f"{path!r} asks for {agent.algorithm!r} on {agent.framework!r}; there are {ALGORITHMS} on {FRAMEWORKS}."
        )
    observation, action = file.spaces()
    if observation is None or action is None:
        raise CheckpointCorruptError(f"{path!r} describes an agent, but not the spaces that it was built for.")
    inputs = math.prod(flat_observation_space(observation).shape)
    outputs = spaces.flatdim(action)
    weights = sum(a * b for a, b in itertools.pairwise([inputs, *agent.net_arch, outputs]))
    if agent.net_arch and weights > MAX_WEIGHTS:
        raise CheckpointCorruptError(f"{path!r} asks for {weights} weights; a policy has at most {MAX_WEIGHTS}.")
