"""Policies that might be the best, with what is known of them; who of them takes part in the last race."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tensor_optix.core.decisions.racing import by_mean, plausible
from tensor_optix.core.decisions.ranking import returns_of, score_returns
from tensor_optix.core.decisions.trend import DEGRADATION_ERRORS
from tensor_optix.core.types import PlayedWindow, PolicySnapshot


@dataclass
class Contender:
    """A policy that might be the best."""

    snapshot: PolicySnapshot
    """With the score that it claims, where it is in reserve."""
    known: tuple[float, ...]
    """Utilities of windows that tell how good it is."""
    error: float = 0.0
    """Standard error of their mean, where the evaluator tells one."""
    raced: tuple[float, ...] = ()
    """Utilities of the episodes that it has played in the race, or of the windows where these do not score returns."""
    newest: tuple[PlayedWindow, ...] = ()
    """The windows of the newest round."""


def known_scores(snapshot: PolicySnapshot) -> tuple[float, ...]:
    """Return the utilities of the windows behind a snapshot's score, or of that score alone."""
    return utilities_of(snapshot, snapshot.evidence) or (snapshot.eval_metrics.utility,)


def utilities_of(snapshot: PolicySnapshot, windows: Sequence[PlayedWindow]) -> tuple[float, ...]:
    """Return the utilities of windows that a snapshot has played; none where they would be grades."""
    metrics = snapshot.eval_metrics
    return () if metrics.grade is not None else tuple(metrics.sign * window.score for window in windows)


def raced_scores(snapshot: PolicySnapshot, windows: Sequence[PlayedWindow]) -> tuple[float, ...]:
    """Return the utilities of the episodes of windows that a snapshot has played, or of the windows.

    Episodes tell more than the few windows that they make up, as far as a window scores the mean of its returns.
    """
    if not score_returns(windows):
        return utilities_of(snapshot, windows)
    return tuple(snapshot.eval_metrics.sign * value for value in returns_of(windows))


def could_be_first(contenders: Sequence[Contender]) -> list[Contender]:
    """Return who could be the best by its windows, or by the error that the evaluator tells, best mean first."""
    known = [one.known for one in contenders]
    order, could_be = by_mean(known), set(plausible(known))
    highest = max((mean_of(scores) for scores in known), default=-math.inf)
    near = {i for i in order if mean_of(known[i]) + DEGRADATION_ERRORS * contenders[i].error >= highest}
    return [contenders[i] for i in order if i in could_be | near]


def mean_of(scores: Sequence[float]) -> float:
    """Return the mean of at least one score."""
    return math.fsum(scores) / len(scores)
