"""Every cell of the tables of spaces and wrappers in docs/what-works.md, and that the page says just that."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces, wrappers

from tensor_optix import BatchPipeline, VectorBatchPipeline, make_agent
from tensor_optix.errors import SpaceError
from tests.fakes.served import (
    ACTIONS,
    COLUMNS,
    ELSEWHERE,
    OBSERVATIONS,
    PAGE,
    PICTURE,
    SAME,
    VECTOR,
    WRAPPERS,
    Picture,
    Spaced,
    Wrap,
    written,
)
from tests.helpers import NumpyAgent

pytestmark = pytest.mark.usefixtures("plain_graphs")

SLOW = pytest.mark.slow
QUICK_IN_KERAS = ("`Discrete(n, start=...)`", "`Box` of two axes")
SMALL = {"learning_starts": 8, "batch_size": 8, "replay_capacity": 64}


class Sampling(NumpyAgent):
    """Any action of a space, as the environment takes it."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.space = space

    def act(self, observation: Any) -> Any:
        return self.space.sample()


def cells(rows: Any) -> list[Any]:
    found = []
    for name, (space, remedies) in rows.items():
        for column, remedy in zip(COLUMNS, remedies, strict=True):
            for framework in ("torch", "tf") if column != "own agent" and not remedy else ("torch",):
                marks = [SLOW] if framework == "tf" and (name not in QUICK_IN_KERAS or column == "SAC") else []
                found.append(
                    pytest.param(space, column, remedy, framework, id=f"{name}-{column}-{framework}", marks=marks)
                )
    return found


def agent_for(env: gym.Env, column: str, framework: str) -> Any:
    if column == "own agent":
        return Sampling(env.action_space)
    params = {"n_epochs": 1, "minibatch_size": 8} if column == "PPO" else SMALL
    return make_agent(env, column.lower(), framework, hyperparams=params, seed=0)


def assert_works(make: Any, agent: Any) -> None:
    """Train on one environment and on two, and play held-out episodes."""
    pipeline = BatchPipeline(make(), agent, 16, seed=0)
    pipeline.setup()
    window = next(pipeline.episodes())
    agent.learn(window)
    assert window.length == 16
    vector = VectorBatchPipeline([make, make], agent, 8, seed=0)
    vector.setup()
    assert next(vector.episodes()).length == 16
    validation = vector.validation_pipeline(2, 0)
    assert validation is not None
    assert [episode.length for episode in next(validation.episodes()).completed or ()] == [7, 7]
    vector.teardown()


@pytest.mark.parametrize(("space", "column", "remedy", "framework"), cells(ACTIONS))
def test_actions(space: Any, column: str, remedy: str, framework: str) -> None:
    env = Spaced(VECTOR, space)
    if remedy:
        with pytest.raises(SpaceError) as error:
            agent_for(env, column, framework)
        assert remedy in str(error.value)
    else:
        assert_works(lambda: Spaced(VECTOR, space), agent_for(env, column, framework))


@pytest.mark.parametrize(("space", "column", "remedy", "framework"), cells(OBSERVATIONS))
def test_observations(space: Any, column: str, remedy: str, framework: str) -> None:
    actions = spaces.Box(-1.0, 1.0, (2,), np.float32) if column == "SAC" else spaces.Discrete(2)
    env = Spaced(space, actions)
    if remedy:
        with pytest.raises(SpaceError) as error:
            agent_for(env, column, framework)
        assert remedy in str(error.value)
    else:
        assert_works(lambda: Spaced(space, actions), agent_for(env, column, framework))


@pytest.fixture
def _picture() -> Iterator[None]:
    gym.register(PICTURE, Picture)  # type: ignore[arg-type]
    yield
    del gym.registry[PICTURE]


@pytest.mark.usefixtures("_picture")
@pytest.mark.parametrize(("env_id", "wrap", "cell"), WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers(env_id: str, wrap: Wrap, cell: str, caplog: pytest.LogCaptureFixture) -> None:
    def make() -> gym.Env:
        return wrap(gym.make(env_id, render_mode="rgb_array" if env_id == PICTURE else None))

    env = make()
    agent = Sampling(env.action_space)
    vector = VectorBatchPipeline([make, make], agent, 12, seed=0)
    for pipeline in (BatchPipeline(env, agent, 24, seed=0), vector):
        assert next(iter(pipeline.episodes())).length == 24
        validation = pipeline.validation_pipeline(1, 0)
        assert (validation is not None) is (cell == SAME)
        if validation is not None:
            rows = next(validation.episodes()).observations
            first = np.asarray(rows["a"] if isinstance(rows, dict) else rows)[0]
            again = make().reset(seed=0)[0]
            assert first.shape == np.shape(again["a"] if isinstance(again, dict) else again)
        else:
            assert "No automatic validation" in caplog.text
            assert "normalize_observations=True" in caplog.text
    vector.teardown()


def test_every_wrapper_of_gymnasium_is_in_the_table() -> None:
    shipped = set(wrappers.__all__) - {"vector"}
    assert shipped == set(WRAPPERS) | set(ELSEWHERE)


def test_the_page_has_the_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert written(text) == text, "run: python -m tests.fakes.served"
