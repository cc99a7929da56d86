"""A callback that records its calls, and an optimizer that suggests what it is given."""

from typing import Any

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState


class Recorder(LoopCallback):
    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def on_loop_start(self) -> None:
        self.calls.append(("start",))

    def on_loop_stop(self) -> None:
        self.calls.append(("stop",))

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        self.calls.append(("end", window_id, eval_metrics.primary_score if eval_metrics else None))

    def on_improvement(self, snapshot: Any) -> None:
        self.calls.append(("improvement", snapshot.eval_metrics.primary_score))

    def on_plateau(self, window_id: int, state: LoopState) -> None:
        self.calls.append(("plateau", window_id, state))

    def on_dormant(self, window_id: int) -> None:
        self.calls.append(("dormant", window_id))

    def on_degradation(self, window_id: int, eval_metrics: EvalMetrics) -> None:
        self.calls.append(("degradation", window_id))

    def on_hyperparam_update(self, old: HyperparamSet, new: HyperparamSet) -> None:
        self.calls.append(("hyperparams", old.params, new.params))

    def named(self, *names: str) -> list[tuple]:
        return [call for call in self.calls if call[0] in names]


class FixedOptimizer(BaseOptimizer):
    """Suggests a given sequence of learning rates, then what is in force."""

    def __init__(self, rates: list[Any] = [], key: str = "learning_rate", probing: bool = False) -> None:  # noqa: B006
        self.rates, self.key, self.probing = list(rates), key, probing
        self.seen: list[tuple] = []

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        self.seen.append(("suggest", metrics.primary_score))
        if not self.rates:
            return hyperparams
        return HyperparamSet({**hyperparams.params, self.key: self.rates.pop(0)})

    def on_improvement(self, metrics: EvalMetrics) -> None:
        self.seen.append(("improvement", metrics.primary_score))

    def on_plateau(self, metrics: EvalMetrics) -> None:
        self.seen.append(("plateau", metrics.primary_score))

    @property
    def is_probing(self) -> bool:
        return self.probing
