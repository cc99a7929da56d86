"""Jobs beside each other: in this process, in several, or on a Ray cluster, with the same results.

    with Processes(4) as executor:
        results = executor.map("package.module:function", items)

What lives here: the contract `Executor`, what goes to a job and comes back (`Payload`), and who runs jobs.
Those who have many jobs import it: several seeds, a population, a search. The loop never does.
What never comes in: agents, environments, frameworks, and pickle.
"""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.executors.executor import Context, Event, Executor, Paused
    from tensor_optix.executors.in_process import InProcess
    from tensor_optix.executors.payload import Payload
    from tensor_optix.executors.processes import Processes
    from tensor_optix.executors.ray_executor import RayExecutor

_HOMES = {
    "Context": "executors.executor",
    "Event": "executors.executor",
    "Executor": "executors.executor",
    "InProcess": "executors.in_process",
    "Paused": "executors.executor",
    "Payload": "executors.payload",
    "Processes": "executors.processes",
    "RayExecutor": "executors.ray_executor",
}
__all__ = ["Context", "Event", "Executor", "InProcess", "Paused", "Payload", "Processes", "RayExecutor"]
__getattr__, __dir__ = exported(__name__, _HOMES)  # a worker starts fast where it imports no more than it needs
