"""Wrappers are named by their place, with arguments, and put around in their order."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.errors import ContractError, EnvironmentNotFoundError, InvalidArgumentError
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.wrapping import WrapperPlace, wrapped


class Halved(gym.RewardWrapper):
    def __init__(self, env: gym.Env, by: float = 2.0) -> None:
        super().__init__(env)
        self.by = by

    def reward(self, reward: Any) -> float:
        return float(reward) / self.by


def doubled(env: gym.Env) -> gym.Env:
    return Halved(env, 0.5)


def nothing(env: gym.Env) -> None:
    return None


@pytest.mark.parametrize(
    ("text", "code", "name", "arguments"),
    [
        ("a.b:C", "a.b", "C", {}),
        ("a.py:C", "a.py", "C", {}),
        ("my dir/a.py:C:x=1", "my dir/a.py", "C", {"x": 1}),
        ("C:\\a.py:W:x=1", "C:\\a.py", "W", {"x": 1}),
        ("a:C:x=[84,84],y=true,z=grey,w=1e-3", "a", "C", {"x": [84, 84], "y": True, "z": "grey", "w": 0.001}),
        ('a:C:x={"k":1,"l":[2,3]},y=a:b', "a", "C", {"x": {"k": 1, "l": [2, 3]}, "y": "a:b"}),
        ("a:C:", "a", "C", {}),
    ],
)
def test_a_place_has_code_name_and_arguments(text: str, code: str, name: str, arguments: dict[str, Any]) -> None:
    assert WrapperPlace.of(text) == WrapperPlace(code=code, name=name, arguments=arguments)


@pytest.mark.parametrize("text", ["", "a", "a.b", "a:", ":C", "a:1C", "a b:C", "a:C:x", "a:C:1=2", "a:C\n"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"module:Wrapper|KEY=VALUE"):
        WrapperPlace.of(text)


def test_the_first_is_innermost_and_functions_are_wrappers_too() -> None:
    env = wrapped(gym.make("CartPole-v1"), [f"{__name__}:Halved:by=4", f"{__name__}:doubled"])
    env.reset(seed=0)
    assert env.step(0)[1] == 0.5
    assert isinstance(env, Halved)
    assert isinstance(env.env, Halved)
    assert (env.by, env.env.by) == (0.5, 4)


class Given(gym.Wrapper):
    def __init__(self, env: gym.Env, given: Any) -> None:
        super().__init__(env)
        self.given = given


class Annotated(Given):
    def __init__(self, env: gym.Env, given: "tuple[int, Any] | int") -> None:
        super().__init__(env, given)


class Listed(Given):
    def __init__(self, env: gym.Env, given: list[tuple[int, int]]) -> None:
        super().__init__(env, given)


class Weighing(Given):
    def __init__(self, env: gym.Env, given: np.ndarray | None = None) -> None:
        super().__init__(env, given)
        assert given is not None
        assert given.shape == (2,)


class Strict(Given):
    def __init__(self, env: gym.Env, given: Any) -> None:
        super().__init__(env, given)
        if not isinstance(given, tuple):
            raise TypeError("given must be a tuple")
        if len(given) > 2:
            raise ValueError("too long")


@pytest.mark.parametrize(
    ("name", "arrives"),
    [("Given", [84, [1, 2]]), ("Listed", [84, [1, 2]]), ("Annotated", (84, (1, 2))), ("Strict", (84, (1, 2)))],
)
def test_a_list_stays_one_unless_the_wrapper_asks_for_a_tuple(name: str, arrives: Any) -> None:
    env = wrapped(gym.make("CartPole-v1"), [f"{__name__}:{name}:given=[84,[1,2]]"])
    assert isinstance(env, Given)
    assert env.given == arrives


def test_a_list_becomes_an_array_where_the_wrapper_asks_for_one() -> None:
    env = wrapped(gym.make("CartPole-v1"), [f"{__name__}:Weighing:given=[0.9,0.1]"])
    assert isinstance(env, Weighing)
    np.testing.assert_array_equal(env.given, [0.9, 0.1])


def test_what_a_wrapper_refuses_as_a_list_and_as_a_tuple_has_the_first_error() -> None:
    with pytest.raises(InvalidArgumentError, match="TypeError: given must be a tuple"):
        wrapped(gym.make("CartPole-v1"), [f"{__name__}:Strict:given=[1,2,3]"])
    reshaped = wrapped(gym.make("CartPole-v1"), ["gymnasium.wrappers:ReshapeObservation:shape=[2,2]"])
    assert reshaped.observation_space.shape == (2, 2)


def test_a_wrapper_in_a_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_wrappers_here.py").write_text(
        "import gymnasium as gym\nclass Mine(gym.Wrapper):\n    pass\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    env = wrapped(gym.make("CartPole-v1"), ["my_wrappers_here.py:Mine"])
    assert type(env).__name__ == "Mine"
    with pytest.raises(EnvironmentNotFoundError, match=r"no wrapper 'Mein'. Did you mean 'Mine'"):
        wrapped(gym.make("CartPole-v1"), ["my_wrappers_here.py:Mein"])


def test_the_module_of_a_wrapper_may_register_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_package_of_both.py").write_text(
        "import gymnasium as gym\n"
        "gym.register('Both-v0', 'gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=7)\n"
        "class Mine(gym.Wrapper): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    env = make_environment("Both-v0", wrappers=["my_package_of_both.py:Mine"])
    assert type(env).__name__ == "Mine"
    assert env.spec is not None
    assert env.spec.max_episode_steps == 7
    del gym.registry["Both-v0"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("no_such_module:W", EnvironmentNotFoundError, "'no_such_module' cannot be imported"),
        ("gymnasium.wrappers:TimeLimit", InvalidArgumentError, "max_episode_steps.*KEY=VALUE"),
        ("gymnasium.wrappers:TimeLimit:max_steps=3", InvalidArgumentError, "max_steps"),
        (f"{__name__}:nothing", ContractError, "must return an environment, but got None"),
    ],
)
def test_what_cannot_be_put_around_says_why_and_closes_the_environment(
    text: str, error: type[Exception], message: str
) -> None:
    class Closed(gym.Wrapper):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True

    env = Closed(gym.make("CartPole-v1"))
    with pytest.raises(error, match=message):
        wrapped(env, [text])
    assert env.is_closed


def test_only_gymnasiums_own_that_show_nothing_are_known_to_be_harmless() -> None:
    harmless = [WrapperPlace.of(f"gymnasium.wrappers:{name}").is_gymnasiums for name in ("TimeLimit", "ClipReward")]
    others = ["gymnasium.wrappers:RecordVideo", "gymnasium.wrappers:HumanRendering", "gymnasium.wrappers:vector"]
    assert all(harmless)
    assert not any(WrapperPlace.of(text).is_gymnasiums for text in [*others, "os:TimeLimit", "gymnasium:make"])
