"""What follows when a learner has ended: the question that the loop asks a `Successor`, and the possible answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import SearchSpace
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EvalMetrics
from tensor_optix.support.plain import Json


@dataclass(frozen=True)
class Stop:
    """End the run."""

    reason: StopReason
    announce: Callable[[], object] | None = None
    """Called once the end is asked for."""


@dataclass(frozen=True)
class LearnOn:
    """Let another agent learn from the next window on, with a patience of its own."""

    agent: BaseAgent


@dataclass(frozen=True)
class Continue:
    """Go on as a run without evolution: a dormant one is watched or ends, any other goes on learning."""


Answer: TypeAlias = Stop | LearnOn | Continue


class Referee(Protocol):
    """The tests that a successor may ask for before it answers; the loop plays them and writes what they change."""

    def settle(self) -> None:
        """Test the leading policies, the learner's own included, until one holds; the learner keeps its weights."""
        ...

    def roll_back(self, metrics: EvalMetrics) -> bool:
        """Load the best policy into the acting agent if that is better than an evaluation; True if it was."""
        ...

    def scores_alone(self, agents: Sequence[BaseAgent]) -> Sequence[EvalMetrics]:
        """Score agents, each by itself, on the same held-out episodes; nothing where no seeds fix those."""
        ...

    def tell(self, kind: str, **facts: object) -> None:
        """Write what was decided to the records of the run."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The question: this learner has ended, what next?"""

    window_id: int
    is_dormant: bool
    """False where the learner has spent its share of windows and could go on."""
    history: tuple[EvalMetrics, ...]
    """The newest usable evaluations of the run, in the order of time."""
    watches: bool
    """True where the run goes on watching when nobody learns on."""
    referee: Referee


class LearnerSlot(Protocol):
    """Where the agent that learns sits."""

    @property
    def agent(self) -> BaseAgent:
        """The agent that acts: the learner itself, or the one that combines it with others."""
        ...

    @property
    def is_joint(self) -> bool:
        """True where the acting agent combines several, one of which is the learner."""
        ...

    @property
    def is_other(self) -> bool:
        """True where an agent of another algorithm than the run's own acts."""
        ...

    def install(self, agent: BaseAgent) -> None:
        """Make `agent` the learner."""
        ...


@runtime_checkable
class Successor(Protocol):
    """Says what follows when a learner has ended. A callback that does so is asked by the loop it is given to."""

    def join(self, slot: LearnerSlot) -> None:
        """Take part in a loop, whose learner sits in `slot`."""
        ...

    def join_run(self, parts: Mapping[str, object], space: SearchSpace | None, seed: int | None) -> None:
        """Take part in a run: what is saved with its policies, what it tunes, and how it repeats."""
        ...

    @property
    def is_spent(self) -> bool:
        """True where the learner has had its share of windows; the loop then asks after the window."""
        ...

    def next(self, ended: Ended) -> Answer:
        """Return what is to follow."""
        ...

    def conclude(self, reason: StopReason) -> None:
        """Take note that the run is over; called before `on_loop_stop`."""
        ...

    def report(self) -> dict[str, Json]:
        """Return what evolution came to, as plain JSON values."""
        ...
