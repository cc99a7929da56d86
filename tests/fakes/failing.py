"""Environments that fail as they are told to, in the process that runs them."""

import os
import signal
import time
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.pipeline.environment.workers.serving import Order

HANG, KILL, RAISE, EXIT, FLOOD = 10, 11, 12, 13, 14
"""Actions after which an environment does not return, is killed, raises, ends its process, or prints much."""


class Walking(gym.Env):
    """Observation = (number, episode, step); reward = action; an episode has five steps; fails where an action says so.

    Args:
        number: of the environment.
        fails: what fails by itself: ("reset", n) in the n-th reset of a process, ("make", n) when it is made.
    """

    observation_space = gym.spaces.Box(-1.0, 2.0**31, (3,), np.float64)
    action_space = gym.spaces.Discrete(20)

    def __init__(self, number: int = 0, fails: tuple[str, int] = ("never", 0)) -> None:
        self.number, self.fails, self.episode, self.steps, self.resets = number, fails, 0, 0, 0

    def __str__(self) -> str:
        return f"<walking {self.number}>"

    def observe(self) -> np.ndarray:
        return np.array([self.number, self.episode, self.steps], np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self.resets += 1
        if self.fails == ("reset", self.resets):
            fail(RAISE)
        self.episode, self.steps = (seed if seed is not None else self.episode + 1), 0
        return self.observe(), {"begun": self.resets}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        fail(int(action))
        self.steps += 1
        return self.observe(), float(action), self.steps == 5, False, {}


def order_of(**others: Any) -> Order:
    """Return the order for one `Walking`, but for the parts that are given."""
    usual = Order(
        index=0,
        n_envs=1,
        observation_space=Walking.observation_space,
        action_space=Walking.action_space,
        autoreset=True,
        reset_tries=3,
        most_resident=None,
        warns=False,
    )
    return replace(usual, **others)


def fail(action: int) -> None:
    if action == HANG:
        time.sleep(3600.0)
    elif action == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == RAISE:
        raise LookupError("the cable is out")
    elif action == EXIT:
        os._exit(7)
    elif action == FLOOD:
        print("much" * 100_000, flush=True)


def walking(n: int) -> list[Any]:
    return [lambda i=i: Walking(i) for i in range(n)]
