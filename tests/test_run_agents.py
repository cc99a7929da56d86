"""The agents of a run of the command line, by the algorithm that a snapshot says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tensor_optix import load_policy, runs
from tensor_optix._policy_file import policy_file_of
from tensor_optix._run_agents import RunAgents
from tensor_optix._trained_runs import best_policy
from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.algorithms import _replay_learner
from tensor_optix.algorithms._description import AgentDescription
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointMismatchError, EnvironmentFailedError, InvalidArgumentError
from tensor_optix.runs import RunDescription


def described(**more: Any) -> RunDescription:
    values: dict[str, Any] = {
        "env": "CartPole-v1",
        "algorithm": "ppo",
        "framework": "torch",
        "device": "cpu",
        "seed": 3,
        "net_arch": [8],
        "hyperparams": {"clip_ratio": 0.1},
    }
    return RunDescription(**(values | more))


def algorithm_of(agent: object) -> str:
    assert isinstance(agent, BuiltInAgent)
    assert isinstance(agent.description, AgentDescription)
    return agent.description.algorithm


def test_the_other_agent_has_its_own_preset_and_is_the_same_each_time() -> None:
    agents = RunAgents(described())
    assert (agents.own, agents.other) == ("ppo", "dqn")
    first, again = agents.build("dqn"), agents.build("dqn")
    assert agents.algorithm_of(first) == "dqn"
    assert agents.algorithm_of(agents.build("ppo")) == "ppo"
    assert "clip_ratio" not in first.get_hyperparams().params
    observations = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    both = [agent.act_batch(observations, deterministic=True) for agent in (first, again)]
    assert np.array_equal(*both)


def test_windows_are_those_of_the_other_preset_unless_they_were_set_by_hand() -> None:
    assert RunAgents(described()).window_size("dqn") == 256
    assert RunAgents(described(n_envs=4)).window_size("dqn") == 64
    assert RunAgents(described(window_size=100)).window_size("dqn") is None


def test_another_agent_whose_memory_does_not_fit_is_refused_before_it_learns_and_may_be_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_replay_learner, "free_memory", lambda: 1000)
    with pytest.raises(InvalidArgumentError, match="A replay memory of 100,000 transitions takes"):
        RunAgents(described()).build("dqn", to_learn=True)
    assert algorithm_of(RunAgents(described()).build("dqn")) == "dqn"


def test_an_algorithm_that_is_none_of_the_run_is_refused() -> None:
    with pytest.raises(CheckpointMismatchError, match="'sac' is none of this run, whose agents are of 'ppo' and 'dqn'"):
        RunAgents(described()).build("sac")


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_the_best_of_a_run_is_played_by_the_agent_that_its_snapshot_says(tmp_path: Path, algorithm: str) -> None:
    run = described()
    agents, registry = RunAgents(run), CheckpointRegistry(tmp_path)
    agent = agents.build(algorithm)
    registry.describe = lambda acting: policy_file_of(acting, run.pipeline())
    saved = registry.save(agent, EvalMetrics(1.0, {}, 0))
    registry.close()
    run.write(tmp_path)
    _, pipeline, snapshot = best_policy(tmp_path)
    assert snapshot.snapshot_id == saved.snapshot_id
    assert agents.recorded(registry.path_of(saved)) == algorithm
    assert algorithm_of(pipeline.agent) == algorithm == algorithm_of(load_policy(tmp_path).agent)


def test_a_snapshot_that_does_not_say_is_of_the_runs_own_algorithm(tmp_path: Path) -> None:
    assert RunAgents(described()).recorded(tmp_path) == "ppo"


def test_a_run_that_may_escape_has_them_and_makes_no_environment_for_them_before_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[Any]()
    monkeypatch.setattr(runs, "RLOptimizer", lambda **arguments: given.append(arguments["agents"]) or SimpleNamespace())
    for more in ({"escape": True}, {"escape": False}, {"escape": True, "evolve": 1}):
        described(**more).optimizer(tmp_path, resume=False, progress=False)
    agents, *others = given
    assert isinstance(agents, RunAgents)
    assert others == [None, None]
    with monkeypatch.context() as patched:
        patched.setattr(RunDescription, "environment", None)
        assert agents.own == "ppo"
    assert agents.other == "dqn"


def test_where_no_further_environment_can_be_made_no_other_algorithm_is_tried(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(run: RunDescription) -> None:
        raise EnvironmentFailedError("one at a time.")

    monkeypatch.setattr(RunDescription, "environment", fails)
    assert RunAgents(described()).other is None
    assert "No other algorithm is tried: one at a time." in caplog.text
