import importlib
import sys
import threading
import types
import warnings
from pathlib import Path

import gymnasium as gym
import pytest

from tensor_optix.errors import ContractError
from tensor_optix.pipeline.environment.workers.functions import (
    SpecError,
    pickled,
    pickled_value,
    unpickled,
    unpickled_value,
)
from tests.fakes.failing import Walking


def test_a_function_with_what_it_needs_makes_the_same_elsewhere() -> None:
    number = 3
    assert str(unpickled(pickled(lambda: Walking(number)))()) == "<walking 3>"


def test_what_is_registered_here_is_registered_there() -> None:
    gym.register("Walked-v0", entry_point=Walking)
    data = pickled(lambda: gym.make("Walked-v0"))
    del gym.registry["Walked-v0"]
    assert isinstance(unpickled(data)().unwrapped, Walking)
    del gym.registry["Walked-v0"]


def test_what_a_package_registers_when_it_is_imported_is_registered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_games"
    package.mkdir()
    registers = 'import gymnasium as gym\ngym.register("Game-v0", entry_point="some_games.game:Game")\n'
    (package / "__init__.py").write_text(registers)
    (package / "game.py").write_text("from tests.fakes.failing import Walking as Game")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("some_games")
    data = pickled(lambda: gym.make("Game-v0"))
    _forget("some_games", "Game-v0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert isinstance(unpickled(data)().unwrapped, Walking)
    finally:
        _forget("some_games", "Game-v0")


def test_a_package_that_cannot_be_imported_there_is_an_error_only_where_it_is_wanted() -> None:
    sys.modules["lost_games"] = types.ModuleType("lost_games")
    gym.register("LostGame-v0", entry_point="lost_games:Game")
    wanted, other = pickled(lambda: gym.make("LostGame-v0")), pickled(lambda: Walking(1))
    _forget("lost_games", "LostGame-v0")
    try:
        assert str(unpickled(other)()) == "<walking 1>"
        with pytest.raises(ModuleNotFoundError, match="lost_games"):
            unpickled(wanted)()
    finally:
        del gym.registry["LostGame-v0"]


def _forget(package: str, env_id: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    del gym.registry[env_id]


def test_one_that_cannot_be_imported_there_is_an_error_only_where_it_is_wanted() -> None:
    module = types.ModuleType("somewhere_else")
    exec("class Lost:\n    pass", vars(module))  # noqa: S102 - ours
    sys.modules["somewhere_else"] = module
    gym.register("Lost-v0", entry_point=module.Lost)
    wanted, other = pickled(lambda: gym.make("Lost-v0")), pickled(lambda: Walking(1))
    del gym.registry["Lost-v0"], sys.modules["somewhere_else"]
    try:
        assert str(unpickled(other)()) == "<walking 1>"
        with pytest.raises(SpecError) as found:
            unpickled(wanted)()
        assert "No module named 'somewhere_else'" in str(found.value.__cause__)
    finally:
        del gym.registry["Lost-v0"]


def test_what_cannot_be_sent_is_refused_with_the_way_to_register_it() -> None:
    lock = threading.Lock()
    with pytest.raises(ContractError, match=r"cannot be sent to a process of its own: TypeError.*gymnasium.register\("):
        pickled(lambda: Walking(id(lock)))
    with pytest.raises(ContractError, match="lock cannot be sent"):
        pickled_value(lock)


def test_arguments_arrive_as_they_were() -> None:
    assert unpickled_value(pickled_value({"seed": None, "options": {"a": (1, 2)}})) == {
        "seed": None,
        "options": {"a": (1, 2)},
    }
