"""The slot of the agent that acts and learns. Everything else in the loop is wired to the slot, never to the agent."""

from tensor_optix.core.agents_by_algorithm import AgentsByAlgorithm
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent, HasLearner
from tensor_optix.core.base_pipeline import BasePipeline


class Single:
    """One agent acts and learns; another one takes its place in the pipelines.

    Args:
        agent: the user's own.
        pipelines: where it acts.
        agents: those of other algorithms; None = there are none.
    """

    is_joint = False

    def __init__(
        self, agent: BaseAgent, *pipelines: BasePipeline | None, agents: AgentsByAlgorithm | None = None
    ) -> None:
        self.agent = self.first = agent
        self._pipelines = [pipeline for pipeline in pipelines if pipeline is not None]
        self._agents = agents

    def install(self, agent: BaseAgent) -> None:
        """Make `agent` the learner, who acts from the next window on."""
        if agent is self.agent:
            return
        for pipeline in self._pipelines:
            pipeline.agent = GreedyAgent(agent) if isinstance(pipeline.agent, GreedyAgent) else agent
        self.agent = agent

    def replace(self, agent: BaseAgent) -> None:
        """Let an agent, of another algorithm, be the run's own from now on: it acts, learns and is given the best."""
        self.install(agent)
        self.first = agent

    @property
    def is_other(self) -> bool:
        """True where an agent of another algorithm acts: what was set for the run's own is not meant for it."""
        return self._agents is not None and self._agents.algorithm_of(self.agent) != self._agents.own


class Joint:
    """Several agents act as one, which stays where it is; one of its members is the learner.

    Args:
        agent: the one that combines the others.
        group: the same, as what takes a learner.
    """

    is_joint = True
    is_other = False

    def __init__(self, agent: BaseAgent, group: HasLearner) -> None:
        self.agent = self.first = agent
        self._group = group

    def install(self, agent: BaseAgent) -> None:
        """Make `agent` the learner among those that act together; the acting agent itself changes nothing."""
        if agent is not self.agent:
            self._group.set_learner(agent)


def learner_slot(
    agent: BaseAgent, *pipelines: BasePipeline | None, agents: AgentsByAlgorithm | None = None
) -> Single | Joint:
    """Return the slot that fits the agent: asked once, when the loop is wired."""
    return Joint(agent, agent) if isinstance(agent, HasLearner) else Single(agent, *pipelines, agents=agents)
