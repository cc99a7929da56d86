"""Installs the built distributions in the four ways of docs/install.md, and trains with each that has a framework.

`python packages/release_check.py build/release`: a fresh environment for each way; `pip check` must be content, the
command line must run, and without a framework it must say what to install. With one, a short run is trained and played.
The README's first example runs in the way that it tells first. Further arguments name the ways to check, of all.
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
    trains: bool = True
    """False without a framework."""


WAYS = (
    Way("core", ("tensor_optix_core",), trains=False),
    Way("core-torch", ("tensor_optix_core[torch]",)),
    Way("core-tf", ("tensor_optix_core[tf]",)),
    Way("tensor-optix", ("tensor_optix_core", "tensor_optix")),
)


def main(folder: Path, names: list[str]) -> None:
    """Check ways; the first that fails ends the process.

    Args:
        folder: of the wheels.
        names: of the ways; none = all.
    """
    for way in WAYS:
        if not names or way.name in names:
            check(way, folder)


def check(way: Way, folder: Path) -> None:
    """Install in one way, and use what was installed.

    Args:
        way: how.
        folder: of the wheels.
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
    if not way.trains:
        said = subprocess.run(train, capture_output=True, text=True, cwd=elsewhere, check=False)  # noqa: S603
        if said.returncode != 2 or "pip install" not in said.stderr:
            raise SystemExit(f"Without a framework, train must say what to install, but said: {said.stderr}")
        return
    run(*train, "--run-dir", "run", cwd=elsewhere)
    run(command, "evaluate", "run", "--episodes", "5", cwd=elsewhere)
    if way is WAYS[-1]:
        (elsewhere / "quick_start.py").write_text(quick_start(), encoding="utf-8")
        run(python, "quick_start.py", cwd=elsewhere)


def quick_start() -> str:
    """Return the first Python block of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]


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
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
