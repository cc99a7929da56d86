"""What runs on Ray beside jobs: trials of Ray Tune, and environments on other machines.

    tune.Tuner(trainable("CartPole-v1"), ...)
    VectorBatchPipeline(RayVectorEnv(("my_envs:Slow-v0", 64), envs_per_actor=8), ...)

What lives here: what Ray's own tools are handed. Jobs of this library go to a cluster by `executors.RayExecutor`.
What never comes in: a decision on a run, and Ray itself before somebody uses it.
"""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.ray.probing import probe
    from tensor_optix.ray.tuning import trainable
    from tensor_optix.ray.vector_env import RayVectorEnv

_HOMES = {
    "RayVectorEnv": "ray.vector_env",
    "probe": "ray.probing",
    "trainable": "ray.tuning",
}
__all__ = ["RayVectorEnv", "probe", "trainable"]
__getattr__, __dir__ = exported(__name__, _HOMES)
