"""The id by which trackers know a run."""

import json
from pathlib import Path

import pytest

from tensor_optix._run_ids import run_id_in
from tensor_optix.runs import RunDescription


def test_a_run_keeps_its_id_and_a_new_one_gets_another(tmp_path: Path) -> None:
    run = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=0)
    run.write(tmp_path)
    first = json.loads((tmp_path / "run.json").read_text())["run_id"]
    assert first
    run.write(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["run_id"] == first == run_id_in(tmp_path)
    (tmp_path / "run.json").unlink()  # as a new run moves it away
    run.write(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["run_id"] != first
    assert RunDescription.read(tmp_path) == run


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"run_id": 3}', '{"run_id": ""}'])
def test_a_file_without_one_gives_a_new_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert run_id_in(tmp_path) != run_id_in(tmp_path)
