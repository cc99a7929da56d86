import dataclasses
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.lineage import Lineage
from tensor_optix.core.decisions.succession import Ended, LearnOn
from tensor_optix.core.loop.execution import Execution
from tensor_optix.core.loop.history import History, read_history
from tensor_optix.core.loop.learner import learner_slot
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.meta_controller import MetaAction, MetaController
from tensor_optix.core.policy_manager import PolicyManager, PolicyManagerCallback
from tensor_optix.core.training_report import StopReason, evolution_block
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import ContractError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, window_of


class Climber(NumpyAgent):
    """Its weight rises by one per window; its worth is that weight, up to a ceiling."""

    def __init__(self, ceiling: float) -> None:
        super().__init__(learning_rate=1.0)
        self.ceiling = ceiling


class Worth(BasePipeline):
    """Windows whose return is the worth of the agent that acts."""

    def __init__(self, agent: Climber) -> None:
        self.agent = agent
        self.windows = 0

    def episodes(self) -> Iterator[EpisodeData]:
        agent: Any = self.agent
        while True:
            self.windows += 1
            yield window_of(min(agent.weight, agent.ceiling), self.windows - 1)


class SeededWorth(Worth):
    """The same, and it can be asked again: the run ends with a test of the leaders."""

    def fresh_seeds(self) -> list[int]:
        return [0]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        agent: Any = self.agent.agent if isinstance(self.agent, GreedyAgent) else self.agent
        return window_of(min(agent.weight, agent.ceiling))


class Led(Climber):
    """Acts as its learner does, and is led by one of several."""

    def __init__(self, pm: PolicyManager, learner: Climber, ceiling: float = 0.0) -> None:
        super().__init__(ceiling)
        self.pm, self.learner = pm, learner

    def set_learner(self, agent: Any) -> None:
        self.pm.index_of(agent)
        self.learner = agent


class Bystander:
    """A referee that tests nothing and rolls nothing back."""

    def settle(self) -> None:
        pass

    def roll_back(self, score: float) -> bool:
        return False

    def scores_alone(self, agents: Sequence[BaseAgent]) -> Sequence[EvalMetrics]:
        return ()


def dormant(window_id: int, history: Sequence[EvalMetrics] = ()) -> Ended:
    return Ended(window_id=window_id, is_dormant=True, history=tuple(history), watches=False, referee=Bystander())


class Rig:
    """A loop over climbers, with evolution."""

    def __init__(
        self,
        folder: Path,
        ceilings: Sequence[float],
        *,
        max_spawns: int | None = None,
        controller: Any = None,
        factory: Any = "new",
        optimizer: BaseOptimizer | None = None,
        validation: type[Worth] = Worth,
        max_episodes: int | None = None,
        interval: int = 1,
        max_snapshots: int = 50,
        evaluator: ScoreEvaluator | None = None,
        on_converged: Literal["stop", "watch"] = "stop",
        together: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.first = Climber(ceilings[0])
        self.made: list[Climber] = []
        self._ceilings = iter(ceilings[1:])
        self.pm = PolicyManager(CheckpointRegistry(folder, 50), max_spawns=max_spawns, seed=0, **kwargs)
        self.callback = self.pm.as_callback(
            self.first, agent_factory=self.make if factory == "new" else factory, meta_controller=controller
        )
        self.printed: list[str] = []
        self.callback.printer = self.printed.append
        self.led = Led(self.pm, self.first, ceiling=together or 0.0)
        acting = self.first if together is None else self.led
        self.pipeline = Worth(acting)
        registry = CheckpointRegistry(folder, max_snapshots)
        registry.open()
        self.loop = LoopController(
            LoopParts(
                agent=acting,
                pipeline=self.pipeline,
                val_pipeline=validation(acting),
                evaluator=evaluator or ScoreEvaluator(),
                optimizer=optimizer or BackoffOptimizer({}),
                registry=registry,
                history=History(folder / "history.jsonl"),
            ),
            LoopConfig(
                scheduler=BackoffScheduler(
                    base_interval=interval, plateau_threshold=2, dormant_threshold=4, max_interval=interval
                ),
                max_episodes=max_episodes,
                final_evaluation=True,
                on_converged=on_converged,
            ),
            [self.callback],
        )
        self.callback.join_run({}, None, None)

    def make(self) -> Climber:
        self.made.append(Climber(next(self._ceilings)))
        return self.made[-1]

    def outcomes(self) -> list[str]:
        return [variant["outcome"] for variant in self.pm.training_report()["lineage"]]


def test_a_variant_learns_on_from_the_best_and_becomes_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 8.0], max_spawns=1)
    report = rig.loop.run()
    (variant,) = rig.made
    assert len(rig.first.learned) == 9  # five that rise, four of patience
    assert variant.learned[0] == 9
    assert report.reason == "budget"
    assert report.best_score == 8.0
    assert rig.outcomes() == ["new best"]
    assert rig.first.weight == 8.0  # the user's own agent holds the best policy, whoever found it
    assert rig.pipeline.agent is rig.first


@pytest.mark.parametrize(("ceiling", "outcome", "size"), [(4.9, "kept", 2), (3.0, "discarded", 1)])
def test_a_variant_that_is_not_the_best_is_kept_if_it_holds(
    tmp_path: Path, ceiling: float, outcome: str, size: int
) -> None:
    rig = Rig(tmp_path, [5.0, ceiling], max_spawns=1)
    report = rig.loop.run()
    assert (rig.outcomes(), rig.pm.ensemble_size) == ([outcome], size)
    assert report.best_score == 5.0
    assert rig.first.weight == 5.0


@pytest.mark.parametrize("validation", [Worth, SeededWorth])
def test_who_is_kept_keeps_weights_of_its_own(tmp_path: Path, validation: type[Worth]) -> None:
    rig = Rig(tmp_path, [5.0, 4.9, 4.9], max_spawns=2, validation=validation)
    rig.loop.run()
    assert rig.outcomes() == ["kept", "kept"]
    # Each began as a copy of 5 and lived four windows; the ensemble holds no copies of the parent.
    assert [member.weight for member in (rig.first, *rig.made)] == [5.0, 9.0, 9.0]
    assert rig.pm.agents == (rig.first, *rig.made)


def test_a_variant_that_was_never_evaluated_is_not_judged(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 8.0], max_spawns=1, max_episodes=9)
    assert rig.loop.run().reason == "max_episodes"
    (variant,) = rig.pm.training_report()["lineage"]
    assert (variant["outcome"], variant["score"], variant["windows"]) == ("not judged", None, 0)
    assert rig.pm.agents == (rig.first,)


class Looking(Climber):
    """Notes which snapshots there are whenever it learns."""

    def __init__(self, ceiling: float, registry: CheckpointRegistry) -> None:
        super().__init__(ceiling)
        self.registry, self.seen = registry, []

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.seen.append([snapshot.snapshot_id for snapshot in self.registry.snapshots()])
        return super().learn(episode_data)


def test_what_a_variant_began_as_is_not_pruned_while_it_learns(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path, max_snapshots=1)
    variant = Looking(30.0, registry)
    rig = Rig(tmp_path, [5.0], max_spawns=1, max_snapshots=1, factory=lambda: variant)
    rig.loop.run()
    parent = rig.pm.training_report()["lineage"][0]["parent"]
    assert rig.outcomes() == ["new best"]
    assert len(variant.seen) > 5  # each of which brought a new best, and pruned all the rest
    assert all(parent in seen and len(seen) <= 2 for seen in variant.seen)
    registry.prune()
    assert [snapshot.snapshot_id for snapshot in registry.snapshots()] != [parent]
    assert len(registry.snapshots()) == 1


def test_a_resumed_variant_keeps_what_it_began_as_and_does_without_it_if_it_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, [5.0, 3.0], max_spawns=1)
    for score in (1.0, 2.0):
        rig.pm.registry.save(rig.first, EvalMetrics(score))
    slot = learner_slot(rig.first)
    rig.callback.join(slot)
    answer = rig.callback.next(dormant(8))
    assert isinstance(answer, LearnOn)
    slot.install(answer.agent)
    state = rig.callback.run_state()
    rig.callback.write_agents(tmp_path)
    registry = CheckpointRegistry(tmp_path, max_snapshots=1)
    again = Rig(tmp_path, [5.0, 3.0], max_spawns=1)
    del rig
    gc.collect()
    again.callback.restore_run(state, tmp_path)
    registry.save(again.first, EvalMetrics(3.0))
    assert [snapshot.snapshot_id for snapshot in registry.snapshots()] == ["000001", "000002"]
    del again
    gc.collect()
    registry.prune()
    Rig(tmp_path, [5.0, 3.0], max_spawns=1).callback.restore_run(state, tmp_path)
    assert "cannot be kept" in caplog.text


def test_an_ensemble_of_one_keeps_the_incumbent_until_the_variant_is_judged(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 3.0, 4.9, 8.0], max_spawns=3, max_ensemble_size=1)
    rig.loop.run()
    assert rig.outcomes() == ["discarded", "kept", "new best"]
    assert rig.pm.agents == (rig.made[-1],)
    assert rig.pm.status()["pruned"] == 2  # the one that held only, and the first


def test_the_lineage_tells_what_snapshots_are_worth_by_now(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 8.0, 8.0], max_spawns=2)
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


def test_the_lineage_knows_a_policy_that_the_last_test_has_crowned(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 100.0], max_spawns=1, validation=SeededWorth, interval=2, max_episodes=19)
    report = rig.loop.run()
    (variant,) = rig.pm.training_report()["lineage"]
    assert report.best_window == 18
    assert variant["snapshot"] == Path(str(report.best_snapshot)).name.removeprefix("snapshot_")
    assert (variant["outcome"], variant["score"]) == ("new best", report.best_score)


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
    rig = Rig(tmp_path, [5.0, 5.0], max_spawns=1, validation=Underrating, evaluator=Unsure())
    report = rig.loop.run()
    (variant,) = rig.pm.training_report()["lineage"]
    assert (report.reason, report.best_score) == ("budget", rig.made[0].weight)
    assert (variant["outcome"], variant["score"]) == ("new best", report.best_score)
    assert rig.pm.agents == (rig.first, rig.made[0])


def test_what_a_learner_ends_as_is_settled_before_a_variant_takes_its_place(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 8.0], max_spawns=1, validation=SeededWorth)
    rig.loop.run()
    ends = [s.window_id for s in CheckpointRegistry(tmp_path).snapshots() if not s.eval_metrics.has_evidence]
    assert ends[0] == rig.made[0].learned[0] - 1  # it has competed: it is there, and did not win
    assert len(ends) == 2  # that of the variant by the end of the run alone


def test_a_test_that_fails_leaves_the_scores_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, [5.0, 8.0], max_spawns=1)

    def fail(execution: Execution) -> None:
        raise OSError("the environment died")

    monkeypatch.setattr(Execution, "settle", fail)
    assert rig.loop.run().best_score == 8.0
    assert "could not be tested" in caplog.text


def test_decisions_look_at_the_learners_own_evaluations(tmp_path: Path) -> None:
    controller = Says(MetaAction.SPAWN, MetaAction.STOP)
    rig = Rig(tmp_path, [5.0, 8.0], controller=controller)
    rig.loop.run()
    assert [seen for seen, _ in controller.seen] == [9, len(rig.made[0].learned)]


def test_where_several_act_a_discarded_learner_makes_way_for_the_incumbent(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 3.0], max_spawns=1, together=0.0)
    rig.pm.add_agent(rig.first)
    variant, led = Climber(3.0), rig.led
    rig.callback.learners.variant = Lineage(1, "000000", 5.0, 0.1, {})
    rig.pm.add_agent(variant)
    rig.callback.learners.learner = led.learner = variant
    assert rig.callback.learners.judge_variant([EvalMetrics(1.0)]) == "discarded"
    assert led.learner is rig.callback.learners.learner is rig.first


@pytest.mark.parametrize(("several", "stay"), [(True, 2), (False, 1)])
def test_where_several_act_nobody_leaves_once_the_best_is_restored(tmp_path: Path, several: bool, stay: int) -> None:
    rig = Rig(tmp_path, [5.0], max_ensemble_size=1, together=0.0 if several else None)
    variant = Climber(8.0)
    for agent in (rig.first, variant):
        rig.pm.add_agent(agent)
    rig.callback.learners.variant = Lineage(1, "000000", 5.0, 0.1, {}, snapshot="000001")
    rig.callback.learners.learner = variant
    rig.callback.conclude(StopReason.CONVERGED)
    assert rig.pm.agents == (rig.first, variant)[-stay:]


def led_rig(folder: Path, validation: type[Worth]) -> tuple[Rig, Led]:
    """Two members, worth 6 and 3, that are worth 4 together."""
    rig = Rig(folder, [6.0], factory=None, validation=validation, together=4.0)
    rig.first.weight = 6.0
    other = Climber(3.0)
    other.weight = 3.0
    for agent in (rig.first, other):
        rig.pm.add_agent(agent)
    return rig, rig.led


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


def test_the_incumbent_is_not_pruned(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0], controller=Says(MetaAction.PRUNE))
    other = NumpyAgent()
    for agent, score in ((rig.first, -100.0), (other, 100.0)):
        rig.pm.add_agent(agent)
        rig.pm.record_agent_score(rig.pm.index_of(agent), score)
    rig.loop.run()
    assert rig.pm.agents == (rig.first,)


def test_the_budget_ends_the_run_and_the_report_is_printed_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 7.0, 6.0, 9.0], max_spawns=3)
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


def test_a_variant_that_keeps_climbing_has_the_share_of_the_first_and_no_more(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 1000.0], max_spawns=1)
    rig.loop.run()
    assert len(rig.made[0].learned) == len(rig.first.learned)
    assert rig.outcomes() == ["new best"]


def test_where_the_run_goes_on_a_variant_that_has_spent_its_share_is_judged_and_learns_on(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 1000.0], max_spawns=1, max_episodes=30, on_converged="watch")
    assert rig.loop.run().reason == "max_episodes"
    (variant,) = rig.pm.training_report()["lineage"]
    assert (variant["outcome"], variant["windows"]) == ("new best", len(rig.first.learned))
    assert len(rig.made[0].learned) == 30 - len(rig.first.learned)
    assert "max_episodes windows are done" in rig.printed[0]


@pytest.mark.parametrize(("ceiling", "outcome"), [(1.0, "discarded"), (4.9, "kept")])
def test_where_the_run_goes_on_the_incumbent_takes_over_from_who_is_not_the_best(
    tmp_path: Path, ceiling: float, outcome: str
) -> None:
    rig = Rig(tmp_path, [5.0, ceiling], max_spawns=1, max_episodes=40, on_converged="watch")
    report = rig.loop.run()
    assert (rig.outcomes(), report.reason) == ([outcome], "max_episodes")
    (variant,) = rig.made
    assert max(variant.learned) < max(rig.first.learned)
    assert variant.weight == 5.0 + (len(variant.learned) if outcome == "kept" else 0)
    assert report.watch["windows"] > 0
    assert rig.first.weight == 5.0


def test_each_members_scores_are_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 5.5], max_spawns=1)
    rig.loop.run()
    first, variant = (member.scores for member in rig.pm._members)
    assert max(first) == 5.0
    assert set(variant) == {5.5}


def test_the_weakest_make_way(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 7.0, 9.0, 11.0], max_spawns=3, max_ensemble_size=2)
    rig.loop.run()
    assert rig.pm.agents == tuple(rig.made[1:])
    assert rig.pm.status()["pruned"] == 2


def test_without_a_factory_it_rolls_back_and_the_run_converges(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0], max_spawns=3, factory=None)
    report = rig.loop.run()
    assert (report.reason, rig.printed) == ("converged", [])


def test_no_budget_at_all_stops_at_the_first_dormant(tmp_path: Path) -> None:
    assert Rig(tmp_path, [5.0, 8.0], max_spawns=0).loop.run().reason == "budget"


def test_a_spawn_that_fails_is_logged_counted_and_leaves_the_incumbent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Climber:
        raise OSError("no memory")

    rig = Rig(tmp_path, [5.0], max_spawns=3, factory=fails)
    report = rig.loop.run()
    assert "A spawn failed" in caplog.text
    assert (report.reason, report.best_score, rig.first.weight) == ("converged", 5.0, 5.0)
    status = rig.pm.status()
    assert (status["failed_spawns"], status["spawns_used"], rig.pm.agents) == (1, 0, (rig.first,))
    assert "Spawns used      : 0 / 3  (1 failed)" in evolution_block(rig.pm.training_report(), "")


def test_a_shell_that_does_not_fit_is_a_failed_spawn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Narrow(Climber):
        def load_weights(self, path: str) -> None:
            raise ValueError("shapes (2,) and (3,)")

    rig = Rig(tmp_path, [5.0], max_spawns=3, factory=lambda: Narrow(9.0))
    report = rig.loop.run()
    assert "Narrow cannot take the weights of the best snapshot" in caplog.text
    assert (report.reason, report.best_score, rig.first.weight) == ("converged", 5.0, 5.0)
    status = rig.pm.status()
    assert (status["failed_spawns"], status["spawns_used"], rig.pm.agents) == (1, 0, (rig.first,))
    assert rig.pipeline.agent is rig.first


@pytest.mark.parametrize("first_is_made", [True, False])
def test_a_factory_that_repeats_itself_ends_the_run_with_everything_saved(tmp_path: Path, first_is_made: bool) -> None:
    made: list[Climber] = []
    rig = Rig(tmp_path, [5.0], max_spawns=3, factory=lambda: made[0])
    made.append(Climber(8.0) if first_is_made else rig.first)
    with pytest.raises(ContractError, match="agent_factory returned the same Climber again"):
        rig.loop.run()
    best = 8.0 if first_is_made else 5.0
    assert (rig.loop.report().reason, rig.loop.report().best_score, rig.first.weight) == ("error", best, best)
    assert rig.pm.status()["failed_spawns"] == 1


def test_a_factory_that_returns_the_same_object_is_a_typed_error_and_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 8.0], max_spawns=3)
    rig.loop.run()
    again = PolicyManagerCallback(rig.pm, rig.first, lambda: rig.first)
    again._seen.append(EvalMetrics(1.0))
    rig.pm.max_spawns = 9
    with pytest.raises(ContractError, match="the same Climber again"):
        again.on_dormant(0)
    assert rig.pm.status()["failed_spawns"] >= 1


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
    rig = Rig(tmp_path, [5.0, 1.0], max_spawns=1, optimizer=optimizer)
    rig.loop.run()
    assert optimizer.switches == [False]
    records = read_history(tmp_path / "history.jsonl")
    since = len(rig.first.learned)
    decisions = [t.decision for record in records if record.window_id >= since for t in record.tuning]
    assert "returned" not in decisions  # it degrades at once, and does not go back to its parent's values
    assert records[since - 1].tuning == ()


class Says:
    def __init__(self, *actions: Any) -> None:
        self.actions = list(actions)
        self.seen: list[tuple[int, dict]] = []

    def decide(self, history: Sequence[EvalMetrics], pm_status: dict) -> Any:
        self.seen.append((len(history), pm_status))
        return self.actions.pop(0)


def test_a_controller_decides(tmp_path: Path) -> None:
    controller = Says(MetaAction.SPAWN, MetaAction.SPAWN, MetaAction.STOP)
    rig = Rig(tmp_path, [5.0, 8.0, 9.0], controller=controller)
    report = rig.loop.run()
    assert (report.reason, len(rig.made)) == ("converged", 2)
    assert controller.seen[0][0] == 9  # the evaluation that made it dormant is part of the history
    assert [status["spawns_used"] for _, status in controller.seen] == [0, 1, 2]


def test_prune_and_no_op_leave_the_end_to_the_loop(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 8.0], controller=Says(MetaAction.SPAWN, MetaAction.PRUNE))
    assert rig.loop.run().reason == "converged"
    assert rig.pm.agents == (rig.made[0],)
    other = Rig(tmp_path / "other", [5.0], controller=Says(MetaAction.NO_OP))
    assert other.loop.run().reason == "converged"


def test_a_meta_controller_works_through_the_loop(tmp_path: Path) -> None:
    rig = Rig(tmp_path, [5.0, 8.0], max_spawns=1, controller=MetaController(gap_threshold=9.0, window=4))
    assert rig.loop.run().reason == "budget"
    assert rig.outcomes() == ["new best"]


def test_a_controller_that_returns_something_else_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="must return a MetaAction, but returned 'spawn'"):
        PolicyManagerCallback(
            PolicyManager(CheckpointRegistry(tmp_path)),
            NumpyAgent(),
            None,
            Says("spawn"),  # type: ignore[arg-type]
        ).on_dormant(0)
    rig = Rig(tmp_path / "run", [5.0], controller=Says("spawn"))
    with pytest.raises(ContractError, match="must return a MetaAction, but returned 'spawn'"):
        rig.loop.run()
    assert (rig.loop.report().reason, rig.first.weight) == ("error", 5.0)  # with everything saved


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


def test_without_a_loop_set_stop_fn_ends_the_run(tmp_path: Path) -> None:
    calls: list[int] = []
    registry = CheckpointRegistry(tmp_path)
    callback = PolicyManager(registry, max_spawns=0).as_callback(NumpyAgent())
    with pytest.raises(ContractError, match=r"needs a function, .*, but got NoneType"):
        callback.set_stop_fn(None)  # type: ignore[arg-type]
    callback.set_stop_fn(lambda: calls.append(1))
    callback.on_dormant(3)
    assert calls == [1]
