"""Installs the built distributions in the four ways of docs/install.md, and trains with each that has a framework.

`python packages/release_check.py build/release`: a fresh environment for each way; `pip check` must be content, the
command line must run, and without a framework it must say what to install. With one, a short run is trained, and the
README's first example of that framework runs, where it has one.
"""

import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Way:
    """One way to install."""

    name: str
    wheels: tuple[str, ...]
    """Distributions, with their extras."""
    framework: str | None
    """What it brings to train with, by the name of its module."""


WAYS = (
    Way("core", ("tensor_optix_core",), None),
    Way("core-torch", ("tensor_optix_core[torch]",), "torch"),
    Way("core-tf", ("tensor_optix_core[tf]",), "tensorflow"),
    Way("tensor-optix", ("tensor_optix_core", "tensor_optix"), "tensorflow"),
)


def main(folder: Path) -> None:
    """Check every way; the first that fails ends the process."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for way in WAYS:
        check(way, folder, blocks)


def check(way: Way, folder: Path, blocks: list[str]) -> None:
    """Install in one way, and use what was installed.

    Args:
        way: how.
        folder: of the wheels.
        blocks: the Python of the README.
    """
    print(f"{way.name}: {' '.join(way.wheels)}", flush=True)
    home = folder / way.name
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    wheels = [wheel_of(name, folder) for name in way.wheels]
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt", *wheels)
    run(python, "-m", "pip", "check", "--disable-pip-version-check")
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    command = home / "bin" / "tensor-optix"
    run(command, "--version", cwd=elsewhere)
    train = [command, "train", "CartPole-v1", "--n-envs", "1", "--max-steps", "4096", "--no-progress"]
    if way.framework is None:
        said = subprocess.run(train, capture_output=True, text=True, cwd=elsewhere, check=False)  # noqa: S603
        if said.returncode != 2 or "pip install" not in said.stderr:
            raise SystemExit(f"Without a framework, train must say what to install, but said: {said.stderr}")
        return
    run(*train, "--run-dir", "run", cwd=elsewhere)
    run(command, "evaluate", "run", "--episodes", "5", cwd=elsewhere)
    for block in [block for block in blocks if f"import {way.framework}" in block][:1]:
        (elsewhere / "quick_start.py").write_text(block, encoding="utf-8")
        run(python, "quick_start.py", cwd=elsewhere)


def wheel_of(name: str, folder: Path) -> str:
    """Return the wheel of a distribution, with the extras of its name."""
    distribution, bracket, extras = name.partition("[")
    (wheel,) = folder.glob(f"{distribution}-*.whl")
    return f"{wheel}{bracket}{extras}"


def run(*words: object, cwd: Path = ROOT) -> None:
    """Run a command, and end the process where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    subprocess.run([str(word) for word in words], cwd=cwd, env=environment, check=True)  # noqa: S603 - our own wheel


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
