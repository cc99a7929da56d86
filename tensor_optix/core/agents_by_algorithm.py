"""Agents of several algorithms in one run: each snapshot goes into the agent whose algorithm has learned it."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tensor_optix.core.base_agent import BaseAgent


class AgentsByAlgorithm(Protocol):
    """Knows which algorithms serve the spaces of a run, and builds their agents."""

    @property
    def own(self) -> str:
        """The algorithm of the run."""
        ...

    @property
    def other(self) -> str | None:
        """The algorithm that is tried in its place; None where no other one fits."""
        ...

    def algorithm_of(self, agent: BaseAgent) -> str:
        """Return the algorithm of an agent."""
        ...

    def recorded(self, folder: Path) -> str:
        """Return the algorithm whose policy a snapshot holds; that of the run where the snapshot does not say.

        Args:
            folder: of the snapshot.

        Raises:
            CheckpointCorruptError: what it says cannot be read.
        """
        ...

    def build(self, algorithm: str, *, to_learn: bool = False) -> BaseAgent:
        """Build an untrained agent, the same one at each call.

        Args:
            algorithm: `own` or `other`.
            to_learn: False where it goes on from a state, or is only played.

        Raises:
            TensorOptixError: there is no such agent for these spaces, or it cannot learn here, for lack of memory.
        """
        ...

    def window_size(self, algorithm: str) -> int | None:
        """Return how long windows are best for an algorithm; None = as they are."""
        ...


class FittingAgents:
    """Finds the agent of a run that a snapshot goes into, and lets it act.

    Args:
        agents: knows the algorithms and builds their agents.
        first: of the run's own algorithm.
        acting: returns the agent that acts at present.
        install: lets another one act.
    """

    def __init__(
        self,
        agents: AgentsByAlgorithm,
        first: BaseAgent,
        acting: Callable[[], BaseAgent],
        install: Callable[[BaseAgent], None],
    ) -> None:
        self._agents = agents
        self._first = first
        self._acting = acting
        self._install = install
        self._seen: list[weakref.ref[BaseAgent]] = [weakref.ref(first)]
        """Those of the run; one of another algorithm that gave its place back is not kept alive."""
        self._spare: BaseAgent | None = None
        """Built to be played; none that learns."""

    def fitting(self, folder: Path, agent: BaseAgent) -> BaseAgent:
        """Return the agent that a snapshot's weights fit: the given one, one that is there, or a new one.

        Args:
            folder: of the snapshot.
            agent: the one to be preferred; one that is none of the run's own is returned whatever it is.

        Raises:
            CheckpointCorruptError: what the snapshot says of its agent cannot be read.
            CheckpointMismatchError: its algorithm is none of this run.
        """
        acting = self._acting()
        self._see(acting)
        if not self._is_own(agent):
            return agent
        name = self._agents.recorded(folder)
        there = (agent, acting, self._first, *([] if self._spare is None else [self._spare]))
        found = next((one for one in there if self._agents.algorithm_of(one) == name), None)
        if found is None:
            found = self._spare = self._agents.build(name)
            self._see(found)
        return found

    def install(self, agent: BaseAgent) -> None:
        """Let an agent of the run act; what somebody else loads a snapshot into does not."""
        if self._is_own(agent):
            self._install(agent)

    def _is_own(self, agent: BaseAgent) -> bool:
        return any(one() is agent for one in self._seen)

    def _see(self, agent: BaseAgent) -> None:
        if not self._is_own(agent):
            self._seen = [*(one for one in self._seen if one() is not None), weakref.ref(agent)]
