"""Memory over thousands of windows: `make soak`."""

import gc
import resource
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, make_agent

WINDOWS, WARM_UP, SAMPLES = 5_000, 500, 20
KIB_PER_WINDOW = 1.0


def resident_kib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1024


def slope_of(samples: list[float], windows_between: float) -> float:
    """Median of all pairwise slopes (Theil-Sen), in KiB per window: a few jumps of the allocator do not move it."""
    pairs = [(b - a) / (j - i) for i, a in enumerate(samples) for j, b in enumerate(samples) if j > i]
    return float(np.median(pairs)) / windows_between


def measure(framework: str, leaks: bool) -> float:
    """Learn in this process and return the growth of its resident memory, in KiB per window."""
    agent: Any = make_agent("CartPole-v1", framework=framework, seed=0, net_arch=(16,), hyperparams={"n_epochs": 2})
    windows = BatchPipeline(gym.make("CartPole-v1"), agent, window_size=64, seed=0).episodes()
    samples: list[float] = []
    leak: list[bytes] = []
    every = (WINDOWS - WARM_UP) // SAMPLES
    for i in range(WINDOWS):
        agent.learn(next(windows))
        if leaks:
            leak.append(b"x" * (2048 + i % 2))  # written to, or it would not be resident
        if i >= WARM_UP and (i - WARM_UP) % every == 0:
            gc.collect()
            samples.append(resident_kib())
    return slope_of(samples, every)


def growth(framework: str, leaks: bool = False) -> float:
    """Measure in a process of its own: memory that others have freed would hide what is lost."""
    command = [sys.executable, "-m", "tests.soak.test_memory", framework, *(["leak"] if leaks else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_learning_for_5000_windows_does_not_grow(framework: str) -> None:
    slope = growth(framework)
    print(f"{framework}: {slope:+.4f} KiB per window over {WINDOWS} windows")
    assert slope < KIB_PER_WINDOW


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_planted_leak_of_2_kib_a_window_is_found() -> None:
    slope = growth("torch", leaks=True)
    print(f"planted leak: {slope:+.4f} KiB per window")
    assert slope > KIB_PER_WINDOW


if __name__ == "__main__":
    print(measure(sys.argv[1], leaks="leak" in sys.argv))
