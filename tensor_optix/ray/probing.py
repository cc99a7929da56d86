"""Whether environments on other machines pay: by what a step costs here, and by the cores that there are."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import gymnasium as gym

from tensor_optix.executors.budget import cores
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.support.arguments import check_count
from tensor_optix.throughput import ASYNC_BELOW

PAYS_FROM_SECONDS = 0.010
"""Of a step: then its way through Ray is a small part of it."""
_STEPS = 200
_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What was measured, and what follows."""

    name: str
    """Of the environment."""
    step_seconds: float
    """Median of a step in this process."""
    here: int
    """Cores of this machine."""
    there: int | None
    """Cores of the cluster; None = nobody has said."""

    @property
    def pays(self) -> bool:
        """Whether `RayVectorEnv` is recommended."""
        return self.step_seconds >= PAYS_FROM_SECONDS and (self.there is None or self.there > self.here)

    def __str__(self) -> str:
        measured = f"A step of {self.name} takes {1000 * self.step_seconds:.3g} ms"
        if self.step_seconds < PAYS_FROM_SECONDS:
            where = "async_envs=True" if self.step_seconds * ASYNC_BELOW >= 1.0 else "one process"
            return (
                f"{measured}: RayVectorEnv pays from about {1000 * PAYS_FROM_SECONDS:g} ms, and is not for this "
                f"environment. Use {where}."
            )
        if self.there is None:
            return f"{measured}: RayVectorEnv pays on a cluster with more cores than the {self.here} of this machine."
        if not self.pays:
            return (
                f"{measured}, but the cluster has {self.there} cores and this machine {self.here}: async_envs=True "
                f"does the same without Ray."
            )
        return f"{measured}, and the cluster has {self.there} cores, this machine {self.here}: RayVectorEnv pays."


def probe(
    env: str | Callable[[], gym.Env],
    *,
    cluster_cores: int | None = None,
    env_kwargs: Mapping[str, object] | None = None,
    wrappers: Sequence[str] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """Measure what a step of an environment costs here, and return whether `RayVectorEnv` pays for it.

        print(probe("CartPole-v1"))

    Steps are taken with random actions in this process, 200 of them or five seconds long; Ray is not needed.

    Args:
        env: a Gymnasium id or a place, or a function that makes the environment.
        cluster_cores: of the cluster; None = not known.
        env_kwargs: arguments of the environment.
        wrappers: places of what is put around it.
        clock: monotonic seconds.

    Raises:
        InvalidArgumentError: `cluster_cores` below 1.
        EnvironmentNotFoundError: an unknown id.
    """
    if cluster_cores is not None:
        check_count("cluster_cores", cluster_cores, 1)
    made = make_environment(env, env_kwargs, wrappers)
    try:
        seconds = _steps(made, clock)
    finally:
        made.close()
    name = env if isinstance(env, str) else str(made)
    return Probe(name=name, step_seconds=median(seconds), here=cores(), there=cluster_cores)


def _steps(env: gym.Env, clock: Callable[[], float]) -> list[float]:
    """Return the seconds that each of some steps took; resets are not measured."""
    found, begun = list[float](), clock()
    env.reset(seed=0)
    env.action_space.seed(0)
    while not found or (len(found) < _STEPS and clock() - begun < _SECONDS):
        action, before = env.action_space.sample(), clock()
        *_, terminated, truncated, _ = env.step(action)
        found.append(clock() - before)
        if terminated or truncated:
            env.reset()
    return found
