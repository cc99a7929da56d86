"""What a pipeline of one method has by default, and what its optional methods tell of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tensor_optix.core.base_pipeline import BasePipeline, CutsEpisodes, PlaysSeeds, Validates
from tensor_optix.core.types import EpisodeData
from tests.helpers import NumpyAgent, window_of


class Minimal(BasePipeline):
    def episodes(self) -> Iterator[EpisodeData]:
        yield window_of(1.0)


def test_a_pipeline_must_yield_windows() -> None:
    with pytest.raises(TypeError, match="episodes"):
        BasePipeline()  # type: ignore[abstract]


def test_by_default_it_has_no_agent_and_an_end() -> None:
    pipeline = Minimal()
    assert (pipeline.agent, pipeline.is_live) == (None, False)
    pipeline.setup()
    assert len(list(pipeline.episodes())) == 1


def test_the_agent_of_one_pipeline_is_not_that_of_another() -> None:
    one, other = Minimal(), Minimal()
    one.agent = object()  # type: ignore[assignment]
    assert other.agent is None


def test_it_can_be_interrupted_and_closed_more_than_once() -> None:
    pipeline = Minimal()
    for _ in range(2):
        pipeline.interrupt()
        pipeline.teardown()
    assert len(list(pipeline.episodes())) == 1  # nothing was held that had to be closed


def test_without_a_state_it_goes_on_from_any() -> None:
    pipeline = Minimal()
    assert (pipeline.state_dict(), pipeline.stream_state()) == ({}, {})
    pipeline.load_state_dict({"mean": 1.0})
    pipeline.restore_stream({"position": 3})
    assert (pipeline.state_dict(), pipeline.stream_state()) == ({}, {})


def test_what_a_pipeline_can_validate_is_told_by_its_methods() -> None:
    def method(self: Any, *args: Any) -> None: ...

    assert not isinstance(Minimal(), Validates | PlaysSeeds | CutsEpisodes)
    assert isinstance(type("Able", (Minimal,), {"max_episode_steps": 9})(), CutsEpisodes)
    assert isinstance(type("Able", (Minimal,), {"validation_pipeline": method})(), Validates)
    assert isinstance(type("Able", (Minimal,), {"fresh_seeds": method, "play": method})(), PlaysSeeds)
    for half in ("fresh_seeds", "play"):
        assert not isinstance(type("Half", (Minimal,), {half: method})(), PlaysSeeds)


def test_an_agent_can_be_set_by_a_method() -> None:
    pipeline, agent = Minimal(), NumpyAgent()
    pipeline.set_agent(agent)
    assert pipeline.agent is agent
