"""A member of a tiny population, in this process."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tensor_optix._trained_runs import best_policy
from tensor_optix.core.types import PlayedWindow
from tensor_optix.executors import InProcess, Payload
from tensor_optix.multirun.files import digest
from tensor_optix.multirun.final_test import FinalTest
from tensor_optix.multirun.member import LEARN, PLAY, save_policy
from tests.fakes.tiny_runs import TINY

RUN = dataclasses.replace(TINY, val_episodes=2, normalize_observations=True)


def item(before: Payload | None = None, **values: Any) -> Payload:
    about: dict[str, Any] = {
        "run": dataclasses.asdict(RUN),
        "member": 0,
        "generation": 0,
        "windows": 1,
        "seeds": [1, 2],
        "params": {},
        "is_copied": False,
        "state": None if before is None else before.values["state"],
        "stream": None if before is None else before.values["stream"],
    }
    return Payload({**about, **values}, {} if before is None else before.tensors)


def learned(before: Payload | None = None, **values: Any) -> Payload:
    (result,) = InProcess().map(LEARN, [item(before, **values)])
    return result


@pytest.fixture(scope="module")
def first() -> Payload:
    return learned()


def test_it_learns_the_same_wherever_it_is_broken_off(first: Payload) -> None:
    assert learned() == first
    assert (first.values["steps"], len(first.values["returns"])) == (32, 2)
    whole = learned(windows=2, seeds=[3])
    second = learned(first, seeds=[3])
    assert digest(second.tensors) == digest(whole.tensors)
    assert (second.values["score"], second.values["stream"]) == (whole.values["score"], whole.values["stream"])


def test_values_are_put_in_force_after_the_weights_and_read_back(first: Payload) -> None:
    changed = learned(first, params={"learning_rate": 0.02, "clip_ratio": 0.3})
    assert changed.values["effective"] == pytest.approx({"learning_rate": 0.02, "clip_ratio": 0.3})
    assert changed.values["params"]["clip_ratio"] == 0.3
    assert first.values["params"]["clip_ratio"] != 0.3
    assert learned(changed).values["params"]["learning_rate"] == pytest.approx(0.02)


def test_one_of_two_of_a_kind_explores_otherwise(first: Payload) -> None:
    own, copied = learned(first), learned(first, is_copied=True)
    assert digest(own.tensors) != digest(copied.tensors)


def test_one_that_diverges_has_no_score(first: Payload, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensor_optix.adapters._agent import BuiltInAgent

    monkeypatch.setattr(BuiltInAgent, "first_non_finite", lambda self: "actor.0")
    found = learned(first)
    assert (found.values["score"], found.values["state"], found.tensors) == (None, None, {})
    assert "actor.0" in found.values["diverged"]


def test_its_policy_plays_and_is_saved_as_the_best_of_a_run(first: Payload, tmp_path: Path) -> None:
    windows = [[7, 8], [9, 10]]
    (played,) = InProcess().map(PLAY, [item(first, windows=windows)])
    returns = played.values["returns"]
    evidence = [
        PlayedWindow(seeds=tuple(seeds), returns=tuple(found), score=sum(found) / len(found))
        for seeds, found in zip(windows, returns, strict=True)
    ]
    test = FinalTest(best=0, evidence=tuple(evidence), raced=((),))
    RUN.write(tmp_path)
    save_policy(tmp_path, RUN, 0, first, test)
    _, training, snapshot = best_policy(tmp_path)
    assert snapshot.evidence == test.evidence
    pipeline = training.validation_pipeline(2, 0)
    assert pipeline is not None
    assert [e.total_return for e in pipeline.play(windows[0]).completed_episodes()] == returns[0]
    pipeline.teardown()
    training.teardown()
