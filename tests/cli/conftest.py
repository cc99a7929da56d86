"""A trained run for the commands that take one."""

import shutil
from pathlib import Path

import pytest

from tensor_optix.cli import main
from tests.fakes.shortened import uncompiled

SHORT = ["--n-envs", "1", "--max-episodes", "2", "--window-size", "128", "--val-episodes", "2", "--no-progress"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    with uncompiled():
        assert main(["train", "CartPole-v1", "--seed", "0", "--run-dir", str(folder), *SHORT]) == 0
    return folder


@pytest.fixture
def run_dir(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    capsys.readouterr()
    return Path(shutil.copytree(trained, tmp_path / "run"))
