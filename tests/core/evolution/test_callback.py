"""What follows when a learner has ended: what evolution answers the loop, and what it tells at the end."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.lineage import Lineage
from tensor_optix.core.loop.execution import Execution
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.meta_controller import MetaAction, MetaController
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.training_report import StopReason
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import ContractError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.fakes.evolution import Climber, EvolutionRig, Says, SeededWorth, Worth, led_rig
from tests.fakes.loops import LoopRig
from tests.helpers import NumpyAgent, ScoreEvaluator, window_of


class Underrating(SeededWorth):
    """Only the long tests see what a policy is worth beyond its ceiling."""

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        agent: Any = self.agent.agent if isinstance(self.agent, GreedyAgent) else self.agent
        return window_of(agent.weight)


class Unsure(ScoreEvaluator):
    """Its scores have a large error, so that nobody is out of the running."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        return dataclasses.replace(super().score(episode_data, train_diagnostics), metrics={"score_std_err": 10.0})


def test_what_the_last_variant_ends_as_takes_part_in_the_last_test(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 5.0], max_spawns=1, validation=Underrating, evaluator=Unsure())
    report = rig.loop.run()
    (variant,) = rig.pm.training_report()["lineage"]
    assert (report.reason, report.best_score) == ("budget", rig.made[0].weight)
    assert (variant["outcome"], variant["score"]) == ("new best", report.best_score)
    assert rig.pm.agents == (rig.first, rig.made[0])


def test_what_a_learner_ends_as_is_settled_before_a_variant_takes_its_place(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0], max_spawns=1, validation=SeededWorth)
    rig.loop.run()
    ends = [s.window_id for s in CheckpointRegistry(tmp_path).snapshots() if not s.eval_metrics.has_evidence]
    assert ends[0] == rig.made[0].learned[0] - 1  # it has competed: it is there, and did not win
    assert len(ends) == 2  # that of the variant by the end of the run alone


def test_a_test_that_fails_leaves_the_scores_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0], max_spawns=1)

    def fail(execution: Execution) -> None:
        raise OSError("the environment died")

    monkeypatch.setattr(Execution, "settle", fail)
    assert rig.loop.run().best_score == 8.0
    assert "could not be tested" in caplog.text


def test_decisions_look_at_the_learners_own_evaluations(tmp_path: Path) -> None:
    controller = Says(MetaAction.SPAWN, MetaAction.STOP)
    rig = EvolutionRig(tmp_path, [5.0, 8.0], controller=controller)
    rig.loop.run()
    assert [seen for seen, _ in controller.seen] == [9, len(rig.made[0].learned)]


@pytest.mark.parametrize(("several", "stay"), [(True, 2), (False, 1)])
def test_where_several_act_nobody_leaves_once_the_best_is_restored(tmp_path: Path, several: bool, stay: int) -> None:
    rig = EvolutionRig(tmp_path, [5.0], max_ensemble_size=1, together=0.0 if several else None)
    variant = Climber(8.0)
    for agent in (rig.first, variant):
        rig.pm.add_agent(agent)
    rig.callback.learners.variant = Lineage(1, "000000", 5.0, 0.1, {}, snapshot="000001")
    rig.callback.learners.learner = variant
    rig.callback.conclude(StopReason.CONVERGED)
    assert rig.pm.agents == (rig.first, variant)[-stay:]


def test_where_several_act_each_member_is_scored_alone(tmp_path: Path) -> None:
    rig, _ = led_rig(tmp_path, SeededWorth)
    assert rig.loop.run().best_score == 4.0
    assert [member["mean_score"] for member in rig.pm.status()["agents"]] == [6.0, 3.0]
    assert rig.pm.weights == pytest.approx((4 / 3, 2 / 3))


def test_a_score_of_all_together_is_booked_on_nobody(tmp_path: Path) -> None:
    rig, _ = led_rig(tmp_path, Worth)  # no episodes fixed by seeds: members cannot be compared
    rig.loop.run()
    assert [member["mean_score"] for member in rig.pm.training_report()["agents"]] == [None, None]
    assert rig.pm.weights == (1.0, 1.0)


def test_members_that_cannot_be_scored_weigh_what_they_weighed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig, _ = led_rig(tmp_path, SeededWorth)
    rig.pm.add_agent(NumpyAgent())  # it has no ceiling, so that playing it fails
    assert rig.loop.run().reason == "converged"
    assert "The members could not be scored" in caplog.text
    assert rig.pm.weights == (1.0, 1.0, 1.0)


def test_the_budget_ends_the_run_and_the_report_is_printed_once(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 7.0, 6.0, 9.0], max_spawns=3)
    report = rig.loop.run()
    assert (report.reason, report.best_score) == ("budget", 9.0)
    assert rig.outcomes() == ["new best", "discarded", "new best"]
    (text,) = rig.printed
    assert "Spawn budget exhausted" in text
    assert "Spawns used      : 3 / 3" in text
    assert "variant 3 of snapshot" in text
    # Each variant was cloned from the best of its time.
    parents = [variant["parent_score"] for variant in rig.pm.training_report()["lineage"]]
    assert parents == [5.0, 7.0, 7.0]


def test_without_a_factory_it_rolls_back_and_the_run_converges(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0], max_spawns=3, factory=None)
    report = rig.loop.run()
    assert report.reason == "converged"
    (printed,) = rig.printed
    assert "Spawns used      : 0 / 3" in printed


def test_no_budget_at_all_stops_at_the_first_dormant(tmp_path: Path) -> None:
    assert EvolutionRig(tmp_path, [5.0, 8.0], max_spawns=0).loop.run().reason == "budget"


def test_a_shell_that_does_not_fit_is_a_failed_spawn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Narrow(Climber):
        def load_weights(self, path: str) -> None:
            raise ValueError("shapes (2,) and (3,)")

    rig = EvolutionRig(tmp_path, [5.0], max_spawns=3, factory=lambda: Narrow(9.0))
    report = rig.loop.run()
    assert "Narrow cannot take the weights of the best snapshot" in caplog.text
    assert (report.reason, report.best_score, rig.first.weight) == ("converged", 5.0, 5.0)
    status = rig.pm.status()
    assert (status["failed_spawns"], status["spawns_used"], rig.pm.agents) == (1, 0, (rig.first,))
    assert rig.pipeline.agent is rig.first


class Listening(BackoffOptimizer):
    """Notes who is on trial, and when another agent takes over."""

    def __init__(self) -> None:
        super().__init__({"learning_rate": (0.5, 1.5)})
        self.switches: list[bool] = []

    def on_new_learner(self) -> None:
        super().on_new_learner()
        self.switches.append(self.is_probing)


def test_a_trial_ends_with_its_learner_and_the_variant_keeps_its_own_values(tmp_path: Path) -> None:
    optimizer = Listening()
    rig = EvolutionRig(tmp_path, [5.0, 1.0], max_spawns=1, optimizer=optimizer)
    rig.loop.run()
    assert optimizer.switches == [False]
    records = list(read_history(tmp_path / "history.jsonl"))
    since = len(rig.first.learned)
    decisions = [t.decision for record in records if record.window_id >= since for t in record.tuning]
    assert "returned" not in decisions  # it degrades at once, and does not go back to its parent's values
    assert records[since - 1].tuning == ()


def test_a_controller_decides(tmp_path: Path) -> None:
    controller = Says(MetaAction.SPAWN, MetaAction.SPAWN, MetaAction.STOP)
    rig = EvolutionRig(tmp_path, [5.0, 8.0, 9.0], controller=controller)
    report = rig.loop.run()
    assert (report.reason, len(rig.made)) == ("converged", 2)
    assert controller.seen[0][0] == 9  # the evaluation that made it dormant is part of the history
    assert [status["spawns_used"] for _, status in controller.seen] == [0, 1, 2]


def test_prune_and_no_op_leave_the_end_to_the_loop(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0], controller=Says(MetaAction.SPAWN, MetaAction.PRUNE))
    assert rig.loop.run().reason == "converged"
    assert rig.pm.agents == (rig.made[0],)
    other = EvolutionRig(tmp_path / "other", [5.0], controller=Says(MetaAction.NO_OP))
    assert other.loop.run().reason == "converged"


def test_a_meta_controller_works_through_the_loop(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0], max_spawns=1, controller=MetaController(gap_threshold=9.0, window=4))
    assert rig.loop.run().reason == "budget"
    assert rig.outcomes() == ["new best"]


def test_a_controller_that_returns_something_else_ends_the_run_with_everything_saved(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0], controller=Says("spawn"))
    with pytest.raises(ContractError, match="must return a MetaAction, but returned 'spawn'"):
        rig.loop.run()
    assert (rig.loop.report().reason, rig.first.weight) == ("error", 5.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, object()), "must have decide"),
        ((None, MetaController), r"Write MetaController\(\)"),
        ((3, None), "agent_factory must be a function"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, arguments: tuple, message: str) -> None:
    pm = PolicyManager(CheckpointRegistry(tmp_path))
    with pytest.raises(ContractError, match=message):
        pm.as_callback(NumpyAgent(), *arguments)


def test_a_budget_without_a_factory_says_that_nothing_can_be_spawned_and_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    pm, agent = PolicyManager(CheckpointRegistry(tmp_path), max_spawns=3), NumpyAgent()
    rig = LoopRig(tmp_path, [1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0], agent=agent, callbacks=[pm.as_callback(agent)])
    report = rig.run()
    assert report.reason == "converged"
    assert "max_spawns=3, but there is no agent_factory, so nothing can be spawned" in caplog.text
    printed = capsys.readouterr().out
    assert "Spawns used      : 0 / 3" in printed
    assert "Best score       : 5.0000" in printed


def test_losses_weigh_the_members_and_roll_back_as_their_negatives_do(tmp_path: Path) -> None:
    registry, agent = CheckpointRegistry(tmp_path), NumpyAgent()
    agent.weight = 3.0
    registry.save(agent, EvalMetrics(2.0, lower_is_better=True))
    pm = PolicyManager(registry)
    assert not pm.evolve(agent, 1.0)
    assert pm.evolve(agent, 4.0)
    assert pm.evolve(agent, EvalMetrics(2.5, lower_is_better=True))
    for index, loss in enumerate((1.0, 4.0)):
        pm.add_agent(NumpyAgent())
        pm.record_evaluation(index, EvalMetrics(loss, lower_is_better=True))
    pm.auto_update_weights()
    assert pm.weights[0] > pm.weights[1]
    assert [member["mean_score"] for member in pm.status()["agents"]] == [1.0, 4.0]
    state = pm.members_state(lambda agent: "0" if agent is pm.agents[0] else "1")
    best, worst = pm.agents
    pm.restore_members(state, {"0": best, "1": worst}.__getitem__)
    assert pm.prune() == [worst]
