import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import (
    BackoffOptimizer,
    BasePipeline,
    BatchPipeline,
    EpisodeReturnEvaluator,
    HyperparamSet,
    LoopCallback,
    LoopState,
    RLOptimizer,
    make_agent,
)
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.ensemble_agent import EnsembleAgent
from tensor_optix.core.faults import EpisodesFailedError
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.errors import (
    BadDataError,
    CheckpointLockedError,
    CheckpointStorageError,
    ContractError,
    HyperparamError,
    InvalidArgumentError,
    ModelShapeError,
    SpaceError,
)
from tests.fakes.weights import weights_of
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline

FAST = {"n_epochs": 2}


def run(folder: Path, *, seed: int = 3, windows: int = 4, framework: str = "torch", **kwargs: Any) -> tuple[Any, Any]:
    agent = make_agent("CartPole-v1", framework=framework, hyperparams=FAST, seed=seed, net_arch=[8])
    pipeline = BatchPipeline("CartPole-v1", window_size=128)
    report = RLOptimizer(
        agent, pipeline, checkpoint_dir=folder, max_episodes=windows, seed=seed, val_episodes=2, **kwargs
    ).run()
    return agent, report


@pytest.mark.usefixtures("short_last_tests")
def test_the_same_seed_gives_the_same_weights_decisions_and_history(tmp_path: Path) -> None:
    (first, _), (second, _) = run(tmp_path / "a"), run(tmp_path / "b")
    for name, array in weights_of(first).items():
        np.testing.assert_array_equal(array, weights_of(second)[name])
    assert (tmp_path / "a/history.jsonl").read_bytes() == (tmp_path / "b/history.jsonl").read_bytes()
    assert len(list(read_history(tmp_path / "a/history.jsonl"))) == 4


@pytest.mark.slow
def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    run(tmp_path / "a", seed=3)
    run(tmp_path / "b", seed=4)
    assert (tmp_path / "a/history.jsonl").read_bytes() != (tmp_path / "b/history.jsonl").read_bytes()


@pytest.mark.slow
def test_training_is_the_same_with_and_without_validation(tmp_path: Path) -> None:
    fixed = {"optimizer": BackoffOptimizer({}), "restore_best": False}
    (with_validation, _) = run(tmp_path / "a", **fixed)
    (without, _) = run(tmp_path / "b", val_pipeline=None, **fixed)
    for name, array in weights_of(with_validation).items():
        np.testing.assert_array_equal(array, weights_of(without)[name])
    train_scores = [
        [record.eval_metrics.metrics["mean_return"] for record in read_history(tmp_path / name / "history.jsonl")]
        for name in "ab"
    ]
    assert train_scores[0] == train_scores[1]


@pytest.mark.usefixtures("short_last_tests")
def test_what_is_handed_back_is_the_best_snapshot(tmp_path: Path) -> None:
    agent, report = run(tmp_path)
    other = make_agent("CartPole-v1", framework="torch", seed=99, net_arch=[8])
    other.load_weights(str(Path(report.best_snapshot) / "weights" / "agent"))
    for name, array in weights_of(agent).items():
        np.testing.assert_array_equal(array, weights_of(other)[name])


def test_the_reported_score_is_of_the_final_evaluation(tmp_path: Path) -> None:
    optimizer = RLOptimizer(
        NumpyAgent(),
        BatchPipeline("CartPole-v1", window_size=128),
        checkpoint_dir=tmp_path,
        max_episodes=3,
        validation_share=None,
        seed=0,
    )
    report = optimizer.run()
    best = optimizer.registry.best
    assert best is not None
    assert best.eval_metrics.metrics["final_episodes"] == 100
    assert report.best_score == best.eval_metrics.primary_score
    assert report.best_std_err == best.eval_metrics.std_err > 0
    first, *others = optimizer.registry.ranked_snapshots  # what is not confirmed may owe a higher score to luck
    assert first == best
    assert all(snapshot.era < best.era for snapshot in others)


@pytest.mark.usefixtures("short_last_tests")
def test_plain_defaults_really_tune(tmp_path: Path) -> None:
    run(tmp_path, windows=12)
    history = list(read_history(tmp_path / "history.jsonl"))
    assert len({tuple(record.hyperparams.params.values()) for record in history}) > 1
    assert any(record.probed_param == "learning_rate" or record.probed_param for record in history)


@pytest.mark.usefixtures("short_last_tests")
def test_without_tuning_nothing_is_changed(tmp_path: Path) -> None:
    run(tmp_path, windows=6, tuning=False)
    history = list(read_history(tmp_path / "history.jsonl"))
    assert len({tuple(record.hyperparams.params.values()) for record in history}) == 1


@pytest.mark.parametrize("bound", [{"max_windows": 2}, {"max_windows": 2, "max_episodes": 2}, {"max_steps": 17}])
def test_a_run_ends_at_its_bound(tmp_path: Path, bound: dict[str, int]) -> None:
    pipeline = BatchPipeline("CartPole-v1", window_size=16)
    report = RLOptimizer(NumpyAgent(), pipeline, val_pipeline=None, checkpoint_dir=tmp_path, **bound).run()
    assert (report.windows, report.env_steps) == (2, 32)


@pytest.mark.usefixtures("short_last_tests")
def test_an_earlier_run_in_the_directory_is_moved_aside_not_mixed_in(tmp_path: Path) -> None:
    run(tmp_path, windows=2)
    first = (tmp_path / "history.jsonl").read_bytes()
    run(tmp_path, windows=2, seed=5)
    assert (tmp_path / "previous_000" / "history.jsonl").read_bytes() == first
    assert len(list(read_history(tmp_path / "history.jsonl"))) == 2


def test_a_run_stays_where_it_began_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaving(LoopCallback):
        def on_episode_end(self, window_id: int, eval_metrics: object) -> None:
            monkeypatch.chdir(tmp_path / "other")

    for name in ("start", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "start")
    pipeline = ScriptedPipeline([1.0, 2.0, 3.0])
    report = RLOptimizer(NumpyAgent(), pipeline, checkpoint_dir="run", callbacks=[Leaving()]).run()
    assert Path.cwd() == tmp_path / "other"
    assert not list((tmp_path / "other").iterdir())
    run_dir = tmp_path / "start" / "run"
    assert len(list(read_history(run_dir / "history.jsonl"))) == 3
    assert Path(report.best_snapshot or "").parent == run_dir


def test_any_six_method_agent_trains_with_every_argument_of_the_facade(tmp_path: Path) -> None:
    class Quiet(LoopCallback):
        pass

    report = RLOptimizer(
        agent=NumpyAgent(),
        pipeline=ScriptedPipeline([1.0, 2.0, 2.0, 2.0, 2.0]),
        val_pipeline=ScriptedPipeline([1.0, 2.0, 2.0, 2.0, 2.0]),
        evaluator=ScoreEvaluator(),
        optimizer=BackoffOptimizer({"learning_rate": (0.01, 0.2)}),
        checkpoint_dir=tmp_path,
        max_snapshots=10,
        rollback_on_degradation=False,
        improvement_margin=0.0,
        max_episodes=None,
        base_interval=1,
        backoff_factor=2.0,
        max_interval_episodes=1,
        plateau_threshold=1,
        dormant_threshold=2,
        degradation_threshold=0.95,
        callbacks=[Quiet()],
        val_episodes=5,
        on_converged="auto",
        restore_best=True,
        seed=None,
        progress=None,
    ).run()
    assert report.converged
    assert report.best_score == 2.0


def test_where_the_environment_cannot_be_rebuilt_training_is_scored_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env = gym.make("CartPole-v1").unwrapped
    env.spec = None
    pipeline = BatchPipeline(env, window_size=128)
    report = RLOptimizer(NumpyAgent(), pipeline, checkpoint_dir=tmp_path, max_episodes=2).run()
    assert report.best_score > 0
    assert sum("No automatic validation" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.usefixtures("short_last_tests")
def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    agent = make_agent("CartPole-v1", framework="torch", seed=np.int64(3), net_arch=(np.int64(8), np.int64(8)))
    report = RLOptimizer(
        agent,
        BatchPipeline("CartPole-v1", window_size=np.int64(64), seed=np.int32(3)),
        checkpoint_dir=tmp_path,
        max_snapshots=np.int64(3),
        improvement_margin=np.float32(0.0),
        max_episodes=np.int64(3),
        base_interval=np.int64(1),
        backoff_factor=np.float32(2.0),
        max_interval_episodes=np.int64(4),
        plateau_threshold=np.int64(1),
        dormant_threshold=np.int64(4),
        degradation_threshold=np.float64(0.9),
        val_episodes=np.int64(2),
        seed=np.int64(1),
    ).run()
    assert (report.windows, report.env_steps) == (3, 192)
    assert report.health == {}  # the state of the run could be saved


class TestBadInput:
    @pytest.mark.parametrize(
        ("kwargs", "error", "message"),
        [
            ({"plateau_threshold": 9, "dormant_threshold": 9}, InvalidArgumentError, "dormant_threshold must be above"),
            ({"plateau_threshold": 0}, InvalidArgumentError, "plateau_threshold must be a whole number of"),
            ({"base_interval": 5, "max_interval_episodes": 2}, InvalidArgumentError, "max_interval_episodes must be"),
            ({"backoff_factor": 0.5}, InvalidArgumentError, "backoff_factor must be a number of at least 1"),
            ({"max_episodes": 0}, InvalidArgumentError, "max_episodes must be a whole number of at least 1"),
            ({"max_windows": 0}, InvalidArgumentError, "max_windows must be a whole number of at least 1"),
            ({"max_windows": 3, "max_episodes": 4}, InvalidArgumentError, "two names of one bound, but got 3 and 4"),
            ({"max_steps": 0}, InvalidArgumentError, "max_steps must be a whole number of at least 1"),
            ({"target_score": float("nan")}, InvalidArgumentError, "target_score must be a finite number"),
            ({"tuning": False, "optimizer": BackoffOptimizer({})}, InvalidArgumentError, "Give one of them"),
            ({"max_snapshots": 0}, InvalidArgumentError, "max_snapshots must be a whole number of at least 1"),
            ({"val_episodes": 0}, InvalidArgumentError, "val_episodes must be a whole number of at least 1"),
            ({"validation_share": 1.0}, InvalidArgumentError, "validation_share must be above 0 and below 1, or None"),
            ({"val_episodes": 2.5}, InvalidArgumentError, "val_episodes must be a whole number of at least 1"),
            ({"seed": -1}, InvalidArgumentError, "seed must be a whole number of at least 0, but got -1"),
            ({"checkpoint_dir": None}, InvalidArgumentError, "checkpoint_dir must be the path of a directory"),
            ({"callbacks": 3}, ContractError, "callbacks must be a list of callbacks, but got 3"),
            ({"callbacks": LoopCallback()}, ContractError, "callbacks must be a list"),
            ({"callbacks": [LoopCallback]}, ContractError, r"the class LoopCallback\. Write LoopCallback\(\)"),
            ({"callbacks": [print]}, ContractError, "at least one hook of"),
            ({"evaluator": EpisodeReturnEvaluator}, ContractError, "the class EpisodeReturnEvaluator itself"),
            ({"val_pipeline": "automatic"}, InvalidArgumentError, "'auto' or None"),
            ({"val_pipeline": 3}, ContractError, "val_pipeline must be a BasePipeline, but got int"),
            ({"evaluator": object()}, ContractError, "evaluator must be a BaseEvaluator, but got object"),
            ({"optimizer": "adam"}, ContractError, "optimizer must be a BaseOptimizer, but got str"),
            ({"optimizer": BackoffOptimizer({"lr": (0.1, 0.2)})}, HyperparamError, "which the agent does not have"),
        ],
    )
    def test_is_refused_before_any_training(
        self, tmp_path: Path, kwargs: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        agent = NumpyAgent()
        with pytest.raises(error, match=message):
            RLOptimizer(agent, ScriptedPipeline([1.0]), **{"checkpoint_dir": tmp_path, **kwargs})
        assert agent.learned == []

    def test_an_agent_or_pipeline_of_another_kind(self, tmp_path: Path) -> None:
        with pytest.raises(ContractError, match="agent must be a BaseAgent, but got str"):
            RLOptimizer("agent", ScriptedPipeline([1.0]))  # type: ignore[arg-type]
        with pytest.raises(ContractError, match=r"pipeline must be a BasePipeline, but got str\. Write BatchPipeline"):
            RLOptimizer(NumpyAgent(), "CartPole-v1")  # type: ignore[arg-type]

    def test_the_training_pipeline_as_validation(self, tmp_path: Path) -> None:
        pipeline = ScriptedPipeline([1.0])
        with pytest.raises(ContractError, match="must be another pipeline"):
            RLOptimizer(NumpyAgent(), pipeline, val_pipeline=pipeline)

    @pytest.mark.parametrize("wrap", [lambda env: env, gym.wrappers.RecordEpisodeStatistics])
    def test_one_environment_for_training_and_validation(self, wrap: Callable[[gym.Env], gym.Env]) -> None:
        env = gym.make("CartPole-v1")
        with pytest.raises(ContractError, match="step the same environment"):
            RLOptimizer(NumpyAgent(), BatchPipeline(env), val_pipeline=BatchPipeline(wrap(env), n_episodes=1))

    def test_a_model_that_does_not_fit_names_both_shapes(self) -> None:
        agent = make_agent("Acrobot-v1", framework="torch", seed=0)
        with pytest.raises(ModelShapeError, match=r"cannot take observations of shape \(2, 4\)"):
            RLOptimizer(agent, BatchPipeline("CartPole-v1"))

    def test_a_model_with_too_many_outputs_names_both_shapes(self) -> None:
        agent = make_agent("CartPole-v1", framework="torch", seed=0)
        env = gym.make("CartPole-v1")
        env.action_space = gym.spaces.Discrete(3)
        with pytest.raises(ModelShapeError, match=r"returns shape \(2, 2\).*\(2, 3\) is needed"):
            RLOptimizer(agent, BatchPipeline(env))

    def test_a_distribution_that_does_not_fit_the_actions(self) -> None:
        with pytest.raises(SpaceError, match=r"Box.*Pass distribution='gaussian'"):
            RLOptimizer(make_agent("CartPole-v1", framework="torch", seed=0), BatchPipeline("Pendulum-v1"))

    def test_a_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        optimizer = RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0]), checkpoint_dir=tmp_path / "file" / "run")
        with pytest.raises(CheckpointStorageError, match="choose another checkpoint_dir"):
            optimizer.run()

    def test_a_directory_in_use_by_another_process(self, tmp_path: Path) -> None:
        holder = subprocess.Popen(  # noqa: S603 - our own interpreter
            [
                sys.executable,
                "-c",
                textwrap.dedent(
                    """
                    import sys
                    from tensor_optix import CheckpointRegistry
                    registry = CheckpointRegistry(sys.argv[1])
                    registry.open()
                    print("held", flush=True)
                    sys.stdin.read()
                    """
                ),
                str(tmp_path),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            optimizer = RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0]), checkpoint_dir=tmp_path)
            with pytest.raises(CheckpointLockedError, match="in use by another process"):
                optimizer.run()
        finally:
            holder.communicate()
        assert optimizer.run().best_score == 1.0


class FailingEnv(gym.Env):
    """Raises from its tenth step on, however often it is made anew."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        type(self).steps += 1
        if self.steps >= 10:
            raise OSError("the robot fell over")
        return np.zeros(4, np.float32), 1.0, self.steps % 2 == 0, False, {}


def test_an_environment_that_raises_ends_the_run_with_everything_saved(tmp_path: Path) -> None:
    optimizer = RLOptimizer(
        NumpyAgent(), BatchPipeline(FailingEnv(), window_size=4), val_pipeline=None, checkpoint_dir=tmp_path
    )
    with pytest.raises(EpisodesFailedError, match=r"3 times in a row(.|\n)*the robot fell over"):
        optimizer.run()
    assert optimizer.registry.best is not None
    assert len(list(read_history(tmp_path / "history.jsonl"))) == 2


def test_a_custom_pipeline_without_validation_is_scored_on_its_windows(tmp_path: Path) -> None:
    class Plain(BasePipeline):
        def episodes(self):
            yield from ScriptedPipeline([1.0, 3.0]).episodes()

    report = RLOptimizer(NumpyAgent(), Plain(), evaluator=EpisodeReturnEvaluator(), checkpoint_dir=tmp_path).run()
    assert (report.reason, report.best_score) == ("exhausted", 3.0)


def test_hyperparams_of_the_best_are_reported(tmp_path: Path) -> None:
    agent = NumpyAgent()
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.125}))
    report = RLOptimizer(agent, ScriptedPipeline([1.0]), checkpoint_dir=tmp_path).run()
    assert report.hyperparams == {"learning_rate": 0.125}


@pytest.mark.usefixtures("short_last_tests")
def test_a_users_validation_is_greedy_and_leaves_training_as_it_is(tmp_path: Path) -> None:
    fixed = {"optimizer": BackoffOptimizer({}), "restore_best": False}

    def trained(folder: str, **kwargs: Any) -> dict[str, np.ndarray]:
        agent = make_agent("CartPole-v1", framework="torch", hyperparams=FAST, seed=1, net_arch=[8])
        pipeline = BatchPipeline("CartPole-v1", agent, window_size=64)
        if "val" in folder:
            kwargs["val_pipeline"] = BatchPipeline("CartPole-v1", agent=agent, n_episodes=2, seed=9)
        RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path / folder, max_episodes=3, seed=1, **fixed, **kwargs).run()
        return weights_of(agent)

    with_validation, without = trained("val"), trained("none", val_pipeline=None)
    for name, array in with_validation.items():
        np.testing.assert_array_equal(array, without[name])


def test_a_pipeline_of_another_agent_is_refused() -> None:
    with pytest.raises(ContractError, match="holds another agent"):
        RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0], NumpyAgent()))
    with pytest.raises(ContractError, match="val_pipeline holds another agent"):
        RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0]), val_pipeline=ScriptedPipeline([1.0], NumpyAgent()))


def test_hyper_parameters_that_cannot_be_saved_are_refused_before_training() -> None:
    agent = NumpyAgent()
    agent.params["schedule"] = lambda step: step
    with pytest.raises(BadDataError, match="cannot be saved as JSON"):
        RLOptimizer(agent, ScriptedPipeline([1.0]))
    assert agent.learned == []


def test_stop_is_followed_by_a_short_test_of_the_best_alone(tmp_path: Path) -> None:
    class Stopper(LoopCallback):
        def on_improvement(self, snapshot: Any) -> None:
            optimizer.stop()

    optimizer = RLOptimizer(
        make_agent("CartPole-v1", framework="torch", seed=0),
        BatchPipeline("CartPole-v1", window_size=64),
        checkpoint_dir=tmp_path,
        callbacks=[Stopper()],
        seed=0,
    )
    assert optimizer.run().reason == "stopped"
    tested = optimizer.registry.best.eval_metrics.metrics.get("final_episodes", 0)
    assert tested in range(0, 21, 5)  # four windows, or as many as fit into the seconds


@pytest.mark.usefixtures("short_last_tests")
def test_evolution_is_wired_by_itself_and_told_in_the_report(tmp_path: Path) -> None:
    def made(seed: int) -> Any:
        return make_agent("CartPole-v1", framework="torch", hyperparams=FAST, seed=seed, net_arch=[8])

    agent = made(0)
    pm = PolicyManager(CheckpointRegistry(tmp_path), max_spawns=1, seed=0)
    callback = pm.as_callback(agent, agent_factory=lambda: made(7))
    callback.printer = None
    optimizer = RLOptimizer(
        agent,
        BatchPipeline("CartPole-v1", window_size=64),
        checkpoint_dir=tmp_path,
        plateau_threshold=1,
        dormant_threshold=2,
        max_interval_episodes=1,
        val_episodes=2,
        callbacks=[callback],
        seed=0,
    )
    callback.set_stop_fn(optimizer.stop)  # as in the seed; it does no harm
    report = optimizer.run()
    assert report.reason in ("budget", "nothing_learned")  # so few windows may well teach nothing
    assert [variant["number"] for variant in report.evolution["lineage"]] == [1]
    best = made(5)
    optimizer.registry.load_best(best)
    for name, array in weights_of(agent).items():
        np.testing.assert_array_equal(array, weights_of(best)[name])
    assert "Lineage" in str(report)


class StatefulPipeline(ScriptedPipeline):
    """Its state is the number of windows so far, as that of a normaliser would be."""

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: Any) -> None:
        self.restored = state["position"]


class TunableNumpyAgent(NumpyAgent):
    @property
    def default_param_bounds(self) -> Any:
        return {"learning_rate": (0.0, 1.0)}


def test_evolution_takes_part_in_the_run_policy_state_bounds_and_seed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def evolved(folder: Path) -> tuple[StatefulPipeline, PolicyManager]:
        pm = PolicyManager(CheckpointRegistry(folder), max_spawns=1)
        callback = pm.as_callback(TunableNumpyAgent(), agent_factory=TunableNumpyAgent)
        callback.printer = None
        agent, pipeline = callback.learners.learner, StatefulPipeline([1.0, 2.0, 3.0, *[0.0] * 20])
        RLOptimizer(
            agent,
            pipeline,
            val_pipeline=None,
            evaluator=ScoreEvaluator(),
            optimizer=BackoffOptimizer({"learning_rate": (0.09, 0.11)}),
            checkpoint_dir=folder,
            plateau_threshold=1,
            dormant_threshold=3,
            max_interval_episodes=1,
            restore_best=False,
            callbacks=[callback],
            seed=3,
        ).run()
        return pipeline, pm

    (pipeline, pm), (_, again) = evolved(tmp_path / "one"), evolved(tmp_path / "other")
    assert pipeline.restored == 3  # the clone of the best plays under the statistics that the best had
    assert "which nothing here takes" not in caplog.text
    assert pm.newest_lineage is not None
    assert again.newest_lineage == pm.newest_lineage  # though neither manager was given a seed
    ((_, rate),) = pm.newest_lineage.changes.values()
    assert 0.09 <= rate <= 0.11


@pytest.mark.usefixtures("short_last_tests")
def test_three_ppo_agents_train_as_an_ensemble(tmp_path: Path) -> None:
    pm = PolicyManager(CheckpointRegistry(tmp_path))
    agents = [make_agent("CartPole-v1", framework="torch", seed=seed, net_arch=[8]) for seed in range(3)]
    for agent in agents:
        pm.add_agent(agent)
    ensemble = EnsembleAgent(pm, agents[0], seed=0)
    before = [weights_of(agent) for agent in agents]
    pipeline = BatchPipeline("CartPole-v1", agent=ensemble, window_size=64)
    report = RLOptimizer(
        ensemble,
        pipeline,
        checkpoint_dir=tmp_path,
        max_episodes=2,
        val_episodes=2,
        callbacks=[pm.as_callback(agents[0])],
    ).run()
    assert report.windows == 2
    changed = [any((weights_of(a)[n] != old[n]).any() for n in old) for a, old in zip(agents, before, strict=True)]
    assert changed[0]


def test_a_disk_that_takes_nothing_until_the_end_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise CheckpointStorageError("No space left on device.")

    monkeypatch.setattr(CheckpointRegistry, "stage", full)
    agent = NumpyAgent()
    pipeline = BatchPipeline("CartPole-v1", window_size=50)
    report = RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, max_episodes=3, val_pipeline=None).run()
    assert report.windows == 3
    assert report.best_snapshot is None  # nothing is said to be saved that is not
    assert report.health["storage"] > 1


def of_scores(scores: list[float], folder: Path, **how: Any) -> RLOptimizer:
    return RLOptimizer(NumpyAgent(), ScriptedPipeline(scores), None, ScoreEvaluator(), checkpoint_dir=folder, **how)


class TestSeveralRuns:
    def test_two_of_one_process_in_one_directory(self, tmp_path: Path) -> None:
        refused: list[CheckpointLockedError] = []

        class RunsAnother(LoopCallback):
            def on_episode_end(self, window_id: int, eval_metrics: object) -> None:
                other = RLOptimizer(NumpyAgent(), ScriptedPipeline([9.0]), None, checkpoint_dir=tmp_path)
                with pytest.raises(CheckpointLockedError, match="another run of this process") as caught:
                    other.run()
                refused.append(caught.value)

        report = of_scores([1.0], tmp_path / "x" / "..", callbacks=[RunsAnother()]).run()
        assert (len(refused), report.best_score) == (1, 1.0)

    def test_one_after_the_other_in_one_directory(self, tmp_path: Path) -> None:
        for score in (2.0, 1.0):
            assert of_scores([score], tmp_path).run().best_score == score

    def test_another_call_does_not_exceed_max_episodes(self, tmp_path: Path) -> None:
        optimizer = of_scores([1.0] * 9, tmp_path, max_episodes=2)
        assert [optimizer.run().windows for _ in range(2)] == [2, 2]
        assert optimizer.run().reason == "max_episodes"

    def test_a_stop_before_the_run_has_begun_in_its_thread_is_not_lost(self, tmp_path: Path) -> None:
        optimizer = of_scores([1.0, 2.0], tmp_path)
        optimizer.stop()
        first, second = optimizer.run(), optimizer.run()
        assert (first.reason, first.windows) == ("stopped", 0)
        assert (second.reason, second.windows) == ("exhausted", 2)

    def test_a_stop_ends_one_run(self, tmp_path: Path) -> None:
        class StopsAtOnce(LoopCallback):
            def on_improvement(self, snapshot: object) -> None:
                optimizer.stop()

        optimizer = of_scores([1.0, 2.0, 2.0], tmp_path, callbacks=[StopsAtOnce()])
        assert [optimizer.run().windows for _ in range(2)] == [1, 2]


def test_the_facade_tells_its_state_and_the_best_snapshot(tmp_path: Path) -> None:
    optimizer = RLOptimizer(
        NumpyAgent(), ScriptedPipeline([1.0, 3.0, 2.0, 2.0]), None, checkpoint_dir=tmp_path, callbacks=None
    )
    assert (optimizer.state, optimizer.best_snapshot) == (LoopState.ACTIVE, None)
    report = optimizer.run()
    assert optimizer.best_snapshot is not None
    assert optimizer.best_snapshot.eval_metrics.primary_score == report.best_score == 3.0
    assert optimizer.state is LoopState.ACTIVE
