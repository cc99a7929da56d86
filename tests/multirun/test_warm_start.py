from dataclasses import replace
from pathlib import Path
from typing import Any

from tensor_optix._run_reports import write_report
from tensor_optix.core.decisions.escape_records import EscapeOutcome
from tensor_optix.multirun.space import Choices, Range, Space
from tensor_optix.multirun.warm_start import earlier_values
from tensor_optix.runs import RunDescription
from tests.fakes.escapes import record
from tests.fakes.reports import report

RUN = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=0)
SPACE: Space = {"learning_rate": Range(1e-5, 1e-2, "log"), "net_arch": Choices(["8", "16"]), "n_envs": Choices([1, 2])}
PRESET = {"learning_rate": 3e-4, "net_arch": "8", "n_envs": 1}


def write(folder: Path, run: RunDescription, score: float, **hyperparams: Any) -> None:
    folder.mkdir(parents=True)
    run.write(folder)
    write_report(folder, report(best_score=score, hyperparams=hyperparams))


def test_the_values_of_earlier_runs_come_best_first_and_once(tmp_path: Path) -> None:
    write(tmp_path / "a", RUN, 100.0, learning_rate=1e-3)
    write(tmp_path / "b" / "seed-0", replace(RUN, net_arch=[16], n_envs=2), 300.0, learning_rate=2e-3, vf_coef=9.0)
    write(tmp_path / "c", RUN, 200.0, learning_rate=1e-3)
    write(tmp_path / "d", RUN, 400.0, learning_rate=3e-4)  # the preset itself
    write(tmp_path / "e", RUN, 50.0, learning_rate=5e-3)
    write(tmp_path / "f", RUN, 40.0, learning_rate=6e-3)
    found = earlier_values(tmp_path, RUN, SPACE, PRESET)
    assert found == [
        {"learning_rate": 2e-3, "net_arch": "16", "n_envs": 2},
        {**PRESET, "learning_rate": 1e-3},
        {**PRESET, "learning_rate": 5e-3},
    ]


def test_the_values_of_another_algorithm_that_an_escape_has_kept_say_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", RUN, 100.0, learning_rate=1e-3)
    began = record("algorithm", changes={"algorithm": ("ppo", "dqn")})
    for outcome, found in ((EscapeOutcome.GIVEN_UP, 1), (EscapeOutcome.KEPT, 0)):
        escape = began.ended(outcome, window_id=12, env_steps=1100, score=6.0)
        told = report(best_score=100.0, hyperparams={"learning_rate": 1e-3}, escapes=(escape,))
        write_report(tmp_path / "a", told)
        assert len(earlier_values(tmp_path, RUN, SPACE, PRESET)) == found


def test_other_tasks_unfinished_and_damaged_runs_say_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a", replace(RUN, env="Acrobot-v1"), 100.0, learning_rate=1e-3)
    write(tmp_path / "b", replace(RUN, algorithm="dqn"), 100.0, learning_rate=1e-3)
    write(tmp_path / "c", replace(RUN, env_kwargs={"a": 1}), 100.0, learning_rate=1e-3)
    write(tmp_path / "d", RUN, 100.0, learning_rate=1e-3)
    (tmp_path / "d" / "report.json").write_text("{")
    write(tmp_path / "e", RUN, float("nan"), learning_rate=1e-3)
    (tmp_path / "g").mkdir()
    RUN.write(tmp_path / "g")
    assert earlier_values(tmp_path, RUN, SPACE, PRESET) == []
    assert earlier_values(tmp_path / "nowhere", RUN, SPACE, PRESET) == []
