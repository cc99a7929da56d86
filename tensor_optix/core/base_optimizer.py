"""The contract of a hyper-parameter optimizer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from tensor_optix.core.search_space import Param, SearchSpace
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.support.plain import SavedState


class BaseOptimizer(ABC):
    """Suggests hyper-parameters while the agent trains; it is asked once per evaluated window."""

    @abstractmethod
    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        """Return what to train the coming windows with.

        An own optimizer may take a history instead, `suggest(self, current, metrics_history)`: a list of the newest
        evaluations, at most 200, in the order of time. The name of its second argument has to end in "history".

        Args:
            hyperparams: the values in force while the evaluated window was collected.
            metrics: its score; only usable ones are handed over (`EvalMetrics.is_usable`). Of `metrics.utility` the
                higher is the better one, whatever the evaluator's `compare` prefers.
        """

    def on_improvement(self, metrics: EvalMetrics) -> None:  # noqa: B027 - an optional hook
        """Notice a new best score; called before `suggest`."""

    def on_plateau(self, metrics: EvalMetrics) -> None:  # noqa: B027 - an optional hook
        """Notice an evaluation without improvement on a plateau; called before `suggest`."""

    def on_degradation(  # noqa: B027 - an optional hook
        self, metrics: EvalMetrics, best: HyperparamSet
    ) -> None:
        """Notice that the score has fallen beyond its noise; called before `suggest`.

        Args:
            metrics: the evaluation.
            best: the values that the best policy was found with.
        """

    def on_new_learner(self) -> None:  # noqa: B027 - an optional hook
        """Forget what is known of the agent, a probe included: another learner follows."""

    def on_divergence(self) -> None:
        """Forget the probe in force: learning has diverged, and the agent has its former weights and values again."""
        self.on_new_learner()

    @property
    def decision(self) -> str:
        """What the last `suggest` decided, in a word, for the record."""
        return ""

    @property
    def is_probing(self) -> bool:
        """True while a probe is in force: a dip of the score is then no degradation."""
        return False

    @property
    def probed_param(self) -> str | None:
        """Name of the hyper-parameter that is probed, None between probes."""
        return None

    @property
    def search_space(self) -> SearchSpace | None:
        """The search space, once it is bound: variants are mutated within it. None: the agent's own bounds."""
        return None

    def bind(  # noqa: B027 - an optional hook
        self, bounds: Mapping[str, Param | tuple[float, float]], hyperparams: HyperparamSet
    ) -> None:
        """Take the agent's default bounds where none were given, and check all names against its hyper-parameters.

        Raises:
            HyperparamError: a bound for something that the agent does not have.
        """

    def state_dict(self) -> Mapping[str, object]:
        """Return plain JSON values from which `load_state_dict` goes on."""
        return {}

    def load_state_dict(self, state: SavedState) -> None:  # noqa: B027 - an optional hook
        """Go on from `state_dict`."""
