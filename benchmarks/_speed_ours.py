"""This library at the settings of a task."""

import logging
import tempfile
import time
from typing import Any

from benchmarks._speed_tasks import VAL_EPISODES, Task, Trace
from benchmarks._suite import MeasurementError

NEVER = 10**6


def run_ours(task: Task, windows: int, seed: int, *, variant: str) -> Trace:
    """Train for a number of windows, and tell when each of them ended.

    Raises:
        MeasurementError: the library warned, of an update that could not be compiled, say.
    """
    from tensor_optix import BackoffOptimizer, EvalMetrics, LoopCallback, RLOptimizer

    trace, complaints = Trace(), _Complaints()
    logging.getLogger("tensor_optix").addHandler(complaints)

    class Clock(LoopCallback):
        def on_loop_start(self) -> None:
            trace.times.append(time.perf_counter())

        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            trace.times.append(time.perf_counter())
            if task.evaluates and eval_metrics is not None:
                trace.scores.append(eval_metrics.metrics["val_score"])

    with tempfile.TemporaryDirectory() as folder:
        RLOptimizer(
            agent=_agent(task, variant, seed),
            pipeline=_pipeline(task),
            val_pipeline="auto" if task.evaluates else None,
            optimizer=BackoffOptimizer({}),  # the peer does not tune either
            checkpoint_dir=folder,
            max_episodes=windows,
            # Evaluated after every window, as the peer is, or never.
            base_interval=1 if task.evaluates else NEVER,
            max_interval_episodes=1 if task.evaluates else NEVER,
            dormant_threshold=windows + 100,
            val_episodes=VAL_EPISODES,
            callbacks=[Clock()],
            seed=seed,
        ).run()
    if complaints.messages:
        raise MeasurementError("; ".join(complaints.messages))
    return trace


def _pipeline(task: Task) -> Any:
    import gymnasium as gym

    from tensor_optix import BatchPipeline, VectorBatchPipeline

    if task.n_envs == 1:
        return BatchPipeline(gym.make(task.env), window_size=task.window)
    return VectorBatchPipeline((task.env, task.n_envs), window_size=task.window // task.n_envs)


def _agent(task: Task, variant: str, seed: int) -> Any:
    """Return the factory's agent at the task's settings: its networks and initialisation are those of the peer."""
    from tensor_optix import make_agent
    from tensor_optix.factory import set_threads

    framework = "tf" if variant == "tf" else "torch"
    set_threads(framework, 1)
    return make_agent(task.env, task.algorithm, framework, task.hyperparams, seed, task.net_arch)


class _Complaints(logging.Handler):
    """Collects what the library warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
