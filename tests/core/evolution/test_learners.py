"""Which agent learns, what becomes of a variant, and what is kept of both."""

import gc
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.lineage import Lineage
from tensor_optix.core.decisions.succession import LearnOn
from tensor_optix.core.evolution import learners
from tensor_optix.core.loop.learner import learner_slot
from tensor_optix.core.meta_controller import MetaAction
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.training_report import evolution_block
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import CheckpointCorruptError, ContractError
from tests.fakes.evolution import Climber, EvolutionRig, Says, SeededWorth, Worth, dormant
from tests.helpers import NumpyAgent


def test_a_variant_learns_on_from_the_best_and_becomes_it(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0], max_spawns=1)
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
    rig = EvolutionRig(tmp_path, [5.0, ceiling], max_spawns=1)
    report = rig.loop.run()
    assert (rig.outcomes(), rig.pm.ensemble_size) == ([outcome], size)
    assert report.best_score == 5.0
    assert rig.first.weight == 5.0


@pytest.mark.parametrize("validation", [Worth, SeededWorth])
def test_who_is_kept_keeps_its_weights(tmp_path: Path, validation: type[Worth]) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 4.9, 4.9], max_spawns=2, validation=validation)
    rig.loop.run()
    assert rig.outcomes() == ["kept", "kept"]
    # Each began as a copy of 5 and learned from four windows; the ensemble holds no copies of the parent.
    assert [member.weight for member in (rig.first, *rig.made)] == [5.0, 9.0, 9.0]
    assert rig.pm.agents == (rig.first, *rig.made)


def test_a_variant_that_was_never_evaluated_is_not_judged(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 8.0], max_spawns=1, max_episodes=9)
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
    rig = EvolutionRig(tmp_path, [5.0], max_spawns=1, max_snapshots=1, factory=lambda: variant)
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
    rig = EvolutionRig(tmp_path, [5.0, 3.0], max_spawns=1)
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
    again = EvolutionRig(tmp_path, [5.0, 3.0], max_spawns=1)
    del rig
    gc.collect()
    again.callback.restore_run(state, tmp_path)
    registry.save(again.first, EvalMetrics(3.0))
    assert [snapshot.snapshot_id for snapshot in registry.snapshots()] == ["000001", "000002"]
    del again
    gc.collect()
    registry.prune()
    EvolutionRig(tmp_path, [5.0, 3.0], max_spawns=1).callback.restore_run(state, tmp_path)
    assert "cannot be kept" in caplog.text


def test_an_ensemble_of_one_keeps_the_incumbent_until_the_variant_is_judged(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 3.0, 4.9, 8.0], max_spawns=3, max_ensemble_size=1)
    rig.loop.run()
    assert rig.outcomes() == ["discarded", "kept", "new best"]
    assert rig.pm.agents == (rig.made[-1],)
    assert rig.pm.status()["pruned"] == 2  # the one that held only, and the first


def test_the_lineage_knows_a_policy_that_the_last_test_has_crowned(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 100.0], max_spawns=1, validation=SeededWorth, interval=2, max_episodes=19)
    report = rig.loop.run()
    (variant,) = rig.pm.training_report()["lineage"]
    assert report.best_window == 18
    assert variant["snapshot"] == Path(str(report.best_snapshot)).name.removeprefix("snapshot_")
    assert (variant["outcome"], variant["score"]) == ("new best", report.best_score)


def test_where_several_act_a_discarded_learner_makes_way_for_the_incumbent(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 3.0], max_spawns=1, together=0.0)
    rig.pm.add_agent(rig.first)
    variant, led = Climber(3.0), rig.led
    rig.callback.learners.variant = Lineage(1, "000000", 5.0, 0.1, {})
    rig.pm.add_agent(variant)
    rig.callback.learners.learner = led.learner = variant
    assert rig.callback.learners.judge_variant([EvalMetrics(1.0)]) == "discarded"
    assert led.learner is rig.callback.learners.learner is rig.first


def test_the_incumbent_is_not_pruned(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0], controller=Says(MetaAction.PRUNE))
    other = NumpyAgent()
    for agent, score in ((rig.first, -100.0), (other, 100.0)):
        rig.pm.add_agent(agent)
        rig.pm.record_agent_score(rig.pm.index_of(agent), score)
    rig.loop.run()
    assert rig.pm.agents == (rig.first,)


def test_a_variant_that_keeps_climbing_has_the_share_of_the_first_and_no_more(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 1000.0], max_spawns=1)
    rig.loop.run()
    assert len(rig.made[0].learned) == len(rig.first.learned)
    assert rig.outcomes() == ["new best"]


def test_where_the_run_goes_on_a_variant_that_has_spent_its_share_is_judged_and_learns_on(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 1000.0], max_spawns=1, max_episodes=30, on_converged="watch")
    assert rig.loop.run().reason == "max_episodes"
    (variant,) = rig.pm.training_report()["lineage"]
    assert (variant["outcome"], variant["windows"]) == ("new best", len(rig.first.learned))
    assert len(rig.made[0].learned) == 30 - len(rig.first.learned)
    assert "max_episodes windows are done" in rig.printed[0]


@pytest.mark.parametrize(("ceiling", "outcome"), [(1.0, "discarded"), (4.9, "kept")])
def test_where_the_run_goes_on_the_incumbent_takes_over_from_who_is_not_the_best(
    tmp_path: Path, ceiling: float, outcome: str
) -> None:
    rig = EvolutionRig(tmp_path, [5.0, ceiling], max_spawns=1, max_episodes=40, on_converged="watch")
    report = rig.loop.run()
    assert (rig.outcomes(), report.reason) == ([outcome], "max_episodes")
    (variant,) = rig.made
    assert max(variant.learned) < max(rig.first.learned)
    assert variant.weight == 5.0 + (len(variant.learned) if outcome == "kept" else 0)
    assert report.watch["windows"] > 0
    assert rig.first.weight == 5.0


def test_each_members_scores_are_its_own(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 5.5], max_spawns=1)
    rig.loop.run()
    members = rig.pm.members_state(lambda agent: type(agent).__name__)["members"]
    first, variant = (member["scores"] for member in members)
    assert max(first) == 5.0
    assert set(variant) == {5.5}


def test_the_weakest_make_way(tmp_path: Path) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 7.0, 9.0, 11.0], max_spawns=3, max_ensemble_size=2)
    rig.loop.run()
    assert rig.pm.agents == tuple(rig.made[1:])
    assert rig.pm.status()["pruned"] == 2


def test_a_spawn_that_fails_is_logged_counted_and_leaves_the_incumbent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Climber:
        raise OSError("no memory")

    rig = EvolutionRig(tmp_path, [5.0], max_spawns=3, factory=fails)
    report = rig.loop.run()
    assert "A spawn failed" in caplog.text
    assert (report.reason, report.best_score, rig.first.weight) == ("converged", 5.0, 5.0)
    status = rig.pm.status()
    assert (status["failed_spawns"], status["spawns_used"], rig.pm.agents) == (1, 0, (rig.first,))
    assert "Spawns used      : 0 / 3  (1 failed)" in evolution_block(rig.pm.training_report(), "")


def test_a_factory_that_has_failed_too_often_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(learners, "MOST_FAILED", 2)
    rig = EvolutionRig(tmp_path, [5.0], factory=lambda: 1 / 0)
    rig.pm.registry.save(rig.first, EvalMetrics(1.0))
    for _ in range(4):
        rig.callback.next(dormant(8))
    assert (rig.pm.status()["failed_spawns"], rig.callback.learners.can_spawn) == (2, False)
    assert caplog.text.count("no other is tried") == 1


@pytest.mark.parametrize("n_made", [10**9, 2, -1])
def test_the_factory_is_not_called_more_often_than_the_counts_say(tmp_path: Path, n_made: int) -> None:
    rig = EvolutionRig(tmp_path, [5.0, 3.0], max_spawns=1)
    rig.pm.registry.save(rig.first, EvalMetrics(1.0))
    slot = learner_slot(rig.first)
    rig.callback.join(slot)
    rig.callback.next(dormant(8))
    state = rig.callback.run_state() | {"n_made": n_made}
    again = EvolutionRig(tmp_path, [5.0, 3.0], max_spawns=1)
    with pytest.raises(
        CheckpointCorruptError, match=rf"called its agent_factory {n_made} times, but has counted 1 spawn"
    ):
        again.callback.restore_run(state, tmp_path)
    assert again.made == []


def test_a_resumed_run_judges_its_variant_by_what_was_seen_before(tmp_path: Path) -> None:
    state: Any = None
    for _ in range(2):
        rig = EvolutionRig(tmp_path, [5.0, 3.0], max_spawns=1)
        rig.callback.join(learner_slot(rig.first))
        if state is None:
            rig.pm.registry.save(rig.first, EvalMetrics(4.0))
            rig.callback.next(dormant(8))
            rig.callback.learners.slot.install(rig.callback.learners.learner)
            rig.callback.on_episode_end(9, EvalMetrics(1.0))
            state = rig.callback.run_state()
            rig.callback.write_agents(tmp_path)
        else:
            rig.callback.restore_run(state, tmp_path)
        rig.callback.conclude(StopReason.MAX_EPISODES)
        (variant,) = rig.pm.training_report()["lineage"]
        assert (variant["outcome"], variant["score"]) == ("discarded", 1.0)


@pytest.mark.parametrize("first_is_made", [True, False])
def test_a_factory_that_repeats_itself_ends_the_run_with_everything_saved(tmp_path: Path, first_is_made: bool) -> None:
    made: list[Climber] = []
    rig = EvolutionRig(tmp_path, [5.0], max_spawns=3, factory=lambda: made[0])
    made.append(Climber(8.0) if first_is_made else rig.first)
    with pytest.raises(ContractError, match="agent_factory returned the same Climber again"):
        rig.loop.run()
    best = 8.0 if first_is_made else 5.0
    assert (rig.loop.report().reason, rig.loop.report().best_score, rig.first.weight) == ("error", best, best)
    assert rig.pm.status()["failed_spawns"] == 1
