"""Population-based training over one agent's history: exploit what scored well, explore around what is in force."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

from collections import deque
from collections.abc import Collection
from typing import Any

import numpy as np

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.search_space import Bounds, Param, SearchSpace
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.optimizers._pbt_rules import MIN_HISTORY as MIN_HISTORY
from tensor_optix.optimizers._pbt_rules import PBTRules
from tensor_optix.optimizers._pbt_rules import mode_of as mode_of
from tensor_optix.support.arguments import check_amount, check_count, check_seed, is_real
from tensor_optix.support.plain import SavedState, jsonable

LOG_SCALE_PARAMS = ("learning_rate", "epsilon", "weight_decay")
"""Known to matter by factors; what a `Param` says of its scale besides."""


class PBTOptimizer(BaseOptimizer):
    """Keeps the (hyper-parameters, score) pairs of the run as its population.

        score in the bottom `exploit_percentile`:  take the values of one of the `top_percentile`, disturbed a little
        otherwise:                                 disturb the values in force

        log scale:  δ_log = scale·log(high/low);  θ' = clip(θ·exp(Uniform(−δ_log, +δ_log)), low, high)
        linear:     θ' = clip(θ + scale·(high − low)·N(0, 1), low, high)

    See "Population Based Training of Neural Networks" by Jaderberg et al., 2017 (https://arxiv.org/abs/1711.09846).
    The population there lives side by side; here it is the past of one agent, so weights are not copied.

    Args:
        param_bounds: what to tune, `Param` or `(low, high)` by name; None takes the agent's `default_param_bounds`.
        history_size: how many of the newest pairs are the population.
        exploit_percentile: share of the population that counts as its bottom, in (0, 1).
        top_percentile: share of the population that is copied from, in (0, 1).
        explore_scale: size of the step when exploring, as a share of the range.
        exploit_scale: size of the step after copying, as a share of the range.
        log_scale_params: names that move by factors, besides those whose `Param` says so; None = `LOG_SCALE_PARAMS`,
            as far as their bounds are positive.
        seed: where the steps come from; None takes one from the system.

    Raises:
        InvalidArgumentError: a share outside (0, 1), a negative scale or seed, a history below 5, bounds that are none,
            or a name of `log_scale_params` whose lower bound is not positive.
    """

    def __init__(
        self,
        param_bounds: Bounds | None = None,
        history_size: int = 50,
        exploit_percentile: float = 0.2,
        top_percentile: float = 0.2,
        explore_scale: float = 0.1,
        exploit_scale: float = 0.05,
        log_scale_params: Collection[str] | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        for name, share in (("exploit_percentile", exploit_percentile), ("top_percentile", top_percentile)):
            if not (is_real(share) and 0.0 < share < 1.0):
                raise InvalidArgumentError(f"{name} must be in (0, 1), but got {share!r}.")
        for name, scale in (("explore_scale", explore_scale), ("exploit_scale", exploit_scale)):
            check_amount(name, scale)
        check_count("history_size", history_size, MIN_HISTORY)
        check_seed(seed)
        if isinstance(log_scale_params, str) or not isinstance(log_scale_params, Collection | None):
            raise InvalidArgumentError(f"log_scale_params must be a list of names, but got {log_scale_params!r}.")
        self._log_scale_params = log_scale_params
        self.rules = PBTRules(
            exploit_share=exploit_percentile,
            top_share=top_percentile,
            explore_scale=explore_scale,
            exploit_scale=exploit_scale,
        )
        """What exploits and explores; a population that lives side by side has the same."""
        self._space = None if param_bounds is None else self._scaled(param_bounds)
        self._decision = ""
        self._rng = np.random.default_rng(seed)
        self._population: deque[tuple[dict[str, Any], float]] = deque(maxlen=int(history_size))

    def bind(self, bounds: Bounds, hyperparams: HyperparamSet) -> None:
        """Take the agent's bounds where the user gave none."""
        space = self._scaled(SearchSpace(bounds)) if self._space is None else self._space
        space.check_names(hyperparams.params)
        self._space = space.fitted(hyperparams.params)

    @property
    def search_space(self) -> SearchSpace | None:
        """What it may move; None before it is bound, if the user gave no bounds."""
        return self._space

    @property
    def decision(self) -> str:
        """What the last `suggest` decided: "exploit" or "explore"."""
        return self._decision

    def on_new_learner(self) -> None:
        """Forget the population: its scores are another agent's."""
        self._population.clear()

    def on_divergence(self) -> None:
        """Nothing to forget: values that spoil the agent have no score, and never come into the population."""

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        """Return the values for the windows up to the next evaluation."""
        space = self._space = (self._space or SearchSpace({})).fitted(hyperparams.params)
        score = float(metrics.utility)
        self._population.append(({name: jsonable(hyperparams.params[name]) for name in space}, score))
        step = self.rules.step(space, hyperparams.params, score, self._population, self._rng)
        self._decision = step.mode
        return HyperparamSet({**hyperparams.params, **step.params}, hyperparams.episode_id)

    def on_improvement(self, metrics: EvalMetrics) -> None:
        """Nothing to note: the population holds every score."""

    def on_plateau(self, metrics: EvalMetrics) -> None:
        """Nothing to note: the population holds every score."""

    def _scaled(self, bounds: Bounds) -> SearchSpace:
        names = LOG_SCALE_PARAMS if self._log_scale_params is None else self._log_scale_params
        space, scaled = SearchSpace(bounds), dict[str, Param]()
        for name in names:
            param = space.get(name)
            if param is None or param.scale == "log":
                continue
            if param.low > 0.0:
                scaled[name] = Param(param.low, param.high, "log", param.integer)
            elif self._log_scale_params is not None:
                raise InvalidArgumentError(
                    f"log_scale_params names {name!r}, whose lower bound {param.low!r} is not positive. Raise it."
                )
        return space.changed(scaled)

    def state_dict(self) -> dict[str, object]:
        """Return the population and the generator."""
        return {"population": [list(pair) for pair in self._population], "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: SavedState) -> None:
        """Go on from `state_dict`."""
        self._population = deque(((params, score) for params, score in state["population"]), self._population.maxlen)
        self._rng.bit_generator.state = state["rng"]
