"""The ensemble and evolution of a run, as users set them up."""

from collections.abc import Callable

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.evolution.callback import PolicyManagerCallback
from tensor_optix.core.evolution.pool import PolicyPool
from tensor_optix.core.meta_controller import MetaController

__all__ = ["PolicyManager", "PolicyManagerCallback"]


class PolicyManager(PolicyPool):
    """Manages the members of an ensemble and their evolution.

        pm = PolicyManager(registry, max_spawns=3)
        RLOptimizer(agent, pipeline, callbacks=[pm.as_callback(agent, agent_factory=make)]).run()

    Its constructor is that of `PolicyPool`.
    """

    def as_callback(
        self,
        agent: BaseAgent,
        agent_factory: Callable[[], BaseAgent] | None = None,
        meta_controller: MetaController | None = None,
    ) -> PolicyManagerCallback:
        """Return the callback that lets the loop evolve `agent`; see `PolicyManagerCallback`."""
        return PolicyManagerCallback(self, agent, agent_factory, meta_controller)
