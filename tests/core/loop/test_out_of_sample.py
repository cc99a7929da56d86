"""The test is played once, by the best policy, when nothing is left to decide."""

from pathlib import Path

import pytest

from tensor_optix import LoopCallback, RLOptimizer
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import ContractError, TensorOptixError
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


class Weighed(ScriptedPipeline):
    """A window's return is the weight of the agent that it was told of."""

    def __init__(self, agent: NumpyAgent) -> None:
        super().__init__([])
        self.learner, self.played = agent, 0

    def episodes(self):  # type: ignore[no-untyped-def]
        while True:
            self.played += 1
            yield window_of(self.learner.weight, length=40)


class Rig:
    def __init__(self, folder: Path, **options: object) -> None:
        self.agent = NumpyAgent(learning_rate=1.0)
        self.test = Weighed(self.agent)
        self.optimizer = RLOptimizer(
            self.agent,
            ScriptedPipeline([1.0, 5.0, 2.0, 3.0]),
            val_pipeline=ScriptedPipeline([1.0, 5.0, 2.0, 3.0]),
            evaluator=ScoreEvaluator(),
            checkpoint_dir=folder,
            test_pipeline=self.test,
            **{"max_interval_episodes": 1, **options},  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(("restores", "weight"), [(True, 2.0), (False, 4.0)])
def test_the_best_plays_once_and_the_agent_ends_with_what_it_should(
    tmp_path: Path, restores: bool, weight: float
) -> None:
    rig = Rig(tmp_path, restore_best=restores)
    report = rig.optimizer.run()
    assert report.best_score == 5.0
    assert report.test is not None
    assert (report.test.score, report.test.steps) == (2.0, 40)  # the weight in the second window
    assert (rig.test.played, rig.test.closed) == (1, True)
    assert rig.agent.weight == weight


def test_a_run_that_may_go_on_is_not_tested_before_it_has(tmp_path: Path) -> None:
    class Stop(LoopCallback):
        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            if window_id == 1:
                rig.optimizer.stop()

    rig = Rig(tmp_path, callbacks=[Stop()])
    assert rig.optimizer.run().test is None
    assert rig.test.played == 0
    report = rig.optimizer.run()
    assert (report.reason, rig.test.played) == ("exhausted", 1)
    assert report.test is not None


def test_a_test_without_a_window_is_an_error_that_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.test.episodes = lambda: iter(())  # type: ignore[method-assign]
    with pytest.raises(TensorOptixError, match="the test needs one window"):
        rig.optimizer.run()


@pytest.mark.parametrize("shared", ["pipeline", "val_pipeline"])
def test_a_test_on_what_was_learned_from_or_chosen_by_is_refused(tmp_path: Path, shared: str) -> None:
    pipelines = {"pipeline": ScriptedPipeline([1.0]), "val_pipeline": ScriptedPipeline([1.0])}
    with pytest.raises(ContractError, match=f"test_pipeline must be another pipeline than {shared}"):
        RLOptimizer(NumpyAgent(), checkpoint_dir=tmp_path, test_pipeline=pipelines[shared], **pipelines)  # type: ignore[arg-type]


def test_the_evaluator_of_the_run_scores_it(tmp_path: Path) -> None:
    class Opposite(ScoreEvaluator):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, object]) -> EvalMetrics:
            found = super().score(episode_data, train_diagnostics)
            return EvalMetrics(-found.primary_score, {}, found.episode_id)

    agent = NumpyAgent(learning_rate=1.0)
    report = RLOptimizer(
        agent,
        ScriptedPipeline([1.0]),
        val_pipeline=ScriptedPipeline([1.0]),
        evaluator=Opposite(),
        checkpoint_dir=tmp_path,
        test_pipeline=Weighed(agent),
    ).run()
    assert report.test is not None
    assert report.test.score == -1.0
