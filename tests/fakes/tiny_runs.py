"""A run that is over in a moment, as the command line describes it."""

from collections.abc import Sequence
from pathlib import Path

from tensor_optix.runs import RunDescription

TINY = RunDescription(
    env="CartPole-v1",
    algorithm="ppo",
    framework="torch",
    seed=3,
    net_arch=[8],
    window_size=32,
    hyperparams={"n_epochs": 1},
)

TINY_FLAGS = ("--n-envs", "1", "--window-size", "32", "--val-episodes", "1", "--net-arch", "8", "--hp", "n_epochs=1")
"""Of `tensor-optix train`."""


def contents(folder: Path, names: Sequence[str]) -> list[bytes]:
    """Return what is in some files of a folder."""
    return [(folder / name).read_bytes() for name in names]
