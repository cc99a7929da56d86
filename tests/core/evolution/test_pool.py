"""Variants of the best snapshot: how they are spawned, counted and told of."""

import dataclasses
import gc
import json
import math
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.meta_controller import MetaController
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.regime_detector import RegimeDetector
from tensor_optix.core.search_space import Param, SearchSpace
from tensor_optix.core.training_report import evolution_block
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import (
    CheckpointMismatchError,
    ContractError,
    EvolutionError,
    HyperparamError,
    InvalidArgumentError,
)
from tensor_optix.support.arrays import generator_state
from tests.fakes.evolution import EvolutionRig
from tests.helpers import NumpyAgent


class TunableAgent(NumpyAgent):
    @property
    def default_param_bounds(self) -> Mapping[str, Param | tuple[float, float]]:
        return {"learning_rate": Param(1e-4, 1.0, "log")}


class NoisyAgent(TunableAgent):
    def perturb_weights(self, scale: float, rng: np.random.Generator) -> None:
        self.weight += scale * rng.standard_normal()


def manager(folder: Path, **kwargs: Any) -> PolicyManager:
    """A manager whose registry holds a policy of weight 2 and score 5, and one of weight 3 and score 9."""
    registry, agent = CheckpointRegistry(folder), TunableAgent(learning_rate=0.05)
    for agent.weight, score in ((2.0, 5.0), (3.0, 9.0)):
        registry.save(agent, EvalMetrics(score, {"val_score": score, "generalization_gap": 0.5}))
    return PolicyManager(registry, seed=0, **kwargs)


@pytest.mark.parametrize(("score", "rolled_back"), [(8.0, True), (9.0, False), (10.0, False), (math.nan, True)])
def test_evolve_rolls_back_to_a_better_best(tmp_path: Path, score: float, rolled_back: bool) -> None:
    agent = TunableAgent()
    assert manager(tmp_path).evolve(agent, score) is rolled_back
    assert agent.weight == (3.0 if rolled_back else 0.0)


def test_nothing_to_roll_back_to_is_no_error(tmp_path: Path) -> None:
    assert PolicyManager(CheckpointRegistry(tmp_path)).evolve(TunableAgent(), 1.0) is False


def test_a_variant_is_a_mutated_clone_of_the_best(tmp_path: Path) -> None:
    pm = manager(tmp_path)
    shell = TunableAgent(learning_rate=0.7)
    assert pm.spawn_variant(shell, 0.1) is shell
    assert shell.weight == 3.0
    rate = shell.params["learning_rate"]
    assert rate not in (0.05, 0.7)
    assert 1e-4 <= rate <= 1.0
    lineage = pm.newest_lineage
    assert lineage is not None
    assert (lineage.parent, lineage.parent_score, lineage.changes) == ("000001", 9.0, {"learning_rate": (0.05, rate)})


def test_what_may_not_be_tuned_is_inherited_and_what_the_parent_lacked_is_kept(tmp_path: Path) -> None:
    registry, parent = CheckpointRegistry(tmp_path), NumpyAgent(learning_rate=0.05)
    registry.save(parent, EvalMetrics(1.0), hyperparams=HyperparamSet({"learning_rate": 0.05, "gone": 1.0}))
    shell = NumpyAgent(learning_rate=0.7)
    shell.params["new"] = 4
    PolicyManager(registry, seed=0).spawn_variant(shell, 0.1)
    assert shell.params == {"learning_rate": 0.05, "new": 4}


def test_weights_are_disturbed_if_asked_for_and_possible(tmp_path: Path) -> None:
    shell = NoisyAgent()
    manager(tmp_path, weight_noise=1.0).spawn_variant(shell, 0.1)
    assert shell.weight != 3.0
    with pytest.raises(ContractError, match=r"weight_noise=1.0 needs an agent with perturb_weights"):
        manager(tmp_path / "other", weight_noise=1.0).spawn_variant(TunableAgent(), 0.1)


def test_a_custom_mutation_comes_last(tmp_path: Path) -> None:
    shell = TunableAgent()

    def mutation(agent: Any) -> None:
        agent.weight = agent.weight * 10

    manager(tmp_path).spawn_variant(shell, mutation_fn=mutation)
    assert shell.weight == 30.0


def test_the_budget_is_spent_by_spawns(tmp_path: Path) -> None:
    pm = manager(tmp_path, max_spawns=2)
    assert (pm.spawns_remaining, pm.budget_exhausted) == (2, False)
    for _ in range(2):
        pm.spawn_variant(TunableAgent())
    assert (pm.spawns_remaining, pm.budget_exhausted) == (0, True)
    with pytest.raises(EvolutionError, match="All 2 spawns are used"):
        pm.spawn_variant(TunableAgent())
    assert manager(tmp_path / "other").spawns_remaining is None


def test_a_shell_that_does_not_fit_is_a_typed_error(tmp_path: Path) -> None:
    class Narrow(TunableAgent):
        def load_weights(self, path: str) -> None:
            raise ValueError("shapes (2,) and (3,)")

    pm = manager(tmp_path)
    with pytest.raises(CheckpointMismatchError, match=r"Narrow cannot take the weights.*shapes"):
        pm.spawn_variant(Narrow())
    with pytest.raises(ContractError, match="must return a BaseAgent, but got NoneType"):
        pm.spawn_variant(None)  # type: ignore[arg-type]
    assert pm.status()["spawns_used"] == 0


def test_nothing_to_spawn_from_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(EvolutionError, match="no scored snapshot to spawn from"):
        PolicyManager(CheckpointRegistry(tmp_path)).spawn_variant(TunableAgent())


class Deaf(TunableAgent):
    """Keeps the learning rate that it was built with."""

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        self.params = {**hp.params, "learning_rate": self.params["learning_rate"]}


def test_a_variant_whose_moved_values_are_not_in_force_is_none(tmp_path: Path) -> None:
    pm = manager(tmp_path)
    with pytest.raises(HyperparamError, match=r"'learning_rate' was set to .*, but Deaf works with 0\.1"):
        pm.spawn_variant(Deaf(), noise_scale=0.1)
    assert pm.training_report()["lineage"] == []


def test_a_regime_is_text_and_a_history_holds_evaluations(tmp_path: Path) -> None:
    pm, scores = manager(tmp_path), [1.0, 2.0, 3.0]
    with pytest.raises(InvalidArgumentError, match="label of a regime must be text, but got 5"):
        pm.set_regime(5)  # type: ignore[arg-type]
    for ask in (pm.adaptive_noise_scale, RegimeDetector().detect, lambda h: MetaController().decide(h, {})):
        with pytest.raises(ContractError, match=r"history must hold EvalMetrics, but got 1.0.*EvalMetrics\(score\)"):
            ask(scores)  # type: ignore[arg-type]


def test_an_agent_becomes_a_variant_once(tmp_path: Path) -> None:
    pm, shell = manager(tmp_path), TunableAgent()
    pm.spawn_variant(shell)
    pm.discard(shell)
    with pytest.raises(ContractError, match="the same TunableAgent again"):
        pm.spawn_variant(shell)
    gone = weakref.ref(pm.spawn_variant(TunableAgent()))
    gc.collect()
    assert gone() is None  # it is remembered for as long as it lives, and no longer


def test_the_lineage_tells_what_is_in_force(tmp_path: Path) -> None:
    pm = manager(tmp_path)
    pm.spawn_variant(TunableAgent(), mutation_fn=lambda a: a.set_hyperparams(HyperparamSet({"learning_rate": 0.77})))
    assert pm.newest_lineage is not None
    assert pm.newest_lineage.changes == {"learning_rate": (0.05, 0.77)}


def test_in_a_run_only_what_its_optimizer_tunes_is_mutated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pm, shell = manager(tmp_path), TunableAgent()
    pm.join_run({}, SearchSpace({"learning_rate": (0.04, 0.06)}), None)
    for _ in range(20):
        assert 0.04 <= pm.spawn_variant(TunableAgent(), 1.0).get_hyperparams().params["learning_rate"] <= 0.06
    assert "exact copies" not in caplog.text
    pm.join_run({}, SearchSpace({}), None)
    for shell in (TunableAgent(), TunableAgent()):
        pm.spawn_variant(shell, 1.0)
        assert shell.params == {"learning_rate": 0.05}
    assert caplog.text.count("exact copies of the best") == 1


def test_a_run_seeds_a_manager_that_has_no_seed(tmp_path: Path) -> None:
    def generator(seed: int | None) -> object:
        pm = PolicyManager(CheckpointRegistry(tmp_path), seed=seed)
        pm.join_run({}, None, 7)
        return pm.members_state(lambda agent: "")["generator"]

    assert generator(None) == generator_state(np.random.default_rng(7))
    assert generator(1) == generator_state(np.random.default_rng(1))


def test_the_report_prints_as_the_seed_shows_it_and_names_the_lineage(tmp_path: Path) -> None:
    pm = manager(tmp_path, max_spawns=3)
    first = TunableAgent()
    pm.add_agent(first, weight=2.41)
    pm.record_agent_score(0, 8.71)
    pm.set_regime("trending")
    pm.add_agent(pm.spawn_variant(TunableAgent(), 0.1))
    report = pm.training_report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    text = evolution_block(report, "Spawn budget exhausted")
    for line in (
        "  Training Complete",
        "  Reason           : Spawn budget exhausted",
        "  Best score       : 9.0000",
        "  Val score        : 9.0000",
        "  Generalization   : 0.5000  (train − val)",
        "  Spawns used      : 1 / 3",
        "  Pruned agents    : 0",
        "  Ensemble size    : 2",
        "  Regime           : trending",
        "  Agents           :",
        "    [0] weight=2.4100  mean_score=8.7100",
        "    [1] weight=1.0000  mean_score=-",
        "    variant 1 of snapshot 000001: not judged",
    ):
        assert line in text.splitlines(), text
    assert "learning_rate 0.05 -> " in text


def test_ranked_snapshots_are_best_first(tmp_path: Path) -> None:
    assert [s.eval_metrics.primary_score for s in manager(tmp_path).ranked_snapshots] == [9.0, 5.0]


def test_the_lineage_tells_what_snapshots_are_worth_by_now(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0, 8.0], max_spawns=2)
    rig.loop.run()
    registry = rig.pm.registry
    for snapshot in registry.ranked_snapshots:
        metrics = snapshot.eval_metrics
        registry.rescore(snapshot, dataclasses.replace(metrics, primary_score=metrics.primary_score - 0.5))
    first, second = rig.pm.training_report()["lineage"]
    assert (first["parent_score"], first["score"], first["outcome"]) == (4.5, 7.5, "new best")
    assert second["parent"] == first["snapshot"]
    assert (second["parent_score"], second["score"], second["snapshot"]) == (7.5, 8.0, None)  # kept: nothing was saved
    assert "        score 4.5000 -> 7.5000 in " in evolution_block(rig.pm.training_report(), "")
    registry.max_snapshots = 1
    registry.prune()
    assert rig.pm.training_report()["lineage"] == [first, second]  # what is gone keeps its last score


def test_whole_numbers_stay_whole_in_a_variant_where_bounds_are_a_pair(tmp_path: Path) -> None:
    class Batched(NumpyAgent):
        def __init__(self) -> None:
            super().__init__()
            self.params["batch"] = 64

        @property
        def default_param_bounds(self) -> Mapping[str, Param | tuple[float, float]]:
            return {"batch": (16, 256)}

    registry = CheckpointRegistry(tmp_path)
    registry.save(Batched(), EvalMetrics(1.0))
    pool = PolicyManager(registry, seed=0)
    drawn = [pool.spawn_variant(Batched(), noise_scale=0.5).get_hyperparams().params["batch"] for _ in range(20)]
    assert all(type(value) is int and 16 <= value <= 256 for value in drawn)
    assert len(set(drawn)) > 10
