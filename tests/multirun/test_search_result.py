import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.cli.config import read_config
from tensor_optix.errors import MissingDependencyError
from tensor_optix.multirun.search_result import result_of, write_settings
from tensor_optix.multirun.study import SearchTrial
from tensor_optix.multirun.verdict import judged
from tests.fakes.searches import RUN


def trial(number: int, drawn: str, value: float | None = 1.0) -> SearchTrial:
    state: Any = "pruned" if value is None else "complete"
    seeds: Any = ({"steps": 10},)
    return SearchTrial(number=number, drawn=drawn, values={"n_epochs": number}, state=state, value=value, seeds=seeds)


TRIALS = [trial(0, "preset"), trial(1, "random"), trial(2, "search", 3.0), trial(3, "random", None)]


def test_the_result_says_who_is_the_best_by_how_much_and_what_was_tried() -> None:
    scores = {0: [1.0, 2.0, 3.0], 1: [1.0, 2.0, 3.5], 2: [11.0, 12.0, 13.5]}
    found = result_of(TRIALS, scores, judged(scores))
    assert json.loads(json.dumps(found)) == found
    assert (found["best"], found["is_preset"], found["values"]) == ("trial-2", False, {"n_epochs": 2})
    assert [one["name"] for one in found["finalists"]] == ["preset", "trial-1", "trial-2"]
    assert found["finalists"][0]["ahead"] is None
    assert found["finalists"][2]["ahead"]["interval"]["low"] > 0.0
    assert (found["random"]["search"], found["random"]["random"], found["random"]["steps"]) == (
        "trial-2",
        "trial-1",
        20,
    )
    assert found["counts"] == {"complete": 3, "pruned": 1, "failed": 0}
    assert (found["steps"], len(found["trials"])) == (40, 4)


def test_the_preset_may_be_the_best_and_there_may_be_nothing_to_compare() -> None:
    scores = {0: [1.0, 2.0]}
    found = result_of(TRIALS[:1], scores, judged(scores))
    assert (found["best"], found["is_preset"], found["random"]) == ("preset", True, None)


def test_the_settings_are_a_file_for_train(tmp_path: Path) -> None:
    run = replace(RUN, hyperparams={"gamma": 0.9}, env_kwargs={"sutton_barto_reward": True})
    write_settings(tmp_path / "best.yaml", run, {"learning_rate": 1e-5, "net_arch": "8-8", "n_envs": 2})
    found = read_config(tmp_path / "best.yaml")
    assert found["ppo"] == {"gamma": 0.9, "learning_rate": 1e-5}
    assert (found["env"], found["net_arch"], found["n_envs"], found["window_size"]) == ("CartPole-v1", [8, 8], 2, 64)
    assert found["env_kwargs"] == {"sutton_barto_reward": True}
    assert not {"max_steps", "tuning", "seed", "wrappers"} & found.keys()


def test_without_yaml_the_line_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingDependencyError, match=r"tensor-optix-core\[tune\]"):
        write_settings(tmp_path / "best.yaml", RUN, {})
