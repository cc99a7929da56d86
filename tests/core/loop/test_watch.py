"""A six-method agent on a feed whose world changes: it is watched, wakes, learns again, and is tried against itself."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.drift import PageHinkley
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.meta_controller import MetaAction, MetaController
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import ContractError
from tests.fakes.agents import Follower
from tests.fakes.watching import EVALUATORS, ONE_CHANGE, Counterfactual, MeanReward, WatchRig, World


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_it_becomes_dormant_wakes_learns_again_and_becomes_dormant_again(
    tmp_path: Path, evaluator: type[BaseEvaluator]
) -> None:
    rig = WatchRig(tmp_path, evaluator=evaluator)
    (drift, woken), (settled, trial) = rig.events()
    assert 60 <= drift < 70
    assert woken == "drift"
    assert trial.startswith("promoted: ")
    first, second = rig.hooks.dormant
    assert [window for window in rig.hooks.degraded if window > first] == [drift]
    assert first < drift < second < settled
    # Nothing is learned on watch; from the window after the drift on it is, until the loop is dormant again.
    assert rig.agent.learned == [*range(first + 1), *range(drift + 1, second + 1)]
    assert rig.world.acted[drift + 1] == rig.world.acted[first + 1]  # it learns again from the champion's weights
    assert rig.agent.weight == pytest.approx(4.0, abs=0.3)
    counts = {name: rig.report.watch[name] for name in rig.report.watch if name != "windows"}
    assert counts == {"wakes": 1, "drifts": 1, "trials": 1, "promotions": 1}
    assert rig.report.watch["windows"] == 130 - len(rig.agent.learned)
    assert rig.optimizer.status.watch == rig.report.watch
    assert "woken 1 times" in str(rig.report)


def test_on_watch_it_is_evaluated_at_the_largest_interval(tmp_path: Path) -> None:
    rig = WatchRig(tmp_path, {0: 1.0})
    dormant = [record.window_id for record in rig.history if record.state == "watchdog"]
    assert rig.hooks.dormant == dormant[:1]
    assert {b - a for a, b in itertools.pairwise(dormant)} == {25}
    assert rig.events() == []


def test_a_shadow_acts_nowhere_and_turns_are_taken_in_pairs(tmp_path: Path) -> None:
    shadow = WatchRig(tmp_path / "shadow", evaluator=Counterfactual)
    settled, second = shadow.events()[1][0], shadow.hooks.dormant[1]
    champion = shadow.world.acted[shadow.events()[0][0]]
    assert set(shadow.world.acted[second + 1 : settled + 1]) == {champion}
    turns = WatchRig(tmp_path / "turns")
    settled, second = turns.events()[1][0], turns.hooks.dormant[1]
    acted = "".join("c" if a == champion else "h" for a in turns.world.acted[second + 1 : settled + 1])
    assert acted == ("chhc" * 100)[: len(acted)]
    assert len(acted) == 16  # eight pairs, all of them won


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_run_that_is_stopped_on_watch_and_resumed_is_the_one_that_was_not(
    tmp_path: Path, evaluator: type[BaseEvaluator]
) -> None:
    whole = WatchRig(tmp_path / "whole", evaluator=evaluator, restore_best=False)
    drift, settled = (window for window, _ in whole.events())
    stops = [30, drift - 1, drift, drift + 1, drift + 3, whole.hooks.dormant[1], settled - 5, settled - 2, settled]
    for n, stop_after in enumerate([*stops, None]):
        rig = WatchRig(tmp_path / "cut", evaluator=evaluator, restore_best=False, stop_after=stop_after, resume=n > 0)
    assert (tmp_path / "cut" / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()
    assert rig.agent.weight == whole.agent.weight
    assert rig.report.watch == whole.report.watch


def test_a_second_call_of_run_goes_on_watching(tmp_path: Path) -> None:
    rig = WatchRig(tmp_path, stop_after=30)
    rig.hooks.stop_after = None
    report = rig.optimizer.run()
    assert (report.reason, report.windows) == ("exhausted", 130)
    assert report.watch["promotions"] == 1


def test_a_challenger_that_cannot_be_read_is_demoted(tmp_path: Path) -> None:
    rig = WatchRig(tmp_path)
    settled = rig.events()[1][0]
    detector = PageHinkley()
    again = WatchRig(tmp_path / "again", stop_after=settled - 3, drift_detector=detector)
    challenger = max((tmp_path / "again").glob("snapshot_*"))
    (challenger / "weights" / "agent.npy").write_bytes(b"damaged")
    again.hooks.stop_after = None
    calm, to_come = len(detector.state_dict()["calm"]), 130 - again.world.position
    assert calm >= 5
    report = again.optimizer.run()
    assert report.watch["demotions"] == 1
    assert len(detector.state_dict()["calm"]) > to_come  # the champion is who it was: its calm is not forgotten
    assert "promotions" not in report.watch


class Alarms:
    """Is told scores, and gives an alarm at known ones of them."""

    def __init__(self, *alarms: int) -> None:
        self.alarms, self.told, self.resets = alarms, 0, 0

    def update(self, score: float) -> bool:
        self.told += 1
        return self.told in self.alarms

    def reset(self) -> None:
        self.resets += 1

    def state_dict(self) -> dict[str, Any]:
        return {"told": self.told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.told = state["told"]


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_drift_ends_a_trial_undecided_and_the_champion_learns_again(
    tmp_path: Path, evaluator: type[BaseEvaluator]
) -> None:
    detector = Alarms(60, 64)  # on watch, and with the fourth window of the champion in the trial
    rig = WatchRig(tmp_path, windows=200, evaluator=evaluator, drift_detector=detector)
    (first, woken), (second, again), (_, settled) = rig.events()
    assert (woken, again, settled[:8]) == ("drift", "drift", "promoted")
    dormant = rig.hooks.dormant[1]
    assert second - dormant == (4 if evaluator is Counterfactual else 8)  # c h h c c h h c
    assert rig.world.acted[second + 1] == rig.world.acted[first] == rig.world.acted[dormant + 1]
    assert second + 1 in rig.agent.learned
    counts = {name: rig.report.watch[name] for name in rig.report.watch if name != "windows"}
    assert counts == {"wakes": 2, "drifts": 2, "trials": 2, "promotions": 1}
    assert rig.agent.weight == pytest.approx(4.0, abs=0.3)


def test_a_drift_is_heard_even_where_validation_fails_just_then(tmp_path: Path) -> None:
    class Flaky(MeanReward):
        failed = 0

        def combine(self, train_metrics: EvalMetrics, val_metrics: EvalMetrics) -> EvalMetrics:
            if train_metrics.episode_id >= 60 and not Flaky.failed:
                Flaky.failed += 1
                raise RuntimeError("the validation data are gone")
            return super().combine(train_metrics, val_metrics)

    validation = World(ONE_CHANGE, 10**6)
    validation.position = 60  # of the new world, in which the old policy never was
    rig = WatchRig(tmp_path, windows=75, evaluator=Flaky, val_pipeline=validation, val_episodes=1)
    assert Flaky.failed == 1
    assert rig.report.watch["drifts"] == 1
    assert math.isfinite(rig.report.best_score)
    assert all(math.isfinite(s.eval_metrics.primary_score) for s in rig.optimizer.registry.ranked_snapshots)


class Deaf:
    """A detector that says what it is told to."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def update(self, score: float) -> bool:
        self.seen += 1
        return self.seen == self.at

    def reset(self) -> None:
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


@pytest.mark.parametrize("after", [0, 1, 2, 5, 10])
@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_it_wakes_where_the_world_changes_right_after_it_became_dormant(
    tmp_path: Path, evaluator: type[BaseEvaluator], after: int
) -> None:
    dormant = WatchRig(tmp_path / "calm", {0: 1.0}, windows=60, evaluator=evaluator).hooks.dormant[0]
    changes = dormant + 1 + after
    rig = WatchRig(tmp_path / "broken", {0: 1.0, changes: 4.0}, windows=changes + 10, evaluator=evaluator)
    ((woken, event),) = rig.events()
    assert event == "drift"
    assert changes <= woken < changes + 10


class FromNowOn(MetaController):
    """Spawns when it is told to."""

    may_spawn = False

    def decide(self, history: Sequence[EvalMetrics], pm_status: Mapping[str, object]) -> MetaAction:
        if pm_status["budget_exhausted"]:
            return MetaAction.STOP  # no reason to end a run that watches
        return MetaAction.SPAWN if self.may_spawn else MetaAction.NO_OP


class Learner(Follower):
    """A follower that learns nothing new from the change of its world on, unless it was spawned after it."""

    def __init__(self, *, is_spawned: bool = False) -> None:
        super().__init__(teach=lambda window, level: level if is_spawned or window < 60 else self.weight)
        self.is_spawned = is_spawned


class Allow(LoopCallback):
    def __init__(self, controller: FromNowOn) -> None:
        self.controller = controller

    def on_degradation(self, window_id: int, eval_metrics: EvalMetrics) -> None:
        self.controller.may_spawn = window_id >= 60


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_a_spawned_challenger_is_tried_like_any_other(tmp_path: Path, evaluator: type[BaseEvaluator]) -> None:
    first, controller, made = Learner(), FromNowOn(), list[Learner]()
    manager = PolicyManager(CheckpointRegistry(tmp_path), max_spawns=1, seed=0)

    def make() -> Learner:
        made.append(Learner(is_spawned=True))
        return made[-1]

    evolution = manager.as_callback(first, agent_factory=make, meta_controller=controller)
    evolution.printer = None
    rig = WatchRig(tmp_path, windows=160, agent=first, evaluator=evaluator, callbacks=[Allow(controller), evolution])
    (drift, woken), (settled, trial) = rig.events()
    assert (woken, trial[:10]) == ("drift", "promoted: ")
    (variant,) = made
    assert drift < min(variant.learned) < max(variant.learned) < settled  # nothing was learned during the trial
    assert variant.weight == pytest.approx(4.0, abs=0.3)
    assert max(first.learned) < min(variant.learned)
    assert first.weight == variant.weight  # the agent that the run began with is given the best
    (spawned,) = manager.training_report()["lineage"]
    assert spawned["outcome"] == "new best"
    counts = {name: rig.report.watch[name] for name in rig.report.watch if name != "windows"}
    assert counts == {"wakes": 1, "drifts": 1, "trials": 1, "promotions": 1}
    assert rig.report.windows == 160  # a spent budget has not ended it
    assert str(rig.report.best_snapshot).endswith(str(spawned["snapshot"]))


def test_another_detector_may_do_the_watching(tmp_path: Path) -> None:
    rig = WatchRig(tmp_path, {0: 1.0}, windows=100, drift_detector=Deaf(at=30))
    assert rig.events()[0] == (rig.hooks.dormant[0] + 30, "drift")
    with pytest.raises(ContractError, match="drift_detector must be a DriftDetector"):
        WatchRig(tmp_path / "no", drift_detector=object())


def test_the_default_detector_keeps_to_the_thresholds_of_the_loop(tmp_path: Path) -> None:
    rig = WatchRig(tmp_path, windows=90, min_degradation_drop=50.0)
    assert rig.events() == []  # a fall by three is none
