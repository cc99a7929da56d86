"""The state of a run: one value, replaced as a whole by each decision, saved and restored as a whole."""

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Self

from tensor_optix.core.backoff_scheduler import SchedulerState
from tensor_optix.core.decisions.cut_episodes import limit_of
from tensor_optix.core.decisions.escape_records import EscapeRecord, mean_window, running
from tensor_optix.core.decisions.paired_trial import Trial
from tensor_optix.core.decisions.reserve import MOST_RESERVED, Reserve
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.decisions.trend import MOST_EVALUATIONS, Verdict
from tensor_optix.core.decisions.untrained import start_score
from tensor_optix.core.decisions.validation_budget import ESCAPES_SHARE, RUN_SHARE, ValidationSpent
from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.loop.tuning import TuningTrial
from tensor_optix.core.training_report import StopReason
from tensor_optix.core.types import EvalMetrics, HyperparamSet, LoopState, PlayedWindow, PolicySnapshot, jsonable
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support.narrowing import is_tuple
from tensor_optix.support.plain import AS_THEY_ARE, Json, SavedState
from tensor_optix.support.schemas import rebuilt

FIRST_EVALUATIONS = 3
"""Usable evaluations of a run that still say what the untrained policy was worth."""


@dataclass(frozen=True, kw_only=True)
class WatchState:
    """What is known while a trained policy is watched."""

    champion: PolicySnapshot | None = None
    """The policy that acts."""
    challenger: PolicySnapshot | None = None
    """The policy on trial; None = none."""
    trial: Trial = field(default_factory=Trial)
    first_of_pair: float | None = None
    """Score of the first window of a pair, where champion and challenger take turns."""
    newest: tuple[float, ...] = ()
    """The champion's newest scores."""


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Where a run stands: all that its next decision depends on."""

    position: SchedulerState
    window_id: int = -1
    next_evaluation: int = 0
    """Window that is due."""
    env_steps: int = 0
    episodes: int = 0
    """Episodes of training that have ended."""
    test_steps: int = 0
    """Steps that candidates for the best were tested with."""
    validation: ValidationSpent = field(default_factory=ValidationSpent)
    """What validation has cost."""
    longest_episode: int = 0
    """Steps of the longest episode of training that has ended."""
    pending: EvalMetrics | None = None
    """Score of the window in hand itself, where its validation was broken off, or is played beside the next one."""
    evaluations: int = 0
    era_began: int = 0
    """Window from which on scores compare with each other."""
    has_drifted: bool = False
    """Whether the world is another one than that in which the run began."""
    cut_at: int = 0
    """Steps after which episodes behind the scores of this era were cut; 0 = none was."""
    learner_since: int = 0
    """First window of the present learner, or of an escape of it."""
    curve: ScoreCurve = field(default_factory=ScoreCurve)
    """The scores of the present learner in the present era, over its own steps and episodes."""
    steps_before: int = 0
    """Environment steps before that curve begins."""
    episodes_before: int = 0
    """Episodes of training before that curve begins."""
    without_evidence: int = 0
    """Evaluations in a row without any evidence."""
    best: PolicySnapshot | None = None
    best_tested_in: int = -1
    """Window in which the best was last tested."""
    reserve: Reserve = ()
    """Policies that are alternatives for the last test."""
    ended: StopReason | None = None
    """Why there is nothing left to do; None while there is."""
    last_good: HyperparamSet | None = None
    """The values in force in the last window without a fault."""
    trial: TuningTrial | None = None
    """The hyper-parameter on trial."""
    watch: WatchState = field(default_factory=WatchState)
    verdict: Verdict = Verdict.NO_EVIDENCE
    """What the last evaluation said."""
    event: str | None = None
    """What happened in the last evaluation: on watch, or to an escape."""
    escapes: tuple[EscapeRecord, ...] = ()
    """What was tried after the patience was used up, in the order of time."""
    used_up: str = ""
    """How far the patience was used up when the first of the latest escapes began, in words."""
    is_flat_start: bool = True
    """False as soon as two episodes of the run have had different returns."""
    start: tuple[PlayedWindow, ...] = ()
    """What the untrained policy did before the first window, where episodes are fixed by seeds."""
    first: EvalMetrics | None = None
    """The first evaluation with a known error, if that was one of the first `FIRST_EVALUATIONS`."""
    recent: tuple[EvalMetrics, ...] = ()
    """The newest usable evaluations, in the order of time; a resumed run has them from its history."""
    metrics: EvalMetrics | None = None
    """The last usable evaluation; a resumed run has it from its history."""

    @property
    def best_score(self) -> float | None:
        """Score of the best snapshot, None before there is one."""
        return self.best.eval_metrics.primary_score if self.best is not None else None

    @property
    def best_metrics(self) -> EvalMetrics | None:
        """Evaluation of the best snapshot, None before there is one."""
        return self.best.eval_metrics if self.best is not None else None

    @property
    def start_score(self) -> float | None:
        """Score of the untrained policy, or else of the first window, None where it is not known."""
        return start_score(self.start, self.first)

    @property
    def is_on_watch(self) -> bool:
        """Whether the policy is trained and watched, and nothing is learned."""
        return self.position.state is LoopState.WATCHDOG

    @property
    def is_due(self) -> bool:
        """Whether the window in hand is to be evaluated."""
        return self.window_id >= self.next_evaluation

    @property
    def goes_on_from_trained(self) -> bool:
        """Whether the learner began with a trained policy: as a variant, or woken from the watch."""
        return self.steps_before > 0 or self.has_drifted

    @property
    def escape(self) -> EscapeRecord | None:
        """The escape in progress."""
        return running(self.escapes)

    @property
    def validation_part(self) -> float:
        """What evaluations and tests may take of the budget of validation at present."""
        return ESCAPES_SHARE if self.escapes else RUN_SHARE

    def was_cut_before(self, limit: int) -> bool:
        """Return whether episodes behind the scores of this era, or that of the best, were cut after fewer steps."""
        best = limit_of(self.best.evidence) if self.best is not None else None
        return any(0 < at < limit for at in (self.cut_at, best or 0))

    @property
    def compared(self) -> tuple[EvalMetrics, ...]:
        """The newest usable evaluations that a rise is told from: those of an escape are compared with each other."""
        if self.escape is None:
            return self.recent
        own = self.curve.evaluations - self.escape.began_evaluation
        return self.recent[len(self.recent) - min(own, len(self.recent)) :]

    @property
    def steps_per_window(self) -> int:
        """Mean environment steps of a window, at least 1; see `mean_window`."""
        return mean_window(self.escapes, self.window_id + 1, self.env_steps)

    def changed(self, **fields: object) -> Self:
        """Return the state with other values of some fields, as `dataclasses.replace` in a tenth of its time.

        Raises:
            TypeError: there is no field of a name.
        """
        if not fields.keys() <= vars(self).keys():
            raise TypeError(f"A RunState has no {', '.join(sorted(fields.keys() - vars(self).keys()))}.")
        made = object.__new__(type(self))
        vars(made).update(vars(self), **fields)
        return made

    def collected(self, steps: int, episodes: int = 0, longest: int = 0) -> Self:
        """Return the state with another window in hand.

        Args:
            steps: its environment steps.
            episodes: how many ended in it.
            longest: steps of the longest of them.
        """
        return self.changed(
            window_id=self.window_id + 1,
            env_steps=self.env_steps + steps,
            episodes=self.episodes + episodes,
            longest_episode=max(self.longest_episode, longest),
        )

    def scored(self, metrics: EvalMetrics) -> Self:
        """Return the state with an evaluation of the learner on its curve."""
        curve = self.curve.added(
            self.env_steps - self.steps_before,
            metrics.utility,
            metrics.utility_std_err,
            self.episodes - self.episodes_before,
        )
        is_first = self.first is None and self.era_began == 0 and len(self.recent) < FIRST_EVALUATIONS
        is_first = is_first and math.isfinite(metrics.utility_std_err)
        return self.changed(curve=curve, first=metrics if is_first else self.first)

    def with_longer_episodes(self, gain: float) -> Self:
        """Return the state in which scores are those of longer episodes; see `cut_episodes`.

        Args:
            gain: what the length adds to a score, the higher the better.
        """
        first = self.first
        if first is not None:
            first = replace(first, primary_score=first.primary_score + first.sign * gain)
        curve = self.curve.moved(gain)
        return self.changed(curve=curve, first=first, recent=(), reserve=(), era_began=self.window_id, cut_at=0)

    def with_new_curve(self) -> Self:
        """Return the state in which a curve begins anew: that of another learner, or in another era."""
        return self.changed(curve=ScoreCurve(), steps_before=self.env_steps, episodes_before=self.episodes)

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON values; the evaluations are in the history."""
        return saved_form(replace(self, recent=(), metrics=None))

    @classmethod
    def from_dict(cls, data: SavedState, history: Iterable[HistoryRecord]) -> Self:
        """Rebuild from `to_dict`, with the newest records of the history in the order of time.

        Raises:
            CheckpointCorruptError: a field is missing, unknown or of another type; the message names it.
        """
        state = rebuilt(cls, data)
        _check_counts(state)
        usable = [record for record in history if record.verdict != Verdict.NO_EVIDENCE.value]
        recent = [record.eval_metrics for record in usable if record.window_id >= state.era_began]
        return replace(
            state,
            recent=tuple(recent[-MOST_EVALUATIONS:]),
            metrics=usable[-1].eval_metrics if usable else None,
        )


def _check_counts(state: RunState) -> None:
    """Raise `CheckpointCorruptError` for a count that no run can have: budgets and tests go by them."""
    parts = {"": state, "position.": state.position, "validation.": state.validation, "curve.": state.curve}
    counts = {
        prefix + name: value
        for prefix, part in parts.items()
        for name, value in vars(part).items()
        if type(value) is int
    }
    for name, value in counts.items():
        if value < (-1 if name in ("window_id", "best_tested_in") else 0):
            raise CheckpointCorruptError(f"RunState: {value} is no count - at `$.{name}`")
    for part, whole in (("steps_before", "env_steps"), ("episodes_before", "episodes"), ("curve.steps", "env_steps")):
        if counts[part] > counts[whole]:
            raise CheckpointCorruptError(
                f"RunState: {counts[part]} is more than the run has, {counts[whole]} - at `$.{part}`"
            )
    if len(state.reserve) > MOST_RESERVED or max(state.era_began, state.learner_since) > state.window_id + 1:
        raise CheckpointCorruptError(
            f"RunState: {len(state.reserve)} policies in reserve, an era from window {state.era_began} and a learner "
            f"from window {state.learner_since} on are more than the run has in its {state.window_id + 1} windows."
        )


def saved_form(value: Any) -> Any:
    """Return a value, dataclasses included, as plain JSON values that `rebuilt` reads again."""
    if is_tuple(value):
        return [item if type(item) in AS_THEY_ARE else saved_form(item) for item in value]
    if type(value) in AS_THEY_ARE or type(value) is float:
        return jsonable(value)
    if hasattr(value, "to_dict") and not isinstance(value, RunState):
        return value.to_dict()
    if isinstance(value, enum.Enum):
        return value.value
    if is_dataclass(value):
        return {field.name: saved_form(getattr(value, field.name)) for field in fields(value)}
    return jsonable(value)
