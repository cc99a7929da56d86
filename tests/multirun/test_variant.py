"""A variant in its worker: how it begins, and what it tells of itself."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import PlayedWindow
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.executors import InProcess, Payload
from tensor_optix.multirun.files import digest, files_in
from tensor_optix.multirun.member import Member
from tensor_optix.multirun.variant import LEARN_ON, spawned
from tests.fakes.tiny_runs import TINY

RUN = dataclasses.replace(TINY, val_episodes=1, max_episodes=1, normalize_observations=True)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, member = tmp_path_factory.mktemp("first"), Member(RUN, 0)
    windows = member.pipeline.episodes()
    for _ in range(2):  # the statistics of a window hold from the next one on
        member.agent.learn(next(windows))
    member.save_policy(folder, [PlayedWindow(seeds=(1,), returns=(9.0,), score=9.0)], is_final=False)
    member.close()
    return folder


def about(parent: Path) -> dict[str, Any]:
    best = CheckpointRegistry(parent).best
    assert best is not None
    return {"parent_dir": str(parent), "parent": best.snapshot_id, "noise_scale": 0.1}


def test_it_begins_with_the_weights_and_statistics_of_its_parent_and_values_of_its_own(parent: Path) -> None:
    run = dataclasses.replace(RUN, seed=8)
    agent, pipeline = run.agent(), run.pipeline()
    lineage = spawned(agent, pipeline, run, about(parent))
    reference, other = run.agent(), run.pipeline()
    registry = CheckpointRegistry(parent)
    registry.attach("pipeline", other)
    registry.load_best(reference)
    observations = np.eye(4, dtype=np.float32)
    assert np.array_equal(
        agent.act_batch(observations, deterministic=True), reference.act_batch(observations, deterministic=True)
    )
    assert pipeline.state_dict() == other.state_dict() != run.pipeline().state_dict()
    values, parents = agent.get_hyperparams().params, reference.get_hyperparams().params
    assert {name for name in values if values[name] != parents[name]} == set(lineage.changes) != set()
    assert spawned(run.agent(), run.pipeline(), run, about(parent)).changes == lineage.changes
    untuned = dataclasses.replace(run, tuning=False)
    assert spawned(run.agent(), run.pipeline(), untuned, about(parent)).changes == {}


def test_one_that_has_ended_is_told_as_it_was(parent: Path, tmp_path: Path) -> None:
    dataclasses.replace(RUN, seed=8).write(tmp_path)
    item = Payload({"run_dir": str(tmp_path), "allow_modules": [], **about(parent)})
    (first,), (again,) = InProcess().map(LEARN_ON, [item]), InProcess().map(LEARN_ON, [item])
    assert first.values == again.values
    best = CheckpointRegistry(tmp_path).best
    assert best is not None
    assert first.values["sha256"] == digest(files_in(CheckpointRegistry(tmp_path).path_of(best) / "weights"))
    assert (first.values["windows"], first.values["steps"]) == (1, 32)


def test_another_parent_than_the_generations_is_refused(parent: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match=r"not 000099, which the variants of this generation come from"):
        spawned(RUN.agent(), RUN.pipeline(), RUN, {**about(parent), "parent": "000099"})
