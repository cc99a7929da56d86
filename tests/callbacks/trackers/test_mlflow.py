"""MLflow's client: a fake of it here, and on a SQLite store where there is time."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from tensor_optix.callbacks import Mlflow
from tensor_optix.callbacks.trackers import mlflow as module
from tests.contracts.tracker_contract import TrackerContract, run_with
from tests.fakes.tracked_runs import begin, cut_back

Scalars = list[tuple[str, int, float]]


@dataclass
class Metric:
    key: str
    value: float
    timestamp: int
    step: int


@dataclass
class FakeRun:
    tags: Mapping[str, str]
    name: str
    metrics: list[Metric] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)
    status: str = "RUNNING"


class FakeClient:
    """The calls of `MlflowClient` that are used, on runs that outlive it."""

    runs: ClassVar[list[FakeRun]] = []

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.uri = tracking_uri

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if self.runs else None

    def create_experiment(self, name: str) -> str:
        return name

    def create_run(self, experiment: str, tags: Mapping[str, str], run_name: str) -> Any:
        self.runs.append(FakeRun(tags, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=str(len(self.runs) - 1)))

    def search_runs(self, experiments: Sequence[str], wanted: str, max_results: int) -> list[Any]:
        return [
            SimpleNamespace(
                info=SimpleNamespace(run_id=str(number)), data=SimpleNamespace(metrics={m.key: 0 for m in run.metrics})
            )
            for number, run in enumerate(self.runs)
            if any(wanted == f"tags.`{name}` = '{value}'" for name, value in run.tags.items())
        ]

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]:
        return [metric for metric in self.runs[int(run_id)].metrics if metric.key == key]

    def log_batch(self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Any] = ()) -> None:
        assert len(metrics) <= 1000
        assert len(params) <= 100
        self.runs[int(run_id)].metrics += metrics
        self.runs[int(run_id)].params += params

    def update_run(self, run_id: str, status: str) -> None:
        self.runs[int(run_id)].status = status

    def set_terminated(self, run_id: str) -> None:
        self.runs[int(run_id)].status = "FINISHED"


class TestMlflow(TrackerContract):
    @pytest.fixture(autouse=True)
    def fake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parts = {
            "mlflow.tracking": SimpleNamespace(MlflowClient=FakeClient),
            "mlflow.entities": SimpleNamespace(Metric=Metric, Param=lambda key, value: (key, value)),
        }
        monkeypatch.setattr(FakeClient, "runs", [])
        monkeypatch.setattr(module, "require", lambda name, *_: parts[name])

    def make(self, folder: Path) -> Mlflow:
        return Mlflow(pause=0.01)

    def read(self, folder: Path) -> Scalars:
        found = FakeClient.runs[-1].metrics
        return [(m.key, m.step, m.value) for m in sorted(found, key=lambda metric: metric.key)]

    def test_a_run_has_its_parameters_its_name_and_its_end(self, tmp_path: Path) -> None:
        run_with(self.make(tmp_path), begin(tmp_path / "pendulum"), 0, 2)
        (run,) = FakeClient.runs
        assert (run.name, run.status) == ("pendulum", "FINISHED")
        assert run.params == [("env", "Toy-v0"), ("hyperparams.gamma", "0.9")]

    def test_a_crash_between_two_calls_leaves_no_gap_and_nothing_twice(self, tmp_path: Path) -> None:
        run_with(self.make(tmp_path), begin(tmp_path), 0, 4)
        metrics = FakeClient.runs[0].metrics
        del metrics[-5:]  # the last call of the process did not come through
        run_with(self.make(tmp_path), tmp_path, 4, 6)
        self.check(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # MLflow's own, of SQLAlchemy
class TestMlflowOnSqlite(TrackerContract):
    @pytest.fixture(autouse=True)
    def settings(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        monkeypatch.chdir(tmp_path)  # where MLflow would leave artifacts

    def make(self, folder: Path) -> Mlflow:
        return Mlflow(pause=0.01, patience=120.0)

    def read(self, folder: Path) -> Scalars:
        from mlflow.tracking import MlflowClient

        client = MlflowClient()
        experiment = client.get_experiment_by_name("tensor-optix")
        assert experiment is not None
        run = client.search_runs([experiment.experiment_id])[0]  # the newest
        names = sorted(run.data.metrics)
        return [(name, m.step, m.value) for name in names for m in client.get_metric_history(run.info.run_id, name)]

    def test_it_goes_on_across_kill_9_and_resume(self, tmp_path: Path) -> None:
        begin(tmp_path)
        for first, last, is_killed in ((0, 4, 1), (3, 7, 0)):
            cut_back(tmp_path, first)
            command = [sys.executable, "-m", "tests.fakes.tracked_runs", str(tmp_path), "mlflow"]
            ended = subprocess.run([*command, str(first), str(last), str(is_killed)], check=False)  # noqa: S603
            assert ended.returncode == (-9 if is_killed else 0)
        self.check(tmp_path)
