"""A loop over scripted scores, a callback that records its calls, an optimizer that suggests what it is given."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.history import History, HistoryRecord, read_history
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_records import RunRecords
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, LoopState
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline, window_of


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


class ByWeight(BasePipeline):
    """Held-out episodes fixed by seeds, whose return is the weight of the agent that acts."""

    def __init__(self, agent: BaseAgent) -> None:
        self.agent = agent
        self.asked = 0

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        self.asked += 1
        return [self.asked]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        return window_of(self.agent.weight)  # type: ignore[union-attr]


class LoopRig:
    """A loop over scripted scores, and everything around it."""

    def __init__(
        self,
        folder: Path,
        scores: Iterable[float | None],
        *,
        pipeline: ScriptedPipeline | None = None,
        val_scores: Sequence[float | None] | None = None,
        val_pipeline: BasePipeline | None = None,
        optimizer: FixedOptimizer | None = None,
        evaluator: BaseEvaluator | None = None,
        agent: NumpyAgent | None = None,
        plateau: int = 2,
        dormant: int = 4,
        base_interval: int = 1,
        max_interval: int = 1,
        records: RunRecords | None = None,
        callbacks: Sequence[LoopCallback] = (),
        tick: float = 1.0,
        **config: Any,
    ) -> None:
        self.agent, self.optimizer, self.recorder = agent or NumpyAgent(), optimizer or FixedOptimizer(), Recorder()
        self.pipeline = pipeline or ScriptedPipeline(list(scores), self.agent)
        self.pipeline.agent = self.agent
        self.val_pipeline = val_pipeline if val_scores is None else ScriptedPipeline(list(val_scores), self.agent)
        self.registry = CheckpointRegistry(folder)
        self.registry.open()
        parts = LoopParts(
            agent=self.agent,
            pipeline=self.pipeline,
            val_pipeline=self.val_pipeline,
            evaluator=evaluator or ScoreEvaluator(),
            optimizer=self.optimizer,
            registry=self.registry,
            history=History(folder / "history.jsonl"),
            records=records,
        )
        scheduler = BackoffScheduler(
            plateau_threshold=plateau,
            dormant_threshold=dormant,
            base_interval=base_interval,
            max_interval=max(max_interval, base_interval),
        )
        clock = itertools.count(0.0, tick)
        self.loop = LoopController(
            parts,
            LoopConfig(scheduler=scheduler, **config),
            [*callbacks, self.recorder],
            clock=lambda: next(clock),
        )
        self.folder = folder

    def run(self) -> TrainingReport:
        return self.loop.run()

    def history(self) -> list[HistoryRecord]:
        return list(read_history(self.folder / "history.jsonl"))
