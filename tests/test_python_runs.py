"""What `run.json` says of a run that was made in Python."""

import json
import logging
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import pytest

from tensor_optix import BaseEvaluator, BatchPipeline, EpisodeReturnEvaluator, VectorBatchPipeline
from tensor_optix._python_runs import describe_run, environment_of, read_python_run, write_python_run
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError
from tests.fakes.environments import Structured
from tests.helpers import ScoreEvaluator, ScriptedPipeline


@pytest.mark.parametrize(
    ("pipeline", "evaluator", "env", "scored_by"),
    [
        (BatchPipeline("CartPole-v1"), EpisodeReturnEvaluator(), "CartPole-v1", None),
        (VectorBatchPipeline(("CartPole-v1", 2)), ScoreEvaluator(), "CartPole-v1", "ScoreEvaluator"),
        (BatchPipeline(Structured), EpisodeReturnEvaluator(), "tests.fakes.environments:Structured", None),
        (BatchPipeline(Structured()), EpisodeReturnEvaluator(reward_weight=1.0), None, "EpisodeReturnEvaluator"),
        (ScriptedPipeline([]), EpisodeReturnEvaluator(), None, None),
    ],
)
def test_what_is_written_is_read_back(
    tmp_path: Path, pipeline: Any, evaluator: BaseEvaluator, env: str | None, scored_by: str | None
) -> None:
    described = describe_run(pipeline, evaluator)
    assert (described.env, described.evaluator) == (env, scored_by)
    write_python_run(tmp_path, described)
    written = read_python_run(tmp_path)
    assert written is not None
    assert msgspec.structs.replace(written, run_id="") == described
    write_python_run(tmp_path, described)
    assert read_python_run(tmp_path) == written  # a run that is resumed keeps its id


def test_the_environment_is_made_by_its_name_and_arguments_where_that_is_allowed(tmp_path: Path) -> None:
    pendulum = describe_run(BatchPipeline(gym.make("Pendulum-v1", g=5.0)), EpisodeReturnEvaluator())
    assert environment_of(pendulum, tmp_path, []) == ("Pendulum-v1", {"g": 5.0})
    own = describe_run(BatchPipeline(Structured), EpisodeReturnEvaluator())
    with pytest.raises(InvalidArgumentError, match=r"allow it: --allow-module tests\.fakes\.environments"):
        environment_of(own, tmp_path, ["tests"])
    assert environment_of(own, tmp_path, ["tests.fakes.environments"])[0] == "tests.fakes.environments:Structured"


def test_an_environment_without_a_name_is_told_in_words(tmp_path: Path) -> None:
    nameless = describe_run(BatchPipeline(Structured()), EpisodeReturnEvaluator())
    with pytest.raises(InvalidArgumentError, match=r"no name to make it by \(Structured\).*load_policy"):
        environment_of(nameless, tmp_path, [])


@pytest.mark.parametrize("content", [{"format": 3, "env": "CartPole-v1"}, None])
def test_a_run_of_the_command_line_and_none_at_all_are_not_of_python(tmp_path: Path, content: Any) -> None:
    if content is not None:
        (tmp_path / DESCRIPTION).write_text(json.dumps(content))
    assert read_python_run(tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"made_in": "python"}', '{"made_in": "python", "env": 3}'])
def test_a_damaged_one_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / DESCRIPTION).write_text(content)
    with pytest.raises(CheckpointCorruptError, match=DESCRIPTION):
        read_python_run(tmp_path)


def test_a_storage_that_refuses_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    described = describe_run(BatchPipeline("CartPole-v1"), EpisodeReturnEvaluator())
    with caplog.at_level(logging.WARNING):
        write_python_run(tmp_path / "nowhere", described)
    assert "The command line will not know this run" in caplog.text
