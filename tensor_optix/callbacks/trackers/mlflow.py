"""MLflow, by its client: a tracking server, or a store on this machine."""

import os
from collections.abc import Sequence
from typing import Any

from tensor_optix.callbacks.trackers.scalars import Names, fit
from tensor_optix.callbacks.trackers.tracker import PROJECT, Point, Sent, TrackedRun, Tracker
from tensor_optix.support.optional import require

MOST_METRICS, MOST_PARAMS = 1000, 100
"""Of one call, as MLflow has it."""
MOST_CHARACTERS = 500
"""Of the value of a parameter, as the oldest stores have it."""
RUN_TAG = "tensor_optix.run_id"
"""By which a run that is resumed is found again."""


class Mlflow(Tracker):
    """Logs the scalars of a run to MLflow, in batches; what made the run becomes its parameters.

    Args:
        experiment: its name; None = `MLFLOW_EXPERIMENT_NAME`, or else `tensor-optix`.
        tracking_uri: where; None = as MLflow is set up (`MLFLOW_TRACKING_URI`). Credentials are MLflow's own settings.
        run_name: None = the name of the run's folder.
        names: whose names scalars have: `"sb3"` or `"cleanrl"`.
        timing: see `Tracker`.

    Raises:
        MissingDependencyError: mlflow is not installed; the message has the install line.
    """

    def __init__(
        self,
        experiment: str | None = None,
        tracking_uri: str | None = None,
        run_name: str | None = None,
        names: Names = "sb3",
        **timing: float,
    ) -> None:
        super().__init__(names, **timing)
        self._tracking = require("mlflow.tracking", "Mlflow", "mlflow")
        self._entities = require("mlflow.entities", "Mlflow", "mlflow")
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        self._uri, self._run_name = tracking_uri, run_name
        self._client: Any = None
        self._mlflow_id = ""

    def open(self, run: TrackedRun) -> Sent:
        """Find the run by its tag, or create it."""
        self._client = self._tracking.MlflowClient(tracking_uri=self._uri)
        known = self._client.get_experiment_by_name(self._experiment)
        experiment = self._client.create_experiment(self._experiment) if known is None else known.experiment_id
        found = self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run.run_id}'", max_results=1)
        if found:
            self._mlflow_id = found[0].info.run_id
            self._client.update_run(self._mlflow_id, status="RUNNING")
            return Sent(by_name={name: self._last_step(name) for name in found[0].data.metrics})
        name = self._run_name or run.name
        self._mlflow_id = self._client.create_run(experiment, tags={RUN_TAG: run.run_id}, run_name=name).info.run_id
        params = [self._entities.Param(fit(name), value[:MOST_CHARACTERS]) for name, value in run.config.items()]
        for begin in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._mlflow_id, params=params[begin : begin + MOST_PARAMS])
        return Sent()

    def write(self, points: Sequence[Point]) -> None:
        """Log the metrics of several steps with each call."""
        metrics = [
            self._entities.Metric(name, value, int(point.time * 1000), point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for begin in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._mlflow_id, metrics=metrics[begin : begin + MOST_METRICS])

    def close(self) -> None:
        """Mark the run as finished."""
        if self._mlflow_id:
            self._client.set_terminated(self._mlflow_id)
            self._mlflow_id = ""

    def _last_step(self, name: str) -> int:
        return max((metric.step for metric in self._client.get_metric_history(self._mlflow_id, name)), default=-1)
