"""What the loop is made of, how it is set, and what it shows: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from tensor_optix.core.agents_by_algorithm import AgentsByAlgorithm
from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline, PlaysAhead
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.drift import DriftDetector, PageHinkley
from tensor_optix.core.decisions.intervals import Span
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.decisions.validation_budget import ValidationBudget, ValidationSpent
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.run_records import RunRecords
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.types import EvalMetrics, LoopState, PolicySnapshot
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import check_amount, check_count, is_real
from tensor_optix.support.deadlines import check_timeout

if TYPE_CHECKING:
    from tensor_optix.core.storage.run_keeper import RunKeeper


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The knobs of the loop.

    Raises:
        InvalidArgumentError: a knob out of its range.
    """

    scheduler: BackoffScheduler = field(default_factory=BackoffScheduler)
    """When to evaluate, and when to call it trained."""
    patience: Patience = field(default_factory=lambda: Patience(is_scaled=False))
    """How long to wait for a further rise once `scheduler.dormant_threshold`, which it takes over, is reached."""
    escapes: bool = False
    """Try to escape (`decisions.escapes`) before the run converges; not where a threshold is the whole patience."""
    validation: ValidationBudget = field(default_factory=lambda: ValidationBudget(share=None))
    """The share of the run's steps that validation may take."""
    max_episodes: int | None = None
    """Windows at most; None = until DORMANT. "Episode" means a window in this name."""
    max_steps: int | None = None
    """Training steps after which the run ends, with the window in progress; None = no bound."""
    target_score: float | None = None
    """The run ends when a confirmed score reaches it; None = no target."""
    improvement_margin: float = 0.0
    """By how much the best must be beaten, in units of the score."""
    degradation_threshold: float = 0.95
    """Share of the best score that must be held."""
    min_degradation_drop: float = 0.0
    """Smallest drop that counts as degradation, in units of the score."""
    rollback_on_degradation: bool = False
    """Restore the best weights when the score has degraded."""
    on_converged: Literal["auto", "stop", "watch"] = "auto"
    """What to do when DORMANT; "auto" watches a live pipeline and stops any other."""
    restore_best: bool = True
    """Give the agent the best weights when the run ends, whatever ended it."""
    hang_timeout: float | None = None
    """Seconds without a move after which a hang is reported; None = learned (`watchdog`)."""
    is_pretrained: bool = False
    """The first learner was trained before: that it does not rise is no sign that it has learned nothing."""
    final_evaluation: bool = False
    """Test the leading snapshots and the last policy on many fresh episodes when the run ends by itself."""

    def __post_init__(self) -> None:
        for name in ("max_episodes", "max_steps"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), 1)
        if self.target_score is not None and not is_real(self.target_score):
            raise InvalidArgumentError(f"target_score must be a finite number, but got {self.target_score!r}.")
        if not (is_real(self.degradation_threshold) and 0.0 < self.degradation_threshold <= 1.0):
            raise InvalidArgumentError(
                f"degradation_threshold must be in (0, 1], but got {self.degradation_threshold!r}."
            )
        check_timeout("hang_timeout", self.hang_timeout)
        for name in ("improvement_margin", "min_degradation_drop"):
            check_amount(name, getattr(self, name))
        patience = replace(self.patience, dormant_threshold=self.scheduler.dormant_threshold)
        object.__setattr__(self, "patience", patience)
        if self.on_converged not in ("auto", "stop", "watch"):
            raise InvalidArgumentError(
                f"on_converged must be 'auto', 'stop' or 'watch', but got {self.on_converged!r}."
            )

    def usual_detector(self) -> PageHinkley:
        """Return the drift detector that has the thresholds of the loop."""
        return PageHinkley(
            degradation_threshold=self.degradation_threshold, min_degradation_drop=self.min_degradation_drop
        )

    def episode_limit(self, state: RunState, spent: ValidationSpent) -> int | None:
        """Return after how many steps a validation episode is cut; None = never.

        It never falls, and does not rise while the scores of an escape, or of a policy on watch, are compared.

        Args:
            state: where the run stands.
            spent: what validation has cost.
        """
        if state.cut_at and (state.escape is not None or state.is_on_watch):
            return state.cut_at
        episodes, is_slow = self.patience.episodes_per_evaluation, spent.is_slow is True
        limit = self.validation.episode_limit(state.env_steps, state.longest_episode, episodes, is_slow=is_slow)
        return None if limit is None else max(limit, state.cut_at)

    def watches(self, *, is_live: bool) -> bool:
        """Return whether the loop goes on watching when the policy is trained.

        Args:
            is_live: True if its pipeline is.
        """
        return is_live if self.on_converged == "auto" else self.on_converged == "watch"

    def spent(self, windows: int, steps: int) -> StopReason | None:
        """Return which bound of the run is reached; None where none is.

        Args:
            windows: collected so far.
            steps: of training so far.
        """
        if self.max_episodes is not None and windows >= self.max_episodes:
            return StopReason.MAX_EPISODES
        return StopReason.MAX_STEPS if self.max_steps is not None and steps >= self.max_steps else None

    def progress(self, windows: int, steps: int) -> float:
        """Return the share of the run that is over, in [0, 1], by the bound that is nearer; 0 without one.

        Args:
            windows: collected so far.
            steps: of training so far.
        """
        shares = [
            done / most for done, most in ((windows, self.max_episodes), (steps, self.max_steps)) if most is not None
        ]
        return min(max(shares, default=0.0), 1.0)

    def reaches_target(self, best: EvalMetrics | None) -> bool:
        """Return whether a score reaches `target_score`, from above where lower scores are better; False without one.

        Args:
            best: the best evaluation; None = there is none.
        """
        if self.target_score is None or best is None:
            return False
        ahead = best.primary_score - self.target_score
        return (-ahead if best.lower_is_better else ahead) >= 0.0

    def is_reached(self, score: float | None) -> bool:
        """Return whether a score reaches the target of the task, where one is known.

        Args:
            score: the best; None = there is none.
        """
        target = self.patience.target
        return score is not None and target is not None and score >= target


@dataclass(frozen=True, kw_only=True)
class LoopParts:
    """The objects that the loop brings together."""

    agent: BaseAgent
    pipeline: BasePipeline
    val_pipeline: BasePipeline | None
    evaluator: BaseEvaluator
    optimizer: BaseOptimizer
    registry: CheckpointRegistry
    history: History
    drift_detector: DriftDetector = field(default_factory=PageHinkley)
    """What tells, while a trained policy is watched, that its scores have fallen."""
    test_pipeline: BasePipeline | None = None
    """Where the best plays once when the run has ended; nothing is decided by it."""
    player: PlaysAhead | None = None
    """Who plays validation episodes beside training; None = they are played where they are needed."""
    agents: AgentsByAlgorithm | None = None
    """Builds the agent of another algorithm, which is tried as an escape; None = none is."""
    keeper: "RunKeeper | None" = None
    """Saves what a resumed run needs; None = nothing is saved for that."""
    records: RunRecords | None = None
    """Writes what is looked at later; None = nothing is."""


@dataclass(frozen=True, kw_only=True)
class LoopStatus:
    """Where a run stands, for whoever shows it."""

    state: LoopState
    window_id: int
    env_steps: int
    seconds: float
    """Wall time since the start."""
    metrics: EvalMetrics | None
    """The last usable evaluation."""
    best: PolicySnapshot | None
    probed_param: str | None
    probed_value: float | None
    windows_to_evaluation: int
    no_improvement: int
    dormant_threshold: int
    patience: str = ""
    """How far the patience with the curve is used up, in words; empty where the threshold is the whole rule."""
    validation: Mapping[str, int] = field(default_factory=dict[str, int])
    """What validation has cost, see `TrainingReport.validation`."""
    watch: Mapping[str, int] = field(default_factory=dict[str, int])
    """What happened while a trained policy was watched."""
    span: Span | None = None
    """Lowest and highest return or score that the run has seen."""
    doing: str = ""
    """The part of the loop that is at work, by its name in `report.seconds`; empty between them."""

    @property
    def steps_per_second(self) -> float:
        """Training steps per second of wall time."""
        return self.env_steps / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_to_evaluation(self) -> float:
        """Estimated from the mean time of a window so far."""
        windows = self.window_id + 1
        return self.windows_to_evaluation * self.seconds / windows if windows else 0.0
