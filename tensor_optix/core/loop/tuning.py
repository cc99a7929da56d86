"""Putting an optimizer's suggestions in force, with a record of each: what was asked, what arrived, what it came to."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.decisions.succession import LearnerSlot
from tensor_optix.core.hyperparams import effective_params, read_back
from tensor_optix.core.types import EvalMetrics, HyperparamSet, jsonable
from tensor_optix.errors import HyperparamError, did_you_mean
from tensor_optix.support.arguments import is_real
from tensor_optix.support.plain import Json
from tensor_optix.support.schemas import rebuilt


@dataclass(frozen=True, kw_only=True)
class TuningRecord:
    """One hyper-parameter that a suggestion put on trial, settled, or moved."""

    name: str
    kind: str
    """`"probe"`: put on trial; `"commit"`: a trial is settled; `"change"`: moved without a trial."""
    before: Any
    """Value before; of a commit, the one before the trial."""
    requested: Any
    effective: Any
    """What the agent reads back, from its optimizer where it can tell."""
    score_before: float
    """Score that the change was made on; of a commit, the one that the trial was begun on."""
    score_before_std_err: float
    score_after: float
    """Score of the trial; NaN where it is not known yet."""
    score_after_std_err: float
    decision: str
    """What the optimizer made of it, in its own words."""

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON values; what is not finite becomes None."""
        return {name: jsonable(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)


@dataclass(frozen=True, kw_only=True)
class TuningTrial:
    """A value on trial: its hyper-parameter, the value before, and the evaluation that the trial was begun on."""

    name: str
    before: Any
    metrics: EvalMetrics


@dataclass(frozen=True)
class TuningStep:
    """What one evaluation's suggestion changed."""

    old: HyperparamSet
    new: HyperparamSet
    records: tuple[TuningRecord, ...]
    trial: TuningTrial | None
    """The value that is on trial by now."""


class Tuner:
    """Asks an optimizer once per evaluation, checks what it suggests, and reads back what is in force.

    Args:
        slot: where the agent sits whose hyper-parameters they are.
        optimizer: what suggests them.
    """

    def __init__(self, slot: LearnerSlot, optimizer: BaseOptimizer) -> None:
        self._slot = slot
        self._optimizer = optimizer
        self._takes_history = takes_history(optimizer)

    def step(
        self,
        trial: TuningTrial | None,
        metrics: EvalMetrics,
        next_window: int,
        history: Sequence[EvalMetrics] = (),
    ) -> TuningStep:
        """Put the next suggestion in force; the step has no records where there was nothing to change or to settle.

        Args:
            trial: the value that was on trial.
            metrics: the evaluation.
            next_window: first window that is collected with the new values.
            history: the newest evaluations, this one included, for an optimizer that takes them.

        Raises:
            SuggestionError: one that the agent cannot have, or none at all; nothing is changed.
            HyperparamError: a value that is not in force.
        """
        agent = self._slot.agent
        old = agent.get_hyperparams().copy()
        suggested = self._suggested(old, list(history) if self._takes_history else metrics)
        new = HyperparamSet({**old.params, **suggested}, next_window)
        changed = [name for name in suggested if new.params[name] != old.params[name]]
        if changed:
            try:
                agent.set_hyperparams(new.copy())
            except HyperparamError as error:
                raise SuggestionError(f"{type(self._optimizer).__name__}: {error}") from error
        effective = read_back(agent, {name: new.params[name] for name in changed})
        probed = self._optimizer.probed_param if self._optimizer.is_probing else None
        next_trial = None
        if probed in changed:
            next_trial = TuningTrial(name=str(probed), before=old.params[probed], metrics=metrics)
        elif trial is not None and trial.name == probed:  # it takes more than one evaluation
            next_trial = trial
        records = tuple(self._records(trial, next_trial, old, new, changed, effective, metrics))
        return TuningStep(old, new, records, next_trial)

    def _suggested(self, old: HyperparamSet, seen: EvalMetrics | list[EvalMetrics]) -> Mapping[str, object]:
        name, suggest = type(self._optimizer).__name__, cast(Callable[..., object], self._optimizer.suggest)
        try:
            suggestion = suggest(old.copy(), seen)
        except Exception as error:
            raise SuggestionError(f"{name}.suggest raised {error!r}.") from error
        if not isinstance(suggestion, HyperparamSet):
            raise SuggestionError(f"{name}.suggest must return a HyperparamSet, but returned {suggestion!r}.")
        check_suggestion(suggestion.params, old.params)
        return suggestion.params

    def _records(
        self,
        trial: TuningTrial | None,
        next_trial: TuningTrial | None,
        old: HyperparamSet,
        new: HyperparamSet,
        changed: list[str],
        effective: Mapping[str, object],
        metrics: EvalMetrics,
    ) -> Iterator[TuningRecord]:
        probed = next_trial.name if next_trial is not None else None
        if trial is not None and trial.name != probed:
            name, begun = trial.name, trial.metrics
            read = effective if name in changed else effective_params(self._slot.agent)
            yield TuningRecord(
                name=name,
                kind="commit",
                before=trial.before,
                requested=new.params[name],
                effective=read.get(name, new.params[name]),
                score_before=begun.primary_score,
                score_before_std_err=begun.std_err,
                score_after=metrics.primary_score,
                score_after_std_err=metrics.std_err,
                decision=self._optimizer.decision,
            )
            changed = [other for other in changed if other != name]
        for name in changed:
            yield TuningRecord(
                name=name,
                kind="probe" if name == probed else "change",
                before=old.params[name],
                requested=new.params[name],
                effective=effective[name],
                score_before=metrics.primary_score,
                score_before_std_err=metrics.std_err,
                score_after=math.nan,
                score_after_std_err=math.nan,
                decision=self._optimizer.decision,
            )


def takes_history(optimizer: BaseOptimizer) -> bool:
    """Return whether an optimizer's `suggest` takes the history of evaluations, as its second argument is named."""
    names = list(inspect.signature(optimizer.suggest).parameters)
    return len(names) > 1 and names[1].endswith("history")


class SuggestionError(HyperparamError):
    """A suggestion that the agent cannot have; nothing is changed by it."""


def check_suggestion(new: Mapping[str, object], old: Mapping[str, object]) -> None:
    """Raise `SuggestionError` for a name that the agent lacks, or for a number that became none."""
    for name, value in new.items():
        if name not in old:
            raise SuggestionError(
                f"The optimizer suggested {name!r}={value!r}, which the agent does not have.{did_you_mean(name, old)}"
            )
        if value != old[name] and is_real(old[name]) and not is_real(value):
            raise SuggestionError(f"The optimizer suggested {name!r}={value!r}, which is not a finite number.")
