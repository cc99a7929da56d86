"""`policy.json`: what is written describes the policy, and what is read is bounded."""

import json
from pathlib import Path
from typing import Any

import pytest
from gymnasium import spaces

from tensor_optix import BatchPipeline, make_agent
from tensor_optix._policy_file import POLICY_FORMAT, check_algorithm, policy_file_of, read_policy_file
from tensor_optix.algorithms._description import AgentDescription
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError
from tests.helpers import NumpyAgent, ScriptedPipeline

AGENT: dict[str, Any] = {
    "algorithm": "ppo",
    "framework": "torch",
    "net_arch": [8, 8],
    "hyperparams": {"learning_rate": 0.01},
    "exploration_noise": "white",
}
BOX = {"type": "Box", "shape": [3], "dtype": "float32", "low": "-inf", "high": "inf"}
FILE: dict[str, Any] = {
    "format": POLICY_FORMAT,
    "agent_class": "TorchPPOAgent",
    "agent": AGENT,
    "observation_space": BOX,
    "action_space": {"type": "Discrete", "n": 2, "start": 0},
}


def read(folder: Path, **changes: Any) -> Any:
    (folder / "policy.json").write_text(json.dumps({**FILE, **changes}))
    return read_policy_file(folder / "policy.json")


def test_an_agent_of_the_factory_is_described_with_its_spaces(tmp_path: Path) -> None:
    agent = make_agent(
        "CartPole-v1", "ppo", "torch", {"learning_rate": 0.01, "clip_ratio": "lin_0.2"}, seed=0, net_arch=(8, 4)
    )
    written = policy_file_of(agent, BatchPipeline("CartPole-v1"))
    (tmp_path / "policy.json").write_text(json.dumps(written, allow_nan=False))
    file = read_policy_file(tmp_path / "policy.json")
    assert file.agent_class == "TorchPPOAgent"
    assert file.description == agent.description  # type: ignore[attr-defined]
    observation_space, action_space = file.spaces()
    assert observation_space == BatchPipeline("CartPole-v1").observation_space
    assert action_space == spaces.Discrete(2)


def test_an_agent_and_a_pipeline_of_ones_own_leave_open_what_they_do_not_tell(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(policy_file_of(NumpyAgent(), ScriptedPipeline([]))))
    file = read_policy_file(tmp_path / "policy.json")
    assert (file.agent_class, file.agent, file.description) == ("NumpyAgent", None, None)
    assert file.spaces() == (None, None)


def test_what_is_read_is_what_the_agent_is_built_from(tmp_path: Path) -> None:
    expected = {**AGENT, "net_arch": (8, 8)}
    assert read(tmp_path).description == AgentDescription(**expected)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format": 2}, "has format 2, not 1"),
        ({"agent": {**AGENT, "algorithm": "td3"}}, "asks for 'td3'"),
        ({"agent": {**AGENT, "framework": "jax"}}, "on 'jax'"),
        ({"agent": {**AGENT, "net_arch": [1 << 16, 1 << 16]}}, "a policy has at most"),
        ({"agent": {**AGENT, "net_arch": [0]}}, "net_arch"),
        ({"agent": {**AGENT, "hyperparams": {"gamma": "x"}}}, "hyperparams"),
        ({"agent": {**AGENT, "code": "import os"}}, "code"),
        ({"observation_space": None}, "but not the spaces"),
        ({"observation_space": {**BOX, "shape": [1 << 24]}, "agent": {**AGENT, "net_arch": [64]}}, "has at most"),
        ({"action_space": {"type": "Text"}}, "no space"),
        ({"agent_class": 3}, "agent_class"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_no_run_has_written_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointCorruptError, match=named):
        read(tmp_path, **changes)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match=r"policy\.json"):
        read_policy_file(tmp_path / "policy.json")


@pytest.mark.parametrize(
    ("saved", "given", "fits"),
    [
        ("TorchPPOAgent", "TFPPOAgent", True),
        ("TorchDQNAgent", "TorchPPOAgent", False),
        ("TorchPPOAgent", "TFRecurrentPPOAgent", False),
        ("MyAgent", "TorchPPOAgent", True),
        ("TorchDQNAgent", "MyAgent", True),
    ],
)
def test_a_policy_of_another_algorithm_is_told_by_the_class(tmp_path: Path, saved: str, given: str, fits: bool) -> None:
    file, agent = read(tmp_path, agent_class=saved, agent=None), type(given, (NumpyAgent,), {})()
    if fits:
        check_algorithm("run", file, agent)
    else:
        with pytest.raises(CheckpointMismatchError, match=rf"'run' is a policy of \w+, but the agent given is {given}"):
            check_algorithm("run", file, agent)


def test_a_class_that_extends_a_built_in_one_is_of_its_algorithm(tmp_path: Path) -> None:
    built_in = type("TorchPPOAgent", (NumpyAgent,), {})
    with pytest.raises(CheckpointMismatchError, match=r"a policy of DQN, .* is Mine\. Leave agent= out"):
        check_algorithm("run", read(tmp_path, agent_class="TFDQNAgent"), type("Mine", (built_in,), {})())
