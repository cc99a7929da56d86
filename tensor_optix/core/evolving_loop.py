"""What evolution needs of the loop, and how it judges a variant."""

from collections.abc import Sequence
from typing import Protocol

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.training_report import StopReason, TrainingReport
from tensor_optix.core.types import EvalMetrics


class EvolvingLoop(Protocol):
    """What evolution needs of the loop."""

    @property
    def agent(self) -> BaseAgent:
        """Who acts and learns at present."""
        ...

    @property
    def recent(self) -> Sequence[EvalMetrics]:
        """The newest usable evaluations, in the order of time."""
        ...

    @property
    def watches(self) -> bool:
        """Whether it goes on watching when the policy is trained, and may have to learn again."""
        ...

    def report(self) -> TrainingReport:
        """Return what the run came to so far."""
        ...

    def scores_alone(self, agents: Sequence[BaseAgent]) -> Sequence[EvalMetrics]:
        """Score agents, each by itself, on the same held-out episodes; nothing where there are none fixed by seeds."""
        ...

    def settle(self) -> None:
        """Settle by long tests which policy is best, the learner's own included, which it keeps."""
        ...

    def stop(self, reason: StopReason = ...) -> None:
        """End the run after the window in progress."""
        ...

    def fail(self, error: Exception) -> None:
        """End the run with an error after the window in progress."""
        ...

    def switch_learner(self, agent: BaseAgent) -> None:
        """Let another agent act and learn from the next window on."""
        ...
