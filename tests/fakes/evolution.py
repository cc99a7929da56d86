"""Agents whose worth is their weight, the windows and tests of it, and a loop that evolves them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.succession import Ended
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tests.helpers import NumpyAgent, ScoreEvaluator, window_of


class Climber(NumpyAgent):
    """Its weight rises by one per window; its worth is that weight, up to a ceiling."""

    def __init__(self, ceiling: float) -> None:
        super().__init__(learning_rate=1.0)
        self.ceiling = ceiling


class Worth(BasePipeline):
    """Windows whose return is the worth of the agent that acts."""

    def __init__(self, agent: Climber) -> None:
        self.agent = agent
        self.windows = 0

    def episodes(self) -> Iterator[EpisodeData]:
        agent: Any = self.agent
        while True:
            self.windows += 1
            yield window_of(min(agent.weight, agent.ceiling), self.windows - 1)


class SeededWorth(Worth):
    """The same, and it can be asked again: the run ends with a test of the leaders."""

    def fresh_seeds(self) -> list[int]:
        return [0]

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        agent: Any = self.agent.agent if isinstance(self.agent, GreedyAgent) else self.agent
        return window_of(min(agent.weight, agent.ceiling))


class Led(Climber):
    """Acts as its learner does, and is led by one of several."""

    def __init__(self, pm: PolicyManager, learner: Climber, ceiling: float = 0.0) -> None:
        super().__init__(ceiling)
        self.pm, self.learner = pm, learner

    def set_learner(self, agent: Any) -> None:
        self.pm.index_of(agent)
        self.learner = agent


class Bystander:
    """A referee that tests nothing and rolls nothing back."""

    def settle(self) -> None:
        pass

    def roll_back(self, metrics: EvalMetrics) -> bool:
        return False

    def scores_alone(self, agents: Sequence[BaseAgent]) -> Sequence[EvalMetrics]:
        return ()

    def tell(self, kind: str, **facts: object) -> None:
        pass


def dormant(window_id: int, history: Sequence[EvalMetrics] = ()) -> Ended:
    return Ended(window_id=window_id, is_dormant=True, history=tuple(history), watches=False, referee=Bystander())


class EvolutionRig:
    """A loop over climbers, with evolution."""

    def __init__(
        self,
        folder: Path,
        ceilings: Sequence[float],
        *,
        max_spawns: int | None = None,
        controller: Any = None,
        factory: Any = "new",
        optimizer: BaseOptimizer | None = None,
        validation: type[Worth] = Worth,
        max_episodes: int | None = None,
        interval: int = 1,
        max_snapshots: int = 50,
        evaluator: ScoreEvaluator | None = None,
        on_converged: Literal["stop", "watch"] = "stop",
        together: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.first = Climber(ceilings[0])
        self.made: list[Climber] = []
        self._ceilings = iter(ceilings[1:])
        self.pm = PolicyManager(CheckpointRegistry(folder, 50), max_spawns=max_spawns, seed=0, **kwargs)
        self.callback = self.pm.as_callback(
            self.first, agent_factory=self.make if factory == "new" else factory, meta_controller=controller
        )
        self.printed: list[str] = []
        self.callback.printer = self.printed.append
        self.led = Led(self.pm, self.first, ceiling=together or 0.0)
        acting = self.first if together is None else self.led
        self.pipeline = Worth(acting)
        registry = CheckpointRegistry(folder, max_snapshots)
        registry.open()
        self.loop = LoopController(
            LoopParts(
                agent=acting,
                pipeline=self.pipeline,
                val_pipeline=validation(acting),
                evaluator=evaluator or ScoreEvaluator(),
                optimizer=optimizer or BackoffOptimizer({}),
                registry=registry,
                history=History(folder / "history.jsonl"),
            ),
            LoopConfig(
                scheduler=BackoffScheduler(
                    base_interval=interval, plateau_threshold=2, dormant_threshold=4, max_interval=interval
                ),
                max_episodes=max_episodes,
                final_evaluation=True,
                on_converged=on_converged,
            ),
            [self.callback],
        )
        self.callback.join_run({}, None, None)

    def make(self) -> Climber:
        self.made.append(Climber(next(self._ceilings)))
        return self.made[-1]

    def outcomes(self) -> list[str]:
        return [variant["outcome"] for variant in self.pm.training_report()["lineage"]]


def led_rig(folder: Path, validation: type[Worth]) -> tuple[EvolutionRig, Led]:
    """Two members, worth 6 and 3, that are worth 4 together."""
    rig = EvolutionRig(folder, [6.0], factory=None, validation=validation, together=4.0)
    rig.first.weight = 6.0
    other = Climber(3.0)
    other.weight = 3.0
    for agent in (rig.first, other):
        rig.pm.add_agent(agent)
    return rig, rig.led


class Says:
    def __init__(self, *actions: Any) -> None:
        self.actions = list(actions)
        self.seen: list[tuple[int, dict]] = []

    def decide(self, history: Sequence[EvalMetrics], pm_status: dict) -> Any:
        self.seen.append((len(history), pm_status))
        return self.actions.pop(0)
