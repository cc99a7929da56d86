"""Memory over thousands of windows: `make soak`."""

import gc
import resource
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


def growth(agent: Any, leak: list[bytes] | None = None) -> float:
    windows = BatchPipeline(gym.make("CartPole-v1"), agent, window_size=64, seed=0).episodes()
    samples, every = [], (WINDOWS - WARM_UP) // SAMPLES
    for i in range(WINDOWS):
        agent.learn(next(windows))
        if leak is not None:
            leak.append(b"x" * (2048 + i % 2))  # written to, or it would not be resident
        if i >= WARM_UP and (i - WARM_UP) % every == 0:
            gc.collect()
            samples.append(resident_kib())
    return slope_of(samples, every)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_learning_for_5000_windows_does_not_grow(framework: str) -> None:
    agent = make_agent("CartPole-v1", framework=framework, seed=0, net_arch=(16,), hyperparams={"n_epochs": 2})
    slope = growth(agent)
    print(f"{framework}: {slope:+.4f} KiB per window over {WINDOWS} windows")
    assert slope < KIB_PER_WINDOW


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_planted_leak_of_2_kib_a_window_is_found() -> None:
    agent = make_agent("CartPole-v1", framework="torch", seed=0, net_arch=(16,), hyperparams={"n_epochs": 1})
    assert growth(agent, leak=[]) > KIB_PER_WINDOW
