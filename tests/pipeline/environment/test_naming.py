"""The name of an environment: another process makes the same by it, or there is none."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import pytest

from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.naming import name_of, name_of_each
from tests.fakes.environments import Structured

ROWS = np.arange(6.0).reshape(3, 2)


def made_here() -> gym.Env:
    return gym.make("CartPole-v1")


class Replays(Structured):
    """Replays data that it is given, as environments of markets do."""

    def __init__(self, data: Any = ROWS, sizes: Any = ()) -> None:
        super().__init__()


@pytest.fixture
def replaying() -> Iterator[None]:
    """An id whose default argument is data."""
    gym.register("Replays-v0", f"{__name__}:Replays", kwargs={"data": ROWS})
    yield
    del gym.registry["Replays-v0"]


class Frame:
    """Data that have no truth, as a data frame has none."""

    shape = ROWS.shape

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("The truth value is ambiguous.")


@pytest.mark.usefixtures("replaying")
def test_an_environment_that_was_given_data_has_no_name_by_which_another_process_can_make_it() -> None:
    for data in (ROWS[:2], ROWS + 1, ROWS[:1], Frame()):
        assert name_of(gym.make("Replays-v0", data=data)) == (None, {})
    assert name_of(gym.make("Replays-v0", data=None))[1] == {"data": None}


@pytest.mark.usefixtures("replaying")
def test_data_that_are_the_default_and_ragged_lists_are_compared() -> None:
    assert name_of(gym.make("Replays-v0")) == (f"{__name__}:Replays-v0", {})
    assert name_of(gym.make("Replays-v0", sizes=[[1], [2, 3]]))[1] == {"sizes": [[1], [2, 3]]}


@pytest.mark.usefixtures("replaying")
def test_arguments_that_json_would_change_are_kept_or_there_is_no_name() -> None:
    place, arguments = name_of(gym.make("Replays-v0", sizes={"shape": (64, 48)}))
    assert place is not None
    stored = msgspec.json.decode(msgspec.json.encode(arguments))
    assert make_environment(place, stored).spec.kwargs["sizes"] == {"shape": (64, 48)}  # type: ignore[union-attr]
    for sizes in ({1: 2}, {1, 2}, b"64"):
        assert name_of(gym.make("Replays-v0", sizes=sizes)) == (None, {})


class Unrecorded(gym.Wrapper):
    """A wrapper that does not record its arguments."""


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ("CartPole-v1", ("CartPole-v1", {})),
        ("my_env.py:MyEnv", ("my_env.py:MyEnv", {})),
        (gym.make("CartPole-v1"), ("CartPole-v1", {})),
        (gym.make("Pendulum-v1", g=5.0, max_episode_steps=7), ("Pendulum-v1", {"g": 5.0, "max_episode_steps": 7})),
        (Structured, ("tests.fakes.environments:Structured", {})),
        (made_here, (f"{__name__}:made_here", {})),
        (lambda: gym.make("CartPole-v1"), (None, {})),
        (Structured(), (None, {})),
        (gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), np.float32(-1), np.float32(1)), (None, {})),
        (Unrecorded(gym.make("CartPole-v1")), (None, {})),
        (gym.make("CartPole-v1").unwrapped, (None, {})),
    ],
)
def test_a_name_is_that_of_the_same_environment(env: Any, name: tuple[str | None, Any]) -> None:
    found = name_of(env)
    assert found == name
    place, arguments = found
    if place is not None and not place.endswith(".py:MyEnv"):
        make_environment(place, arguments).close()


def test_environments_of_a_vector_have_one_name_or_none() -> None:
    assert name_of_each(("CartPole-v1", 3)) == ("CartPole-v1", {})
    assert name_of_each([made_here] * 2) == (f"{__name__}:made_here", {})
    assert name_of_each([made_here, Structured]) == (None, {})
    assert name_of_each(gym.make_vec("CartPole-v1", 1)) == (None, {})
