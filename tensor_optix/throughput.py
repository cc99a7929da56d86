"""What is fastest here, by measuring it: how many environments and where, and what steps and updates cost."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from gymnasium import spaces

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.decisions.quickest import StepCost
from tensor_optix.core.types import Action, Diagnostics, EpisodeData, HyperparamSet, Observation
from tensor_optix.errors import EnvironmentFailedError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.environment import check_size, make_environment
from tensor_optix.pipeline.environment.own_code import EnvKwargs
from tensor_optix.pipeline.environment.pool_tasks import is_env_pool
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline

logger = logging.getLogger(__name__)

MARGIN = 1.2
"""By this factor a more complex choice must win, so that the noise of a second does not decide."""
ASYNC_BELOW = 20_000
"""Steps a second in one process above which a step costs less than sending it to another one."""
_LARGEST_WINDOW = 256
_LONGEST_WINDOW = 0.01
"""Seconds: the shorter windows are, the likelier is one that nothing else on the machine has disturbed."""
_ENOUGH = 5_000
"""Steps after which a rate is known; where a step takes long, time runs out before."""
_POOL = 512
_HIDDEN = 64
_PRODUCT = 256
"""Rows and columns of a matrix product that is timed: those of a batch and a layer of SAC's."""
_PRODUCTS = 20


@dataclass(frozen=True, kw_only=True)
class Vectorisation:
    """How many environments to step together, and where."""

    n_envs: int
    async_envs: bool
    steps_per_second: Mapping[str, float]
    """What was measured: of "single", "sync" and "async" those that were tried."""

    def __str__(self) -> str:
        if self.n_envs == 1:
            chosen = "1 environment"
        else:
            where = "in processes of their own" if self.async_envs else "in one process"
            chosen = f"{self.n_envs} environments {where}"
        measured = ", ".join(f"{name} {rate:,.0f}" for name, rate in self.steps_per_second.items())
        return f"{chosen} (steps a second: {measured})"


def choose_vectorisation(
    env_id: str,
    n_envs: int,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
    env_kwargs: EnvKwargs | None = None,
    wrappers: Sequence[str] = (),
) -> Vectorisation:
    """Measure the ways of stepping an environment, and return the one to use.

    Actions are random, but each step also costs a forward pass of a small network: that it is shared by many
    environments is what stepping them together is for.

    Args:
        env_id: a Gymnasium id.
        n_envs: how many to step together, if at all.
        seconds: for all measurements together, at most: they end after 5,000 steps each.
        clock: monotonic seconds.
        env_kwargs: arguments of the environment.
        wrappers: places of what is put around it.
    """
    check_size("n_envs", n_envs)
    share = seconds / 3
    make = partial(make_environment, env_id, env_kwargs, wrappers)
    env_fns = [make] * n_envs if env_kwargs or wrappers else (env_id, n_envs)
    rates = {"single": _measured(BatchPipeline(make()), share, clock)}
    if n_envs > 1:
        together = VectorBatchPipeline(env_fns)
        rates["sync"] = _measured(together, share, clock)
        if rates["sync"] < ASYNC_BELOW and not is_env_pool(env_id):  # those have threads of their own
            try:
                apart = VectorBatchPipeline(env_fns, async_envs=True)
                rates["async"] = _measured(apart, share, clock)
            except EnvironmentFailedError as error:
                logger.warning("%s does not run in processes of its own: %s", env_id, error)
    kind = decide(rates)
    return Vectorisation(n_envs=1 if kind == "single" else n_envs, async_envs=kind == "async", steps_per_second=rates)


def decide(steps_per_second: Mapping[str, float]) -> str:
    """Return "single", "sync" or "async", given the rates of those that were tried.

    From the simplest to the most complex, each must beat the choice so far by `MARGIN`.
    """
    chosen = "single"
    for kind in ("sync", "async"):
        if steps_per_second.get(kind, 0.0) >= MARGIN * steps_per_second[chosen]:
            chosen = kind
    return chosen


def step_cost(
    env_id: str,
    seconds: float = 0.25,
    clock: Callable[[], float] = time.perf_counter,
    processor_clock: Callable[[], float] = time.process_time,
    env_kwargs: EnvKwargs | None = None,
    wrappers: Sequence[str] = (),
) -> StepCost:
    """Measure what a step costs in one environment with random actions: the best of several windows.

    Args:
        env_id: a Gymnasium id.
        seconds: to take, at most.
        clock: monotonic seconds.
        processor_clock: seconds of this process.
        env_kwargs: arguments of the environment.
        wrappers: places of what is put around it.
    """
    return step_cost_in(BatchPipeline(make_environment(env_id, env_kwargs, wrappers)), seconds, clock, processor_clock)


def step_cost_in(
    pipeline: BatchPipeline | VectorBatchPipeline,
    seconds: float = 0.25,
    clock: Callable[[], float] = time.perf_counter,
    processor_clock: Callable[[], float] = time.process_time,
) -> StepCost:
    """Measure what a step costs in a pipeline with random actions: the best of several windows. It is closed then.

    Args:
        pipeline: a new one.
        seconds: to take.
        clock: monotonic seconds.
        processor_clock: seconds of this process.
    """
    windows = _windows(pipeline, seconds, lambda: (clock(), processor_clock()))
    steps, (elapsed, computed) = min(windows, key=lambda one: one[1][0] / one[0])
    return StepCost(seconds=elapsed / steps, processor_seconds=computed / steps)


def multiplications_per_second(clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how fast numpy multiplies large matrices of float32 here, with the threads that it has.

    Args:
        clock: monotonic seconds.
    """
    factor = np.ones((_PRODUCT, _PRODUCT), np.float32)
    best = float("inf")
    for _ in range(_PRODUCTS):
        start = clock()
        np.matmul(factor, factor)
        best = min(best, clock() - start)
    return _PRODUCT**3 / max(best, 1e-9)


def _measured(pipeline: BatchPipeline | VectorBatchPipeline, seconds: float, clock: Callable[[], float]) -> float:
    """Return the steps a second of the best window in `seconds`."""
    return max(steps / elapsed for steps, (elapsed,) in _windows(pipeline, seconds, lambda: (clock(),)))


def _windows(
    pipeline: BatchPipeline | VectorBatchPipeline, seconds: float, clocks: Callable[[], tuple[float, ...]]
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Yield the steps of each window and what it took by each clock, for `seconds` by the first, or enough steps.

    Windows grow until one takes a tenth of that, or long enough.
    """
    is_vector = isinstance(pipeline, VectorBatchPipeline)
    env = pipeline.env
    pipeline.agent = _RandomAgent(pipeline.env.single_action_space if is_vector else env.action_space)
    pipeline.window_size = 1
    spent, made = 0.0, 0
    try:
        windows = pipeline.episodes()
        next(windows)  # the reset is not measured
        while spent < seconds and made < _ENOUGH:
            start = clocks()
            steps = next(windows).length
            taken = tuple(max(end - begin, 1e-9) for begin, end in zip(start, clocks(), strict=True))
            yield steps, taken
            spent, made = spent + taken[0], made + steps
            if taken[0] < min(seconds / 10, _LONGEST_WINDOW):
                pipeline.window_size = min(2 * pipeline.window_size, _LARGEST_WINDOW)
    finally:
        pipeline.teardown()


def _n_choices(action_space: object) -> list[int]:
    """Return how many actions each choice has of which a mask speaks."""
    if isinstance(action_space, spaces.MultiDiscrete):
        return [int(n) for n in action_space.nvec]
    return [2] * action_space.shape[0] if isinstance(action_space, spaces.MultiBinary) else [1]


class _RandomAgent(BaseAgent):
    """Acts at random, allowed actions where there are masks, at the cost of a small network."""

    takes_flat_observations = True
    """As those of the agent will be."""

    def __init__(self, action_space: spaces.Space[object]) -> None:
        action_space.seed(0)
        self._n_choices = _n_choices(action_space)
        self._rng = np.random.default_rng(0)
        self._actions = np.array([action_space.sample() for _ in range(_POOL)])
        self._layers: list[np.ndarray] = []

    def act(self, observation: Observation) -> Action:
        return self.act_batch(np.asarray(observation)[None])[0]

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> Action:
        self._think(observations)
        return self._actions[self._rng.integers(_POOL, size=len(observations))]

    def act_masked(self, observations: object, action_masks: np.ndarray, *, deterministic: bool = False) -> Action:
        self._think(observations)
        scores = np.where(action_masks, self._rng.random(action_masks.shape), -1.0)
        parts = np.split(scores, np.cumsum(self._n_choices)[:-1], axis=1)
        chosen = np.stack([part.argmax(1) for part in parts], axis=1)
        return chosen if self._actions.ndim > 1 else chosen[:, 0]

    def _think(self, observations: Observation) -> None:
        x = np.asarray(observations, np.float32).reshape(len(observations), -1)
        if not self._layers:
            self._layers = [np.zeros((size, _HIDDEN), np.float32) for size in (x.shape[1], _HIDDEN)]
        for layer in self._layers:
            x = np.tanh(x @ layer)

    def learn(self, episode_data: EpisodeData) -> Diagnostics:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({})

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        pass

    def save_weights(self, path: str) -> None:
        pass

    def load_weights(self, path: str) -> None:
        pass
