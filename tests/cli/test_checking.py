"""`check` prints what was found, and the command that comes next."""

import json
from typing import Any

import pytest

from tensor_optix.cli import checking, main
from tensor_optix.environment_check import EnvironmentCheck, Finding


def found(*findings: Finding) -> EnvironmentCheck:
    return EnvironmentCheck(
        env="E-v0",
        observation_space="Box",
        action_space="Discrete(2)",
        algorithm="ppo",
        has_preset=True,
        steps=5,
        microseconds_per_step=20.0,
        microseconds_per_reset=1.0,
        episodes=0,
        mean_return=None,
        mean_length=None,
        findings=findings,
    )


def test_a_sound_environment_is_trained_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def check(env: str, env_kwargs: Any, wrappers: Any, **how: Any) -> EnvironmentCheck:
        asked.update(env=env, env_kwargs=env_kwargs, wrappers=wrappers, **how)
        return found()

    monkeypatch.setattr(checking, "check_environment", check)
    assert main(["check", "E-v0", "--env-kwargs", "size=3", "--wrapper", "a:B:c=[1, 2]", "--steps", "7"]) == 0
    assert asked == {
        "env": "E-v0",
        "env_kwargs": {"size": 3},
        "wrappers": ["a:B:c=[1, 2]"],
        "algorithm": "auto",
        "framework": "auto",
        "steps": 7,
    }
    out = capsys.readouterr().out
    assert "Algorithm: ppo, with a preset" in out
    assert "Train on it with: tensor-optix train E-v0 --env-kwargs size=3 --wrapper 'a:B:c=[1, 2]'" in out


def test_an_error_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    error = Finding(level="error", about="spaces", message="No.")
    monkeypatch.setattr(checking, "check_environment", lambda *args, **how: found(error))
    assert main(["check", "E-v0", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"] == [{"level": "error", "about": "spaces", "message": "No."}]
    assert main(["check", "E-v0"]) == 1
    assert "error: No." in (out := capsys.readouterr().out)
    assert "cannot be trained" in out


def test_bad_input_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "tensor-optix check CartPole-v1" in capsys.readouterr().err
    assert main(["check", "CartPol-v1"]) == 2
    assert "Did you mean 'CartPole-v1'" in capsys.readouterr().err
