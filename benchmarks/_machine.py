"""What the numbers were measured on: processor, cores and versions, nothing that names the machine."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import tensor_optix

_PACKAGES = ("tensorflow", "torch", "stable-baselines3", "gymnasium", "numpy")


@cache
def commit() -> str | None:
    """Return the commit of the code, with `-dirty` where a file differs from it; None outside a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude", "*", "--abbrev=12"],  # noqa: S607 - as in PATH
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def describe() -> str:
    """Return one line, e.g. `AMD EPYC 7B13, 2 cores, Linux; Python 3.12.3, torch 2.4.0, ...`."""
    system = f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"
    packages = [f"{name} {version}" for name in _PACKAGES if (version := _version(name))]
    own = [f"Python {platform.python_version()}", f"tensor-optix {tensor_optix.__version__}"]
    return f"{system}; {', '.join([*own, *packages])}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
