"""A run that is stopped and resumed is, bit for bit, the run that was never stopped."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import (
    BackoffOptimizer,
    BatchPipeline,
    CheckpointRegistry,
    EnsembleAgent,
    EpisodeReturnEvaluator,
    LivePipeline,
    Param,
    PBTOptimizer,
    PolicyManager,
    RLOptimizer,
    VectorBatchPipeline,
    make_agent,
)
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.storage import atomic
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError, TensorOptixError
from tests.fakes.agents import RememberingAgent
from tests.fakes.shortened import last_tests_shortened
from tests.helpers import NumpyAgent

pytestmark = pytest.mark.usefixtures("short_last_tests", "plain_graphs")


class SixMethods(NumpyAgent):
    """Nothing beside the six methods: its training state is its weight; and acting draws nothing."""

    def act(self, observation: Any) -> int:
        return int(np.sin(self.weight * np.asarray(observation).sum() * 50.0) > 0.0)


class StopAfter(LoopCallback):
    """Stops the run after one of its windows."""

    def __init__(self, window_id: int) -> None:
        self.window_id = window_id
        self.optimizer: RLOptimizer | None = None

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        if window_id == self.window_id and self.optimizer is not None:
            self.optimizer.stop()


def outcome(agent: BaseAgent, path: Path) -> dict[str, Any]:
    """Return everything that may not differ."""
    (path / "outcome").mkdir()
    agent.save_training_state(str(path / "outcome" / "agent"))
    state = {file.name: file.read_bytes() for file in sorted((path / "outcome").iterdir())}
    return {"state": state, "history": (path / "history.jsonl").read_bytes()}


def trained(
    path: Path,
    build: Callable[[], tuple[BaseAgent, BasePipeline, list[LoopCallback]]],
    stops: tuple[int, ...] = (),
    windows: int = 12,
    tuner: Callable[[], BaseOptimizer] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Run with interruptions after the windows `stops`, each time in new objects."""
    for i, stop in enumerate((*stops, -1)):
        agent, pipeline, callbacks = build()
        stopping = StopAfter(stop)
        optimizer = RLOptimizer(
            agent,
            pipeline,
            optimizer=tuner() if tuner is not None else None,
            checkpoint_dir=path,
            max_episodes=windows,
            callbacks=[*callbacks, stopping],
            seed=5,
            val_episodes=2,
            restore_best=False,
            resume=i > 0,
            **arguments,
        )
        stopping.optimizer = optimizer
        report = optimizer.run()
        assert (report.reason == "stopped") is (stop >= 0)
    return {**outcome(agent, path), "reason": report.reason, "evolution": report.evolution}


def numpy_agent() -> tuple[BaseAgent, BasePipeline, list[LoopCallback]]:
    return RememberingAgent(), BatchPipeline("CartPole-v1", window_size=50), []


class Glitching(gym.Wrapper):
    """A CartPole that gives a NaN now and then: by the seed of the episode."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))

    def glitch(self, observation: Any) -> Any:
        return observation * (np.nan if self.unwrapped.np_random.random() < 0.03 else 1.0)

    def reset(self, **arguments: Any) -> Any:
        observation, info = self.env.reset(**arguments)
        return self.glitch(observation), info

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        return (self.glitch(observation), *rest)


def beside(build: Any) -> Any:
    """The same, with updates beside collecting."""

    def built_beside() -> tuple[BaseAgent, BasePipeline, list[LoopCallback]]:
        agent, *rest = build()
        assert agent.learn_beside()
        return agent, *rest

    return built_beside


def glitching(pipeline: Callable[[], BasePipeline]) -> Any:
    return lambda: (RememberingAgent(), pipeline(), [])


def built(env: str, algorithm: str, framework: str, pipeline: Callable[[], BasePipeline], **hyperparams: Any) -> Any:
    def build() -> tuple[BaseAgent, BasePipeline, list[LoopCallback]]:
        agent = make_agent(env, algorithm, framework, hyperparams=hyperparams or None, seed=1, net_arch=[8])
        return agent, pipeline(), []

    return build


SCHEDULES = {"learning_rate": "lin_1e-3", "clip_ratio": "lin_0.24"}
CASES: dict[str, Any] = {
    "numpy": numpy_agent,
    "bad-steps": glitching(lambda: BatchPipeline(Glitching(), window_size=50, normalize_rewards=True)),
    "bad-steps-vector": glitching(
        lambda: VectorBatchPipeline([Glitching] * 3, None, 20, normalize_observations=True, normalize_rewards=True)
    ),
    "torch-ppo-normalised-on-schedules": built(
        "CartPole-v1",
        "ppo",
        "torch",
        lambda: BatchPipeline("CartPole-v1", window_size=60, normalize_observations=True, normalize_rewards=True),
        **SCHEDULES,
    ),
    "tf-ppo-vector": built("CartPole-v1", "ppo", "tf", lambda: VectorBatchPipeline(("CartPole-v1", 3), None, 20)),
    "torch-dqn-vector-of-functions": built(
        "Acrobot-v1",
        "dqn",
        "torch",
        lambda: VectorBatchPipeline(("Acrobot-v1", 2), None, 20),
        learning_starts=64,
        replay_capacity=300,
    ),
    "torch-sac": built(
        "Pendulum-v1",
        "sac",
        "torch",
        lambda: BatchPipeline("Pendulum-v1", window_size=30),
        learning_starts=64,
        replay_capacity=200,
        batch_size=32,
    ),
    "torch-sac-beside-normalised": beside(
        built(
            "Pendulum-v1",
            "sac",
            "torch",
            lambda: BatchPipeline("Pendulum-v1", window_size=30, normalize_observations=True),
            learning_starts=64,
            replay_capacity=200,
            batch_size=32,
        )
    ),
}


LONG = ("tf-ppo-vector", "torch-dqn-vector-of-functions", "torch-sac")


class Whole(NamedTuple):
    folder: Path
    outcome: dict[str, Any]


@pytest.fixture(scope="module")
def whole_numpy(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The run of a numpy agent that is not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with last_tests_shortened():
        return Whole(folder, trained(folder, numpy_agent))


@pytest.fixture(scope="module")
def four_windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short one."""
    folder = tmp_path_factory.mktemp("short") / "run"
    with last_tests_shortened():
        trained(folder, numpy_agent, windows=4)
    return folder


@pytest.mark.parametrize("case", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in CASES])
def test_an_interrupted_run_is_bit_for_bit_the_one_that_was_not(
    case: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stops = (3,) if case.startswith("tf") else (2, 3, 8)  # each agent compiles its own program there
    if case == "numpy":
        whole = request.getfixturevalue("whole_numpy").outcome
    else:
        whole = trained(tmp_path / "whole", CASES[case])
    resumed = trained(tmp_path / "resumed", CASES[case], stops=stops)
    assert resumed["history"] == whole["history"]
    assert resumed["state"] == whole["state"]


def test_a_schedule_has_the_length_of_the_run_and_the_rest_is_tuned(tmp_path: Path) -> None:
    found = trained(tmp_path / "run", CASES["torch-ppo-normalised-on-schedules"], windows=6)
    records = [json.loads(line) for line in found["history"].splitlines()]
    rates, ratios, entropies = (
        [record["hyperparams"]["params"][name] for record in records]
        for name in ("learning_rate", "clip_ratio", "entropy_coef")
    )
    shares = [1 - record["window_id"] / 6 for record in records]
    assert rates == pytest.approx([1e-3 * share for share in shares])
    assert ratios == pytest.approx([0.24 * share for share in shares])
    assert len(set(entropies)) > 1
    assert {tuned["name"] for record in records for tuned in record["tuning"]} == {"entropy_coef"}


def evolving(
    registry_path: Path, *, kind: type[NumpyAgent] = RememberingAgent, ensemble: bool = False
) -> Callable[[], Any]:
    def build() -> tuple[BaseAgent, BasePipeline, list[LoopCallback]]:
        numbers = iter(range(1, 100))
        first: BaseAgent = kind()
        manager = PolicyManager(CheckpointRegistry(registry_path), max_spawns=3, max_ensemble_size=2, seed=4)
        if ensemble:
            manager.add_agent(first)
            manager.add_agent(kind(seed=50))
        callback = manager.as_callback(first, agent_factory=lambda: kind(seed=next(numbers)))
        callback.printer = None
        acting = EnsembleAgent(manager, first, seed=6) if ensemble else first
        return acting, BatchPipeline("CartPole-v1", window_size=50), [callback]

    return build


@pytest.mark.parametrize("ensemble", [False, True])
def test_evolution_goes_on_where_it_was(ensemble: bool, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"windows": 60, "plateau_threshold": 2, "dormant_threshold": 4, "val_pipeline": None}
    whole = trained(tmp_path / "whole", evolving(tmp_path / "whole", ensemble=ensemble), **arguments)
    stops = (3, 9, 14, 20, 30)  # with the first agent, with each variant, between the evaluations
    resumed = trained(tmp_path / "resumed", evolving(tmp_path / "resumed", ensemble=ensemble), stops, **arguments)
    assert whole["reason"] == "budget"
    assert [variant["number"] for variant in whole["evolution"]["lineage"]] == [1, 2, 3]
    assert resumed == whole


TUNERS: dict[str, Callable[[], BaseOptimizer]] = {
    "backoff": lambda: BackoffOptimizer({"learning_rate": Param(1e-3, 1.0, "log")}),
    "pbt": lambda: PBTOptimizer({"learning_rate": Param(1e-3, 1.0, "log")}, seed=2),
}


@pytest.mark.parametrize(
    ("tuner", "ensemble"),
    [
        ("backoff", False),
        pytest.param("backoff", True, marks=pytest.mark.slow),
        pytest.param("pbt", False, marks=pytest.mark.slow),
        ("pbt", True),
    ],
)
def test_an_agent_of_six_methods_keeps_the_hyperparameters_that_were_tuned(
    tuner: str, ensemble: bool, tmp_path: Path
) -> None:
    def run(path: Path, stops: tuple[int, ...] = ()) -> dict[str, Any]:
        build = evolving(path, kind=SixMethods, ensemble=ensemble)
        thresholds: dict[str, Any] = {"plateau_threshold": 2, "dormant_threshold": 4, "max_interval_episodes": 2}
        return trained(path, build, stops, windows=60, tuner=TUNERS[tuner], val_pipeline=None, **thresholds)

    whole = run(tmp_path / "whole")
    rates = {line["hyperparams"]["params"]["learning_rate"] for line in map(json.loads, whole["history"].splitlines())}
    assert len(rates) > 3
    assert run(tmp_path / "resumed", stops=(3, 9, 14, 20)) == whole


def test_a_resumed_run_that_lost_its_state_would_differ(whole_numpy: Whole, tmp_path: Path) -> None:
    whole = whole_numpy.outcome
    cut = trained(tmp_path / "cut", numpy_agent, windows=8)
    assert cut["state"] != whole["state"]
    assert whole["history"].startswith(cut["history"][:200])
    assert np.count_nonzero([line != b"" for line in whole["history"].split(b"\n")]) == 12


def resumed(path: Path) -> None:
    RLOptimizer(*numpy_agent()[:2], checkpoint_dir=path, max_episodes=6, seed=5, val_episodes=2, resume=True).run()


def test_a_run_of_which_no_state_is_intact_does_not_start_over_by_itself(four_windows: Path, tmp_path: Path) -> None:
    shutil.copytree(four_windows, tmp_path, dirs_exist_ok=True)
    for point in tmp_path.glob("resume_[0-9]*"):
        (point / "state.json").write_text("{}")
    for _ in range(2):  # the second time they are in quarantine
        with pytest.raises(CheckpointCorruptError, match="none that is intact"):
            resumed(tmp_path)
    assert len(list((tmp_path / "quarantine").iterdir())) == 2
    assert not list(tmp_path.glob("previous_*"))


def resealed(folder: Path, state: dict[str, Any]) -> None:
    """Put another state in place of the saved one, as somebody who knows how it is sealed."""
    data = json.dumps(state).encode()
    (folder / "state.json").write_bytes(data)
    metadata = json.loads((folder / "metadata.json").read_text())
    del metadata["sha256"]
    metadata["files"]["state.json"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    metadata["sha256"] = atomic.digest_of(metadata)
    (folder / "metadata.json").write_bytes(atomic.encode_json(metadata))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pipeline", "stream", "builder", "length"), "../../etc"),
        (("pipeline", "stream", "trace", "actions"), []),
        (("optimizer", "evaluations"), "A"),
        (("run", "position"), ["active"]),
        (("run", "position", "state"), "bogus"),
        (("run", "ended"), "bogus"),
        (("run", "window_id"), "x"),
        (("totals", "seconds"), [1.0]),
        (("history",), "x"),
        (("history",), -1),
        (("callbacks",), [1]),
    ],
)
def test_a_state_that_was_tampered_with_is_a_typed_error(
    path: tuple[Any, ...], value: Any, four_windows: Path, tmp_path: Path
) -> None:
    shutil.copytree(four_windows, tmp_path, dirs_exist_ok=True)
    newest = max(tmp_path.glob("resume_[0-9]*"))
    state = json.loads((newest / "state.json").read_text())
    parent = state
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    resealed(newest, state)
    with pytest.raises(TensorOptixError):
        resumed(tmp_path)


def snapshots(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(file.read_text())["snapshot"] for file in sorted(path.glob("snapshot_*/metadata.json"))]
    return [{name: value for name, value in snapshot.items() if name != "created_at"} for snapshot in found]


@pytest.mark.slow
def test_a_run_that_is_cut_off_while_its_best_is_settled_gives_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill would leave is copied before and after each score that is replaced."""
    cut: list[Path] = []
    rescore = CheckpointRegistry.rescore

    def copied(registry: CheckpointRegistry, *given: Any) -> Any:
        cut.append(Path(shutil.copytree(registry.directory, tmp_path / f"{len(cut)}-before")))
        rescored = rescore(registry, *given)
        cut.append(Path(shutil.copytree(registry.directory, tmp_path / f"{len(cut)}-after")))
        return rescored

    def run(path: Path, *, resume: bool) -> None:
        agent, pipeline, callbacks = evolving(path)()
        RLOptimizer(
            agent,
            pipeline,
            checkpoint_dir=path,
            max_episodes=60,
            plateau_threshold=2,
            dormant_threshold=4,
            callbacks=callbacks,
            seed=5,
            val_episodes=2,
            validation_share=None,
            resume=resume,
        ).run()

    monkeypatch.setattr(CheckpointRegistry, "rescore", copied)
    run(tmp_path / "whole", resume=False)
    monkeypatch.undo()
    assert len(cut) > 10
    for path in cut[1::6]:
        run(path, resume=True)
        assert (path / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes(), path
        assert snapshots(path) == snapshots(tmp_path / "whole"), path
    run(cut[1], resume=True)  # one that has ended
    assert snapshots(cut[1]) == snapshots(tmp_path / "whole")


class SilentFeed:
    """A numbered feed that falls silent after some items, until it is closed."""

    def __init__(self, items: int) -> None:
        self.items, self.closed = items, threading.Event()

    def stream(self, after: int | None = None) -> Iterator[Any]:
        for n in range(0 if after is None else after + 1, self.items):
            yield np.array([float(n)]), 1.0, False, False, {"sequence": n}
        self.closed.wait()

    def close(self) -> None:
        self.closed.set()


def test_a_live_run_that_is_stopped_waits_for_no_window_and_resumes_with_the_items_of_it(tmp_path: Path) -> None:
    def optimizer(agent: NumpyAgent, items: int, **more: Any) -> RLOptimizer:
        pipeline = LivePipeline(SilentFeed(items), agent, LivePipeline.every_n_steps(8))
        evaluator = EpisodeReturnEvaluator(reward_weight=1.0)
        return RLOptimizer(agent, pipeline, evaluator=evaluator, checkpoint_dir=str(tmp_path), **more)

    class Counting(LoopCallback):
        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            if window_id == 2:
                threading.Timer(0.1, stopped.stop).start()

    agent = NumpyAgent()
    stopped = optimizer(agent, 30, callbacks=[Counting()])
    report = stopped.run()  # the fourth window never ends
    assert (report.reason, report.windows) == ("stopped", 3)
    resumed = NumpyAgent()
    optimizer(resumed, 100, resume=True, max_episodes=5).run()
    assert resumed.learned == [3, 4]
