"""Episodes that are left because their environment failed: the run goes on with the next, and ends after three."""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BasePipeline, BatchPipeline, VectorBatchPipeline
from tensor_optix.core.faults import FAILED_EPISODES, EpisodesFailedError
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError, EnvironmentFailedError
from tensor_optix.pipeline.environment.failed_episodes import FailedEpisodes
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tests.fakes.failing import HANG, KILL, RAISE, Walking
from tests.helpers import NumpyAgent

IN_THE_SOAK = pytest.param(True, marks=pytest.mark.slow)
"""Each pipeline starts processes anew; those of the quick tier fail in each way, and are compared with none."""


class TestCounting:
    def test_each_is_named_by_its_kind_and_what_is_known_without_its_traceback(self) -> None:
        counted = FailedEpisodes(2)
        for failure in ("hung in step: no answer in 1 s", "raised in reset: ValueError: no\n\nIts traceback:\n..."):
            counted.fault(failure, 1)
        counted.fault("hung in step: no answer in 1 s", 0)
        counted.clear([1])
        counted.fault("hung in step: no answer in 1 s", 1)
        assert counted.metadata() == {
            FAILED_EPISODES: {
                "hung": {
                    "Environment 1 of 2 hung in step: no answer in 1 s": 2,
                    "Environment 0 of 2 hung in step: no answer in 1 s": 1,
                },
                "raised": {"Environment 1 of 2 raised in reset: ValueError: no": 1},
            }
        }
        assert counted.metadata() == {}

    def test_credentials_of_an_address_are_left_out_also_where_the_text_is_cut(self) -> None:
        counted = FailedEpisodes()
        counted.fault(f"raised in step: OSError: {'x' * 130} wss://trader:{'secret' * 9}@feed.example/v1")
        assert "secret" not in str(counted.metadata())

    def test_the_third_in_a_row_of_one_ends_the_run(self) -> None:
        counted = FailedEpisodes()
        counted.fault("died in step: signal 9")
        again = FailedEpisodes()
        again.restore(counted.state())  # a run that was resumed
        again.fault("died in step: signal 9")
        with pytest.raises(EpisodesFailedError, match="3 times in a row, without a whole episode between; the last"):
            again.fault("raised in step: ValueError\n\nIts traceback:\nin step")
        new = FailedEpisodes()
        new.restore(None)
        assert new.state() == [0]

    def test_they_are_logged_less_and_less_often(self, caplog: pytest.LogCaptureFixture) -> None:
        counted = FailedEpisodes()
        with caplog.at_level(logging.WARNING):
            for _ in range(9):
                counted.fault("died in step: signal 9")
                counted.clear()
        assert len(caplog.records) == 4


class Obeying(NumpyAgent):
    """Does what it is told to, one row of actions per step."""

    def __init__(self, plan: list[list[int]]) -> None:
        super().__init__()
        self.plan = plan

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        return np.array(self.plan.pop(0))


class Numbered(Walking):
    """Its actions of this and of what fails are those of `failing`; in this process a kill is an exception, too."""


def windows(plan: list[list[int]], size: int, n: int, **more: Any) -> list[EpisodeData]:
    makers: list[Any] = [lambda i=i: Numbered(i) for i in range(len(plan[0]))]
    pipeline = VectorBatchPipeline(makers, Obeying(plan), window_size=size, seed=0, **more)
    found = pipeline.episodes()
    try:
        return [next(found) for _ in range(n)]
    finally:
        pipeline.teardown()


@pytest.mark.parametrize("fault", [RAISE, KILL, HANG])
def test_steps_until_a_failure_are_a_truncated_piece_and_no_pair_crosses_it(fault: int) -> None:
    more = {} if fault == RAISE else {"async_envs": True, "step_timeout": 2.0}
    plan = [[1, 1], [1, 2], [1, fault], [1, 3], [1, 3], [1, 3]]
    (window,) = windows(plan, 5, 1, **more)
    second = slice(5, 10)
    assert window.actions[second].tolist() == [1, 2, 3, 3, 3]
    assert window.truncated[second].tolist() == [False, True, False, False, False]
    assert window.observations[second, 2].tolist() == [0, 1, 0, 1, 2]
    assert window.next_observations[second, 2].tolist() == [1, 2, 1, 2, 3]
    assert window.observations[5, 1] == window.observations[6, 1] != window.observations[7, 1]
    ((kind, known),) = window.metadata[FAILED_EPISODES].items()
    assert (kind, sum(known.values())) == ({RAISE: "raised", KILL: "died", HANG: "hung"}[fault], 1)


def test_the_episodes_are_those_that_another_process_would_have_played() -> None:
    plan = [[1, 1], [1, RAISE], [1, 1], [1, 1], [1, 1], [1, RAISE], *[[1, 1]] * 6]
    here, there = windows([*plan], 4, 2), windows([*plan], 4, 2, async_envs=True)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.truncated, other.truncated)


@pytest.mark.parametrize("is_async", [False, IN_THE_SOAK])
def test_the_third_failure_without_a_whole_episode_between_ends_it(is_async: bool) -> None:
    survived = [[RAISE], *[[1]] * 5]
    assert windows([*survived * 4], 5, 4, async_envs=is_async)
    with pytest.raises(
        EnvironmentFailedError, match=r"The environment failed 3 times in a row.*raised in step"
    ) as caught:
        windows([[RAISE], [1], [RAISE], [1], [RAISE], [1]], 5, 1, async_envs=is_async)
    assert "in fail" in str(caught.value)  # its traceback


class Choosing(NumpyAgent):
    """Always the same, whatever it is."""

    chosen: Any = None

    def act(self, observation: Any, *, deterministic: bool = False) -> Any:
        return self.chosen


@pytest.mark.parametrize("chosen", [7, None, (1, {}), np.array([1])])
@pytest.mark.parametrize("kind", ["single", "vector", "validation"])
def test_an_action_that_the_environment_refuses_is_laid_at_the_agents_door(kind: str, chosen: Any) -> None:
    agent = Choosing()
    agent.chosen = chosen
    pipeline: BasePipeline = {
        "single": lambda: BatchPipeline("CartPole-v1", agent, window_size=4),
        "vector": lambda: VectorBatchPipeline(("CartPole-v1", 2), agent, window_size=4),
        "validation": lambda: ValidationPipeline([lambda: gym.make("CartPole-v1")] * 2, agent),
    }[kind]()
    pipeline.setup()
    with pytest.raises((EnvironmentFailedError, BadDataError), match=r"the agent's action .* is not in"):
        next(iter(pipeline.episodes()))
    pipeline.teardown()


def test_an_agent_may_answer_with_a_comparison() -> None:
    agent = Choosing()
    agent.chosen = np.True_
    for pipeline in (
        BatchPipeline("CartPole-v1", agent, window_size=4),
        ValidationPipeline([lambda: gym.make("CartPole-v1")] * 2, agent),
    ):
        pipeline.setup()
        assert set(np.asarray(next(iter(pipeline.episodes())).actions).tolist()) == {1}
        pipeline.teardown()


@pytest.mark.parametrize("is_async", [False, IN_THE_SOAK])
def test_a_resumed_pipeline_goes_on_bit_for_bit_with_environments_made_anew(is_async: bool) -> None:
    plan = [[1, 1], [1, RAISE], *[[1, 2]] * 8]
    whole = windows([*plan], 4, 2, async_envs=is_async)
    makers: list[Any] = [lambda i=i: Numbered(i) for i in range(2)]
    first = VectorBatchPipeline(makers, Obeying([*plan]), window_size=4, seed=0, async_envs=is_async)
    next(first.episodes())
    state, rest = first.stream_state(), first.agent.plan  # type: ignore[union-attr]
    first.teardown()
    again = VectorBatchPipeline(makers, Obeying(rest), window_size=4, seed=0, async_envs=is_async)
    again.restore_stream(state)
    window = next(again.episodes())
    np.testing.assert_array_equal(window.observations, whole[1].observations)
    np.testing.assert_array_equal(window.next_observations, whole[1].next_observations)
    again.teardown()
