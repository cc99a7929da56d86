"""How many threads make an update fastest, by making some, each number of threads in a process of its own.

TensorFlow keeps the threads that it has started with, so that one process cannot try several.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import SupportsFloat

import gymnasium as gym

from tensor_optix.core.decisions.thread_count import counts, fewest_threads, free_cores, is_faster
from tensor_optix.errors import ExecutorError, JobError
from tensor_optix.executors import Context, Executor, Payload
from tensor_optix.executors.budget import cores
from tensor_optix.executors.processes import one_process
from tensor_optix.factory import hyperparam_table, set_threads
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.runs import RunDescription
from tensor_optix.support.plain import jsonable

TIME = "tensor_optix.multirun.update_threads:time_update"
_FEWEST, _MOST = 2, 50
"""Updates that are timed."""
_SHORTEST = 64
"""Steps of a window that is learned from, unless a minibatch has more."""
_EPISODE = 50


@dataclass(frozen=True, kw_only=True)
class MeasuredThreads:
    """A number of threads, and what it was chosen by; its text says both."""

    threads: int
    free: int
    """Cores."""
    seconds: Mapping[int, float]
    """Of an update, by the number of threads."""
    failure: str = ""
    """Why nothing more was measured."""

    def __str__(self) -> str:
        if self.failure:
            why = f"an update could not be timed: {self.failure}"
        elif self.free == 1:
            why = "no other core is free"
        else:
            why = "milliseconds of an update: " + ", ".join(f"{n} {1e3 * s:,.3g}" for n, s in self.seconds.items())
        named = f"{self.threads} thread{'s' * (self.threads != 1)}"
        return f"Updating with {named} ({why}); --threads {self.threads} does the same without measuring."


def measured_threads(
    run: RunDescription,
    workers: int = 1,
    make_executor: Callable[[int], Executor] | None = None,
    free: int | None = None,
) -> MeasuredThreads:
    """Time updates with 1, 2, 4, ... threads, up to the cores that are free, until more are no faster.

    Args:
        run: what is to be trained.
        workers: that train at once.
        make_executor: makes what runs a job with so many threads.
        free: cores; None = those of this machine that nothing loads.
    """
    free = free_now(workers) if free is None else free
    make = make_executor or one_process
    seconds, failure = dict[int, float](), ""
    for count in counts(free) if free > 1 else ():
        item = Payload({"run": jsonable(dataclasses.asdict(run)), "threads": count})
        try:
            with make(count) as executor:
                (found,) = executor.map(TIME, [item])
        except (ExecutorError, JobError) as error:
            failure = str(error)
            break
        seconds[count] = found.values["seconds"]
        if not is_faster(seconds, count):
            break
    return MeasuredThreads(threads=fewest_threads(seconds), free=free, seconds=seconds, failure=failure)


def free_now(workers: int = 1) -> int:
    """Return how many cores of this machine each of several workers may use at present."""
    return free_cores(cores(), _load(), workers)


def time_update(item: Payload, context: Context) -> Payload:
    """Return the `seconds` of an update.

    Args:
        item: values `run`, its settings, and `threads`.
        context: of the job.
    """
    run = RunDescription(**item.values["run"])
    set_threads(run.framework, item.values["threads"])
    return Payload({"seconds": update_seconds(run)})


def update_seconds(run: RunDescription, seconds: float = 1.0, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that the agent of a run takes to learn from a short window, the best of several.

    Observations and actions are drawn from their spaces: what they are changes nothing in what an update costs.

    Args:
        run: what is to be trained.
        seconds: to take, once all is compiled.
        clock: monotonic seconds.
    """
    if "learning_starts" in hyperparam_table(run.algorithm):
        run = dataclasses.replace(run, hyperparams={**run.hyperparams, "learning_starts": 1})
    agent = run.agent()
    params = agent.get_hyperparams().params
    width = min(run.window_size, max(_SHORTEST, int(params.get("minibatch_size", 0))))
    env = run.environment()
    pipeline = BatchPipeline(lambda: Drawn(env.observation_space, env.action_space), window_size=width)
    env.close()
    pipeline.agent = agent
    taken: list[float] = []
    untimed = int(params.get("batch_size", 0)) + width  # until then a memory is filled, and the update compiled
    for number, window in enumerate(pipeline.episodes(), 1):
        start = clock()
        agent.learn(window)
        if number * width > untimed:
            taken.append(clock() - start)
        if len(taken) >= _MOST or (len(taken) >= _FEWEST and sum(taken) >= seconds):
            break
    pipeline.teardown()
    return min(taken)


class Drawn(gym.Env):
    """Observations that are drawn from a space, without rewards.

    Args:
        observation_space: of them.
        action_space: of the actions, which change nothing.
    """

    def __init__(self, observation_space: gym.Space[object], action_space: gym.Space[object]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[object, dict[str, object]]:
        """Begin an episode."""
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: object) -> tuple[object, SupportsFloat, bool, bool, dict[str, object]]:
        """Draw one more."""
        self._steps += 1
        return self.observation_space.sample(), 0.0, False, self._steps == _EPISODE, {}


def _load() -> float:
    """Return the processes that wanted to run in the last minute; 0 where the system does not say."""
    get_load: Callable[[], tuple[float, ...]] | None = getattr(os, "getloadavg", None)
    return 0.0 if get_load is None else get_load()[0]
