"""Evolution that no loop has joined: one agent, nothing that could be tested."""

from collections.abc import Sequence

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.evolution.pool import PolicyPool
from tensor_optix.core.types import EvalMetrics


class Alone:
    """The slot and the referee of a callback that no loop has joined: one agent, nothing that could be tested."""

    is_joint = is_other = False

    def __init__(self, pool: PolicyPool, agent: BaseAgent) -> None:
        self.agent = agent
        self._pool = pool

    def install(self, agent: BaseAgent) -> None:
        """Make `agent` the learner."""
        self.agent = agent

    def settle(self) -> None:
        """Test nothing."""

    def roll_back(self, metrics: EvalMetrics) -> bool:
        """Load the best policy into the agent if that is better than an evaluation."""
        return self._pool.evolve(self.agent, metrics)

    def scores_alone(self, agents: Sequence[BaseAgent]) -> Sequence[EvalMetrics]:
        """Score nobody."""
        return ()

    def tell(self, kind: str, **facts: object) -> None:
        """Keep no records."""
