"""All shell in README.md and docs/ runs: bash runs it, with stand-ins that note how each program was called.

Then every call is tried: `tensor-optix` in this process and shortly, `pip` by the extras, `make` by its targets,
`python` by the module. A folder `runs/...` is a run that was trained for the test.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tensor_optix.cli import main
from tensor_optix.cli.parser import COMMANDS, parser
from tests.fakes.documents import ROOT, SHORT_FLAGS, blocks
from tests.fakes.documents import short_runs as short_runs  # the fixture

BLOCKS = blocks("bash")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
TARGETS = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[0].split()
PROGRAMS = ("tensor-optix", "pip", "make", "python", "tensorboard")
PARSED_ONLY = ("--watch", "minigrid")
"""What serves until it is stopped, and what needs a package that is in no extra."""
SMALLEST_SEARCH = ["--trials", "1", "--seeds", "1", "--final-seeds", "1", "--workers", "1", "--framework", "torch"]
SMALLEST_SEARCH += ["--total-steps", "64", "--window-size", "64", "--val-episodes", "1", "--no-progress"]
STAND_IN = '#!/bin/sh\nprintf "%s\\0" "$(basename "$0")" "$@" >> "$CALLS"; printf "\\n\\0" >> "$CALLS"\n'
WRAPPER = """
import gymnasium


class Grey(gymnasium.wrappers.GrayscaleObservation):
    def __init__(self, env):
        super().__init__(env, keep_dim=True)
"""
ENVIRONMENTS = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class MyEnv(CartPoleEnv):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)


Reach = MyEnv
for name in ("MyEnv-v0", "Reach-v0"):
    if name not in gymnasium.registry:
        gymnasium.register(name, MyEnv, max_episode_steps=50)
"""


def calls_of(name: str, folder: Path) -> list[list[str]]:
    """Run a document's shell in a folder, and return how it called each program."""
    bin_dir, log = folder / "bin", folder / "calls"
    bin_dir.mkdir()
    for program in PROGRAMS:
        (bin_dir / program).write_text(STAND_IN)
        (bin_dir / program).chmod(0o755)
    variables = {**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "CALLS": str(log), "HOME": str(folder)}
    script = "set -e\n" + "\n".join(BLOCKS[name])
    subprocess.run(["bash", "-c", script], cwd=folder, env=variables, check=True)  # noqa: S603, S607 - our own text
    found = log.read_bytes().decode() if log.exists() else ""
    return [call.split("\0") for call in found.split("\0\n\0") if call]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line, short."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    flags = ["--framework", "torch", "--n-envs", "1", "--seed", "0", "--no-progress", *SHORT_FLAGS]
    flags += ["--hp", "learning_rate=1e-3"]
    assert main(["train", "CartPole-v1", "--run-dir", str(run_dir), *flags]) == 0
    return run_dir


def short(arguments: list[str], trained: Path) -> list[str]:
    """Return the arguments of `tensor-optix` for a short run, with the trained one in place of a run to choose."""
    given = [re.sub(r"^(runs/\.\.\.|RUN_DIR)", str(trained), argument) for argument in arguments]
    for flag in {"--seeds", "--population"} & {*given}:
        given[given.index(flag) + 1] = "2"
    if "--workers" in given:
        given[given.index("--workers") + 1] = "1"  # tests/cli has them in processes
    given = [argument.replace("seeds0-4", "seeds0-1") for argument in given]
    if given[0] == "tune":
        return [*given, *SMALLEST_SEARCH]
    if given[0] == "train":
        if "--n-envs" not in given and "--config" not in given:
            given += ["--n-envs", "1"]
        given += [*SHORT_FLAGS, "--no-progress"]
    if given[0] == "evaluate" and not {"--confirm", "--verify"} & {*given}:
        given += ["--episodes", "2"]
    return given + (["--no-progress"] if given[0] == "resume" else [])


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("name", BLOCKS)
def test_all_shell_in_the_documents_runs(name: str, tmp_path: Path, trained: Path) -> None:
    (tmp_path / "my_env.py").write_text(ENVIRONMENTS)
    (tmp_path / "my.py").write_text(WRAPPER)
    (tmp_path / "my_module.py").write_text("import my_env\n")
    (tmp_path / "monitor.csv").write_text("#{}\nr,l,t\n" + "1.0,5,0.1\n" * 9)
    for text in blocks("yaml").get(name, []):
        (tmp_path / "run.yaml").write_text(text)
    for place in ("copied", "runs/one", "runs/two", "before/one", "after/one"):
        shutil.copytree(trained, tmp_path / place)
    (tmp_path / ".zfunc").mkdir()
    mine = tmp_path / "copied"
    for program, *arguments in calls_of(name, tmp_path):
        told = shlex.join([program, *arguments])
        if program == "tensor-optix" and any(word in told for word in PARSED_ONLY):
            parser(**dict.fromkeys(COMMANDS, lambda args: 0)).parse_args(arguments)
        elif program == "tensor-optix":
            assert main(short(arguments, mine)) in (0, 3), told
        elif program == "pip":
            for extras in re.findall(r"\[(.*?)\]", told):
                assert {*extras.split(",")} <= EXTRAS.keys(), told
        elif program == "make":
            assert arguments[0] in TARGETS, told
        elif program == "python" and arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1]) is not None, told
