"""This library at the settings of a task."""

import logging
import tempfile
from functools import partial
from typing import Any

from benchmarks._speed_tasks import VAL_EPISODES, Evaluates, Task, Trace, Variant
from benchmarks._suite import MeasurementError

NEVER = 10**6


def run_ours(task: Task, windows: int, seed: int, variant: Variant) -> Trace:
    """Train for a number of windows, and tell when each of them ended.

    Raises:
        MeasurementError: the library warned, of an update that could not be compiled, say.
    """
    from tensor_optix import BackoffOptimizer, EvalMetrics, LoopCallback, RLOptimizer

    trace, complaints = Trace(), _Complaints()
    logging.getLogger("tensor_optix.adapters").addHandler(complaints)  # the loop may well say that scores stand still

    class Clock(LoopCallback):
        def on_loop_start(self) -> None:
            trace.note()

        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            trace.note()
            if variant.evaluates != "never" and eval_metrics is not None:
                trace.scores.append(eval_metrics.metrics["val_score"])

    with tempfile.TemporaryDirectory() as folder:
        RLOptimizer(
            agent=_agent(task, variant.framework, seed),
            pipeline=_pipeline(task),
            optimizer=BackoffOptimizer({}),  # the peer does not tune either
            checkpoint_dir=folder,
            max_episodes=windows,
            dormant_threshold=windows + 100,
            **_evaluation(task, variant.evaluates),
            callbacks=[Clock()],
            seed=seed,
        ).run()
    if complaints.messages:
        raise MeasurementError("; ".join(complaints.messages))
    return trace


def _evaluation(task: Task, evaluates: Evaluates) -> dict[str, Any]:
    from tensor_optix.presets import preset_for

    if evaluates == "never":
        return {"val_pipeline": None, "base_interval": NEVER, "max_interval_episodes": NEVER}
    if evaluates == "every window":  # whatever it costs, as the peer
        every = {"base_interval": 1, "max_interval_episodes": 1}
        return {**every, "val_episodes": VAL_EPISODES, "validation_share": None}
    preset = preset_for(task.env, task.algorithm)
    interval = max(round(preset.base_interval * preset.window_size / task.window), 1)
    return {"base_interval": interval, "max_interval_episodes": 2 * interval}


def _pipeline(task: Task) -> Any:
    import gymnasium as gym

    from tensor_optix import BatchPipeline, VectorBatchPipeline

    if task.n_envs == 1:
        return BatchPipeline(gym.make(task.env), window_size=task.window)
    envs: Any = [partial(gym.make, task.env)] * task.n_envs if task.by_functions else (task.env, task.n_envs)
    return VectorBatchPipeline(envs, window_size=task.window // task.n_envs)


def _agent(task: Task, framework: str, seed: int) -> Any:
    """Return the factory's agent at the task's settings: its networks and initialisation are those of the peer."""
    from tensor_optix import make_agent
    from tensor_optix.factory import set_threads

    set_threads(framework, task.threads)
    return make_agent(task.env, task.algorithm, framework, task.hyperparams, seed, task.net_arch)


class _Complaints(logging.Handler):
    """Collects what the library warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
