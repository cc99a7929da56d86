"""The command line on runs that were made in Python, and on paths that are none."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer, load_policy, make_agent
from tensor_optix._trained_runs import best_policy, refuse_python_run
from tensor_optix.cli import main
from tensor_optix.errors import CheckpointPathError, InvalidArgumentError
from tests.fakes.environments import Structured
from tests.helpers import NumpyAgent, ScoreEvaluator

pytestmark = pytest.mark.usefixtures("short_last_tests", "plain_graphs")


def trained(folder: Path, env: Any, agent: Any = None, **arguments: Any) -> Path:
    acting = agent or make_agent(env, "ppo", "torch", seed=0, net_arch=(8,))
    given = {"val_episodes": 1, "max_windows": 1, "seed": 0, "validation_share": 0.1, **arguments}
    RLOptimizer(acting, BatchPipeline(env, window_size=64), checkpoint_dir=folder, **given).run()
    return folder


def test_a_run_made_in_python_is_evaluated_confirmed_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(trained(tmp_path / "run", "CartPole-v1"))
    assert main(["evaluate", folder, "--verify"]) == 0
    assert main(["evaluate", folder, "--confirm", "--json"]) == 0
    printed = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(printed)["confirmed"]
    assert json.loads((tmp_path / "run" / "report.json").read_text())["best_interval"]["episodes"] == 100


def test_it_is_resumed_in_python_only_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = trained(tmp_path / "run", "CartPole-v1")
    assert main(["resume", str(folder)]) == 2
    assert "was made in Python" in capsys.readouterr().err
    lacks = r"lacks its agent \(TorchPPOAgent\), its pipeline \(BatchPipeline\).*RLOptimizer\(agent, .*resume=True\)"
    with pytest.raises(InvalidArgumentError, match=lacks):
        refuse_python_run(folder)


def test_what_only_the_program_has_is_named(tmp_path: Path) -> None:
    scored = trained(tmp_path / "a", "CartPole-v1", evaluator=ScoreEvaluator())
    with pytest.raises(InvalidArgumentError, match="was scored by ScoreEvaluator"):
        best_policy(scored, is_tested=True)
    assert best_policy(scored)[0] == "CartPole-v1"
    with pytest.raises(InvalidArgumentError, match=r"NumpyAgent, put together by hand.*agent=\.\.\."):
        best_policy(trained(tmp_path / "b", "CartPole-v1", NumpyAgent()))
    with pytest.raises(InvalidArgumentError, match=r"no name to make it by \(Structured\)"):
        best_policy(trained(tmp_path / "c", Structured(), val_pipeline=None))


def test_an_environment_that_was_changed_is_not_taken_for_the_one_of_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    env = gym.make("CartPole-v1")
    env.unwrapped.gravity = 20.0  # type: ignore[attr-defined]
    folder = str(trained(tmp_path / "run", env))
    assert main(["evaluate", folder, "--episodes", "1"]) == 0
    assert "was trained on CartPole-v1 with gravity changed after it was made" in caplog.text
    for tested in (["--verify"], ["--confirm"]):
        assert main(["evaluate", folder, *tested]) == 2
        assert "its score cannot be tested here" in capsys.readouterr().err


def test_a_wrong_path_names_the_run_that_was_meant(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", "CartPole-v1")
    for wrong in (tmp_path, next(folder.glob("snapshot_*")), folder / "run.json"):
        with pytest.raises(CheckpointPathError, match=f"Did you mean '{folder}'"):
            best_policy(wrong)
    (folder / "run.json").unlink()
    with pytest.raises(InvalidArgumentError, match=r"has no run\.json, which says what the run was made of"):
        best_policy(folder)


def test_a_second_run_in_the_folder_moves_the_first_aside_with_its_description(tmp_path: Path) -> None:
    trained(tmp_path / "run", "CartPole-v1")
    trained(tmp_path / "run", "Acrobot-v1")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["env"] == "Acrobot-v1"
    assert json.loads((tmp_path / "run" / "previous_000" / "run.json").read_text())["env"] == "CartPole-v1"


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=pytest.mark.slow)])
def test_a_policy_with_a_memory_is_tested_evaluated_and_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cell: Any, framework: str
) -> None:
    agent: Any = make_agent(
        "CartPole-v1", "recurrent_ppo", framework, {"n_epochs": 1}, seed=0, net_arch=(4,), cell=cell
    )
    folder = str(trained(tmp_path / "run", "CartPole-v1", agent))
    assert main(["evaluate", folder, "--verify"]) == 0
    assert "reproduced exactly" in capsys.readouterr().out
    policy, rows = load_policy(folder), np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    memories: Any = [None]
    for row in rows:
        expected, memories = agent.act_recurrent(row[None], memories, deterministic=True)
        assert policy.predict(row) == expected[0]
    policy.begin_episode()
    assert policy.predict(rows[0]) == agent.act_recurrent(rows[:1], [None], deterministic=True)[0][0]
