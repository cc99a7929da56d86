"""Environments that are no Gymnasium id: classes, functions, and the places where they are."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from tensor_optix.errors import ContractError, EnvironmentNotFoundError
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.own_code import code_of, made_by, maker_of
from tests.fakes.environments import Structured

CODE = """
import gymnasium as gym
import numpy as np
from {sibling} import LENGTH

class MyEnv(gym.Env):
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = LENGTH
        return np.zeros(2, np.float32), {{}}

    def step(self, action):
        self.left -= 1
        return np.zeros(2, np.float32), float(action), self.left == 0, False, {{}}

class Needy(MyEnv):
    def __init__(self, frame, *, fee=0.0):
        pass

def shortened(steps=5):
    return gym.wrappers.TimeLimit(MyEnv(), steps)

ANSWER = 42
gym.register("{name}-v3", entry_point=MyEnv)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an own environment in it, which is the current one; nothing of it stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before, registered = set(sys.modules), set(gym.registry)
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE.format(sibling=f"{name}_sibling", name=name))
    (tmp_path / f"{name}_sibling.py").write_text("LENGTH = 7\n")
    yield tmp_path / f"{name}.py"
    for module in set(sys.modules) - before:
        if module.startswith("own_"):
            del sys.modules[module]
    for env_id in set(gym.registry) - registered:
        del gym.registry[env_id]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("CartPole-v1", None),
        ("my_envs:Env-v0", "my_envs"),
        ("envs/my_env.py:MyEnv", "envs/my_env.py"),
        (r"C:\envs\my_env.py:MyEnv", r"C:\envs\my_env.py"),
    ],
)
def test_a_name_says_what_it_imports(name: str, code: str | None) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize("suffix", [".py", ""], ids=["file", "module"])
@pytest.mark.parametrize("attribute", ["MyEnv", "shortened", "{name}-v3"])
def test_a_file_or_module_here_has_classes_functions_and_ids(folder: Path, suffix: str, attribute: str) -> None:
    name = f"{folder.stem}{suffix}:{attribute.format(name=folder.stem)}"
    first, second = make_environment(name), make_environment(name)
    assert first.unwrapped is not second.unwrapped
    assert type(first.unwrapped) is type(second.unwrapped)
    assert first.action_space == gym.spaces.Discrete(3)


def test_an_id_may_leave_its_version_out(folder: Path) -> None:
    with pytest.warns(UserWarning, match="latest versioned environment"):
        env = make_environment(f"{folder.name}:{folder.stem}")
    assert env.spec is not None
    assert env.spec.id == f"{folder.stem}-v3"


def test_a_file_is_imported_once_and_found_elsewhere_by_its_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = make_environment(f"{folder.name}:MyEnv")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert type(make_environment(f"{folder}:MyEnv")) is type(here)
    with pytest.raises(EnvironmentNotFoundError, match="There is no file"):
        make_environment(f"{folder.name}:MyEnv")


def test_a_file_whose_name_another_module_has_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "json.py").write_text("from tests.fakes.environments import Structured as Mine\n")
    assert isinstance(make_environment("json.py:Mine"), Structured)
    assert sys.modules["json"].__file__ != str(tmp_path / "json.py")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("MyEmv", "has no environment 'MyEmv'.*Did you mean 'MyEnv'.*It has: MyEnv, Needy"),
        ("ANSWER", "has no environment 'ANSWER'"),
        ("own-v4", "registers none of that name"),
    ],
)
def test_what_the_code_does_not_have_is_named_with_what_it_has(folder: Path, attribute: str, message: str) -> None:
    with pytest.raises(EnvironmentNotFoundError, match=message):
        maker_of(f"{folder.name}:{attribute}")


@pytest.mark.parametrize(
    ("content", "message"),
    [("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"), ("1 / 0\n", "ZeroDivision")],
)
def test_code_that_cannot_be_imported_is_named_with_its_error(folder: Path, content: str, message: str) -> None:
    folder.write_text(content)
    for name in (folder.name, folder.stem):
        with pytest.raises(EnvironmentNotFoundError, match=f"{folder.stem}.*cannot be imported: {message}"):
            maker_of(f"{name}:MyEnv")
    assert folder.stem not in sys.modules


def test_what_needs_arguments_says_which(folder: Path) -> None:
    with pytest.raises(
        ContractError, match=r"Needy cannot make an environment without frame.*lambda: Needy\(frame=\.\.\.\)"
    ):
        make_environment(f"{folder.name}:Needy")


def test_what_makes_something_else_says_what() -> None:
    with pytest.raises(ContractError, match="must make a Gymnasium environment, but made str"):
        made_by(os.getcwd)
