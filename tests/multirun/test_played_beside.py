"""Validation in a process of its own: what is sent, what comes back, and what happens where it fails."""

import dataclasses
import logging
import threading
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ExecutorError, JobError
from tensor_optix.executors import InProcess, Payload
from tensor_optix.multirun.played_beside import PlayedBeside
from tests.fakes.executors import FakeExecutor
from tests.fakes.tiny_runs import TINY

RUN = dataclasses.replace(TINY, val_episodes=2, normalize_observations=True)
SEEDS = [5, 6]


def never() -> bool:
    return False


def parts() -> tuple[Any, Any]:
    agent, pipeline = RUN.agent(1), RUN.pipeline()
    pipeline.agent = agent
    windows = pipeline.episodes()
    for _ in range(2):  # the statistics of a window hold from the next one on
        agent.learn(next(windows))
    return agent, pipeline


def here(agent: Any, pipeline: Any) -> EpisodeData:
    validation = pipeline.validation_pipeline(2, 0)
    validation.agent = GreedyAgent(agent)
    validation.bound(30)
    return validation.play(SEEDS)


def test_what_is_played_there_is_what_would_be_played_here() -> None:
    agent, pipeline = parts()
    expected = here(agent, pipeline)
    player = PlayedBeside(dataclasses.asdict(RUN), lambda threads: InProcess())
    for _ in range(2):
        player.begin(agent, pipeline.state_dict(), SEEDS, 30)
        window = player.result(never)
        assert window is not None
        for name in ("observations", "actions", "rewards", "terminated", "truncated"):
            assert np.array_equal(getattr(window, name), getattr(expected, name)), name
            assert getattr(window, name).dtype == np.asarray(getattr(expected, name)).dtype
        assert window.completed_episodes() == expected.completed_episodes()
        assert window.metadata.items() <= expected.metadata.items()
    assert player.result(never) is None  # nothing was asked for
    player.close()
    player.close()


@pytest.mark.parametrize("error", [JobError("the worker died"), ExecutorError("no worker can be started")])
def test_where_it_fails_nothing_is_asked_there_any_more(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    asked = list[object]()

    def fail(values: object) -> object:
        asked.append(values)
        raise error

    player = PlayedBeside(dataclasses.asdict(RUN), lambda threads: FakeExecutor({"play_window": fail}))
    agent, pipeline = parts()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            player.begin(agent, pipeline.state_dict(), SEEDS, None)
            assert player.result(never) is None
    player.close()
    assert len(asked) == 1
    assert caplog.text.count("From now on validation is played in the run's own process") == 1


def test_what_has_no_form_in_json_is_played_where_the_run_is() -> None:
    player = PlayedBeside(dataclasses.asdict(RUN), lambda threads: FakeExecutor({"play_window": lambda values: None}))
    player.begin(*_started(), SEEDS, None)
    assert player.result(never) is None
    player.close()


def test_an_urgent_end_does_not_wait() -> None:
    is_over = threading.Event()

    def wait(values: object) -> None:
        assert is_over.wait(30.0)

    player = PlayedBeside(dataclasses.asdict(RUN), lambda threads: FakeExecutor({"play_window": wait}))
    player.begin(*_started(), SEEDS, None)
    assert player.result(lambda: True) is None
    is_over.set()
    player.close()


def _started() -> tuple[Any, Any]:
    agent, pipeline = RUN.agent(1), RUN.pipeline()
    return agent, pipeline.state_dict()


@pytest.mark.slow
def test_a_process_plays_the_same() -> None:
    agent, pipeline = parts()
    player = PlayedBeside(dataclasses.asdict(RUN))
    player.begin(agent, pipeline.state_dict(), SEEDS, 30)
    window = player.result(never)
    player.close()
    assert window is not None
    assert window.completed_episodes() == here(agent, pipeline).completed_episodes()


def test_the_item_is_made_of_files_and_plain_values() -> None:
    sent = list[Payload]()

    def note(item: Payload) -> None:
        sent.append(item)

    player = PlayedBeside(dataclasses.asdict(RUN), lambda threads: FakeExecutor({"play_window": note}, whole=True))
    player.begin(*_started(), SEEDS, 7)
    player.result(never)
    player.close()
    (item,) = sent
    assert (item.values["seeds"], item.values["max_steps"]) == (SEEDS, 7)
    assert all(name.startswith("agent") for name in item.tensors)
    assert item.tensors
