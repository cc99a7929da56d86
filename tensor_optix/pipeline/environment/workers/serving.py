"""What runs in a worker: one environment, which does what it is asked to until its channel closes."""

import json
import os
import resource
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from typing import Any

from gymnasium import spaces

from tensor_optix.core.types import Info, Observation
from tensor_optix.pipeline.environment.episodes import described
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.functions import SpecError, unpickled, unpickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory, read, row_of, written
from tensor_optix.support.memory import private_memory, resident_memory
from tensor_optix.support.trees import Tree

FAILED, ENDED = 1, 0
"""Exit codes."""
MAKING, IMPORTING = "making", "importing"
"""Where a worker can fail before it is asked for anything."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker is to serve."""

    index: int
    """Its row in the memory."""
    n_envs: int
    """Rows."""
    observation_space: spaces.Space[object]
    action_space: spaces.Space[object]
    autoreset: bool
    """Reset in the step that ends an episode."""
    reset_tries: int
    """Resets that may be bad in a row."""
    most_resident: int | None
    """Bytes of resident memory from which a worker takes no further episode; None = no bound."""
    warns: bool


def work(channel: socket.socket, descriptor: int) -> int:
    """Serve an environment, and return the exit code of the process.

    Args:
        channel: to whom it belongs.
        descriptor: of the memory that both share.
    """
    doing = [IMPORTING]
    try:
        _take_place(wire.read_request(channel)[1])
        order, function = unpickled_value(wire.read_request(channel)[1])
        make = unpickled(function)
        doing[0] = MAKING
        env = SeededEpisodes(make(), order.warns, reset_tries=order.reset_tries)
        memory = SharedMemory(order.observation_space, order.action_space, order.n_envs, descriptor)
        served = Served(channel, env, order, memory, doing)
        served.introduce()
        while served.answer(*wire.read_request(channel)):
            continue
    except wire.ClosedError:
        return ENDED  # nobody asks any more
    except SpecError as error:
        _report(channel, IMPORTING, error.__cause__ or error)
        return FAILED
    except BaseException as error:
        _report(channel, doing[0], error)
        return FAILED
    return ENDED


class Served:
    """An environment and its rows in the memory.

    Args:
        channel: to whom it belongs.
        env: the environment.
        order: how it is served.
        memory: where its rows are.
        doing: its only item is kept at what is being done, in words.
    """

    def __init__(
        self, channel: socket.socket, env: SeededEpisodes, order: Order, memory: SharedMemory, doing: list[str]
    ) -> None:
        self._channel, self._env, self._order, self._doing = channel, env, order, doing
        self._observation, self._final, self._action = (
            row_of(tree, order.index) for tree in (memory.observations, memory.finals, memory.actions)
        )

    def introduce(self) -> None:
        """Say that the environment is made, whether it has the spaces that it should have, and what it takes."""
        env, order = self._env, self._order
        told = {
            "name": str(env),
            "same_observations": bool(env.observation_space == order.observation_space),
            "same_actions": bool(env.action_space == order.action_space),
            "memory": private_memory(),
        }
        wire.send_reply(self._channel, wire.DONE, value=told)

    def answer(self, kind: bytes, payload: bytes) -> bool:
        """Do what a request asks for, and reply; return whether there may be others."""
        self._doing[0] = _NAMES[kind]
        if kind == wire.STEP:
            self._step(payload)
        elif kind == wire.RESET:
            self._reset(**unpickled_value(payload))
        elif kind == wire.CALL:
            name, arguments, keywords = unpickled_value(payload)
            found = self._env.get_wrapper_attr(name)
            self._reply_value(found(*arguments, **keywords) if callable(found) else found)
        elif kind == wire.SET:
            self._env.set_wrapper_attr(*unpickled_value(payload))
            self._reply_value(True)
        else:
            self._env.close()
            wire.send_reply(self._channel, wire.DONE)
        return kind != wire.CLOSE

    def _reply_value(self, value: object) -> None:
        try:
            wire.send_reply(self._channel, wire.DONE, value=[value])
        except wire.UnsendableError:
            wire.send_reply(self._channel, wire.DONE, value=[None, type(value).__name__])

    def _reset(self, after: tuple[int | None, int] | None = None, **arguments: Any) -> None:
        if after is not None:
            self._env.go_on_after(*after)
        observation, info = self._env.reset(**arguments)
        self._reply(self._observation, observation, info)

    def _step(self, payload: bytes) -> None:
        action = unpickled_value(payload) if payload else read(self._action)
        observation, reward, terminated, truncated, info = self._env.step(action)
        flags = wire.TERMINATED * bool(terminated) | wire.TRUNCATED * bool(truncated)
        most = self._order.most_resident
        if flags and most is not None and resident_memory() > most:
            flags |= wire.IS_FULL
        if not (flags and self._order.autoreset):
            self._reply(self._observation, observation, info, flags, float(reward))
            return
        # The step is whole, whatever comes of the reset: so it is told before.
        self._reply(self._final, observation, info, flags, float(reward))
        if not flags & wire.IS_FULL:
            self._doing[0] = "reset"
            self._reset()

    def _reply(self, row: Tree, observation: Observation, info: Info, flags: int = 0, reward: float = 0.0) -> None:
        seen = None
        if row is None:
            seen = self._order.observation_space.to_jsonable([observation])
        else:
            written(row, observation)
        told, number = [info, seen] if info or row is None else None, self._env.number
        try:
            wire.send_reply(self._channel, wire.DONE, flags, reward, number, told)
        except wire.UnsendableError:
            wire.send_reply(self._channel, wire.DONE, flags, reward, number, [wire.sendable(info), seen])


_NAMES = {wire.STEP: "step", wire.RESET: "reset", wire.CALL: "call", wire.SET: "set_attr", wire.CLOSE: "close"}


def _take_place(payload: bytes) -> None:
    """Be where the asking process is: its folder, its path of modules, its variables."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one that dies on and on would fill the disk
    place = json.loads(payload)
    sys.path[:] = place["path"]
    os.environ.clear()
    os.environ.update(place["variables"])
    if place["folder"] is not None:
        os.chdir(place["folder"])


def _report(channel: socket.socket, doing: str, error: BaseException) -> None:
    told = {"doing": doing, "error": described(error)[:2000], "trace": traceback.format_exc()[-8000:]}
    try:
        channel.settimeout(1.0)
        wire.send_reply(channel, wire.RAISED, value=told)
    except OSError:  # nobody listens
        pass
