"""Evolution that no loop has joined: it answers its own hooks."""

from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.evolution.alone import Alone
from tensor_optix.core.policy_manager import PolicyManager, PolicyManagerCallback
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import ContractError
from tests.fakes.evolution import EvolutionRig, Says
from tests.helpers import NumpyAgent


def test_a_factory_that_returns_the_same_object_is_a_typed_error_and_counted(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0], max_spawns=3)
    rig.loop.run()
    again = PolicyManagerCallback(rig.pm, rig.first, lambda: rig.first)
    again.on_episode_end(0, EvalMetrics(1.0))
    rig.pm.max_spawns = 9
    with pytest.raises(ContractError, match="the same Climber again"):
        again.on_dormant(0)
    assert rig.pm.status()["failed_spawns"] >= 1


def test_a_controller_that_returns_something_else_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="must return a MetaAction, but returned 'spawn'"):
        PolicyManagerCallback(
            PolicyManager(CheckpointRegistry(tmp_path)),
            NumpyAgent(),
            None,
            Says("spawn"),  # type: ignore[arg-type]
        ).on_dormant(0)


def test_without_a_loop_set_stop_fn_ends_the_run(tmp_path: Path) -> None:
    calls: list[int] = []
    registry = CheckpointRegistry(tmp_path)
    callback = PolicyManager(registry, max_spawns=0).as_callback(NumpyAgent())
    with pytest.raises(ContractError, match=r"needs a function, .*, but got NoneType"):
        callback.set_stop_fn(None)  # type: ignore[arg-type]
    callback.set_stop_fn(lambda: calls.append(1))
    callback.on_dormant(3)
    assert calls == [1]


def test_a_run_that_nothing_can_end_is_told_how_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    PolicyManager(CheckpointRegistry(tmp_path), max_spawns=0).as_callback(NumpyAgent()).on_dormant(3)
    assert "cb.set_stop_fn(opt.stop)" in caplog.text


def test_a_variant_learns_on_in_the_place_of_the_first(tmp_path: Path) -> None:
    pm, first, variant = PolicyManager(CheckpointRegistry(tmp_path), seed=0), NumpyAgent(), NumpyAgent()
    first.weight = 2.0
    callback = pm.as_callback(first, agent_factory=lambda: variant)
    pm.registry.save(first, EvalMetrics(9.0))
    callback.on_episode_end(0, EvalMetrics(9.0))
    callback.on_dormant(1)
    assert callback.learners.slot.agent is callback.learners.learner is variant
    assert (variant.weight, pm.agents) == (2.0, (first, variant))


class TestSlotAndReferee:
    def test_the_learner_is_whoever_was_installed_last(self, tmp_path: Path) -> None:
        first, second = NumpyAgent(), NumpyAgent()
        alone = Alone(PolicyManager(CheckpointRegistry(tmp_path)), first)
        assert (alone.agent, alone.is_joint) == (first, False)
        alone.install(second)
        assert alone.agent is second

    def test_the_learner_is_rolled_back_to_a_better_policy_only(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        pm = PolicyManager(CheckpointRegistry(tmp_path))
        agent.weight = 5.0
        pm.registry.save(agent, EvalMetrics(5.0))
        agent.weight = 7.0
        alone = Alone(pm, agent)
        assert not alone.roll_back(6.0)
        assert agent.weight == 7.0
        assert alone.roll_back(4.0)
        assert agent.weight == 5.0

    def test_nobody_can_be_tested(self, tmp_path: Path) -> None:
        agent = NumpyAgent()
        pm = PolicyManager(CheckpointRegistry(tmp_path))
        pm.registry.save(agent, EvalMetrics(5.0))
        alone, before = Alone(pm, agent), pm.ranked_snapshots
        alone.settle()
        assert (alone.scores_alone([agent]), pm.ranked_snapshots) == ((), before)
