"""G24: the memory of an agent that learns stays flat over thousands of windows."""

import ctypes
import gc
import os
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, make_agent
from tests.conftest import Goal
from tests.soak.resident import resident_kib

WINDOWS, WARM_UP, SAMPLES = 5_000, 500, 20
MOST, LEAK = 1.0, 0.5
"""KiB per window: what is promised, and what is planted."""


class _InUse(ctypes.Structure):
    """What `mallinfo2` returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905
    ]


def allocated_kib() -> float:
    """What was allocated and not freed: a small leak would first fill what others have freed, and not be resident."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _InUse
    found = mallinfo()
    return (found.uordblks + found.hblkhd) / 1024


def slope_of(samples: list[float], windows_between: float) -> float:
    """Median of all pairwise slopes (Theil-Sen), in KiB per window: a few jumps of the allocator do not move it."""
    pairs = [(b - a) / (j - i) for i, a in enumerate(samples) for j, b in enumerate(samples) if j > i]
    return float(np.median(pairs)) / windows_between


def measure(framework: str, leaks: bool) -> float:
    """Learn in this process and return the growth of its memory, resident or allocated, in KiB per window."""
    agent: Any = make_agent("CartPole-v1", framework=framework, seed=0, net_arch=(16,), hyperparams={"n_epochs": 2})
    windows = BatchPipeline(gym.make("CartPole-v1"), agent, window_size=64, seed=0).episodes()
    samples: list[tuple[float, float]] = []
    leak: list[bytes] = []
    every = (WINDOWS - WARM_UP) // SAMPLES
    for i in range(WINDOWS):
        agent.learn(next(windows))
        if leaks:
            leak.append(b"x" * (int(LEAK * 1024) + i % 2))  # written to, or it would not be resident
        if i >= WARM_UP and (i - WARM_UP) % every == 0:
            gc.collect()
            samples.append((resident_kib(), allocated_kib()))
    return max(slope_of(list(witness), every) for witness in zip(*samples, strict=True))


def growth(framework: str, leaks: bool = False) -> float:
    """Measure in a separate process, all of whose allocations `malloc` knows of."""
    command = [sys.executable, "-m", "tests.soak.test_memory", framework, *(["leak"] if leaks else [])]
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603
    return float(done.stdout)


def is_told_what_is_allocated() -> bool:
    """Whether the C library has `mallinfo2`: that of Linux since 2021."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


needs_mallinfo = pytest.mark.skipif(not is_told_what_is_allocated(), reason="needs glibc's mallinfo2")


@needs_mallinfo
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_learning_for_5000_windows_does_not_grow(framework: str, goal: Goal) -> None:
    slope = growth(framework)
    promised = f"<= {MOST:g} KiB per window over {WINDOWS:,} windows"
    goal(f"G24 {framework}", promised, f"{slope:+.4f} KiB per window", slope <= MOST)
    assert slope < LEAK / 2  # so that the planted leak would stand out


@needs_mallinfo
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_a_planted_leak_of_half_a_kib_a_window_is_found(framework: str, goal: Goal) -> None:
    slope = growth(framework, leaks=True)
    promised = f"a planted leak of {LEAK} KiB per window is found"
    goal(f"G24 {framework}, leak", promised, f"{slope:+.4f} KiB per window", slope > LEAK / 2)


if __name__ == "__main__":
    print(measure(sys.argv[1], leaks="leak" in sys.argv))
