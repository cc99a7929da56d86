"""What a worker says, seen from the other end of its channel, without a process."""

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tensor_optix.pipeline.environment.workers import serving, wire
from tensor_optix.pipeline.environment.workers.functions import pickled, pickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory
from tensor_optix.pipeline.environment.workers.serving import Served
from tests.fakes.failing import Walking, order_of


class Talking(Walking):
    observation_space = spaces.Text(20)

    def observe(self) -> Any:
        return f"episode {self.episode}"

    def step(self, action: int) -> Any:
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, {"lock": threading.Lock(), "steps": self.steps}


class Rig:
    def __init__(self, env: gym.Env, most_resident: int | None = None, autoreset: bool = True) -> None:
        space = env.observation_space
        order = order_of(index=1, n_envs=2, observation_space=space, autoreset=autoreset, most_resident=most_resident)
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(5.0)
        self.memory = SharedMemory(space, Walking.action_space, 2)
        self.served, self.theirs = Served(theirs, SeededEpisodes(env), order, self.memory, [""]), theirs

    def ask(self, kind: bytes, payload: object = None) -> wire.Reply:
        self.served.answer(kind, b"" if payload is None else pickled_value(payload))
        return self.reply()

    def reply(self) -> wire.Reply:
        return wire.read_reply(self.channel)

    def step(self, action: int) -> wire.Reply:
        self.memory.actions[1] = action
        return self.ask(wire.STEP)

    def close(self) -> None:
        self.memory.close()
        self.channel.close()
        self.theirs.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(Walking(4))
    yield made
    made.close()


def test_the_step_that_ends_an_episode_is_told_before_the_reset(rig: Rig) -> None:
    assert rig.ask(wire.RESET, {"seed": 7}).number == 0
    replies = [rig.step(1) for _ in range(5)]
    assert [reply.has_ended for reply in replies] == [False] * 4 + [True]
    assert rig.memory.finals[1].tolist() == [4, 7, 5]
    after = rig.reply()
    assert (after.number, after.value) == (1, [{"begun": 2}, None])
    assert rig.memory.observations[1].tolist()[2] == 0
    assert rig.memory.observations[0].tolist() == [0, 0, 0]  # another one's


def test_it_goes_on_after_the_episode_that_it_is_told(rig: Rig) -> None:
    begun = rig.ask(wire.RESET, {"after": (7, 3)})
    with_seed = rig.memory.observations[1].tolist()
    other = Rig(Walking(4))
    other.ask(wire.RESET, {"seed": 7})
    for _ in range(4):
        reply = other.ask(wire.RESET, {})
    assert (begun.number, with_seed) == (reply.number, other.memory.observations[1].tolist())
    other.close()


def test_one_that_has_grown_too_large_takes_no_further_episode() -> None:
    rig = Rig(Walking(), most_resident=1)
    rig.ask(wire.RESET, {})
    assert [rig.step(1).flags for _ in range(5)][-1] == wire.TERMINATED | wire.IS_FULL
    rig.channel.settimeout(0.01)
    with pytest.raises(TimeoutError):
        rig.reply()
    rig.close()


def test_what_has_no_place_in_the_memory_is_said_and_what_cannot_be_said_is_named() -> None:
    rig = Rig(Talking(), autoreset=False)
    assert rig.ask(wire.RESET, {"seed": 1}).value == [{"begun": 1}, ["episode 1"]]
    assert rig.step(2).value == [{"steps": 1, wire.LEFT_OUT: ("lock (lock)",)}, ["episode 1"]]
    rig.close()


def test_attributes_are_read_called_and_set(rig: Rig) -> None:
    assert rig.ask(wire.CALL, ("number", (), {})).value == [0]  # the wrapper's: of the episode
    assert rig.ask(wire.SET, ("steps", 3)).value == [True]
    assert rig.ask(wire.CALL, ("steps", (), {})).value == [3]
    assert np.array_equal(rig.ask(wire.CALL, ("observe", (), {})).value[0], [4, 0, 3])
    assert rig.ask(wire.CALL, ("observation_space", (), {})).value == [None, "Box"]


def test_a_request_that_is_none_is_an_error(rig: Rig) -> None:
    with pytest.raises(KeyError):
        rig.served.answer(b"?", b"")


def test_it_works_until_nobody_asks_and_reports_what_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.signal, "signal", lambda *_: None)  # this is no process of its own
    monkeypatch.setattr(serving.resource, "setrlimit", lambda *_: None)
    ours, theirs = socket.socketpair()
    memory = SharedMemory(Walking.observation_space, Walking.action_space, 1)
    place = {"path": sys.path, "variables": dict(os.environ), "folder": None}
    wire.send_request(ours, wire.PLACE, json.dumps(place).encode())
    wire.send_request(ours, wire.MAKE, pickled_value((order_of(), pickled(lambda: Walking(0, ("reset", 1))))))
    wire.send_request(ours, wire.RESET, pickled_value({}))
    assert serving.work(theirs, os.dup(memory.descriptor)) == serving.FAILED
    assert wire.read_reply(ours).value["name"] == "<walking 0>"
    told = wire.read_reply(ours).value
    assert (told["doing"], told["error"]) == ("reset", "LookupError: the cable is out")
    assert "in fail" in told["trace"]
    for end in (ours, theirs):
        end.close()
    memory.close()
