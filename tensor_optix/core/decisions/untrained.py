"""Is the best policy ahead of the untrained one that the run began with? Pure functions.

    on the same seeds   dᵢ = Gᵢ − Gᵢ⁰:                               ahead if the interval of the mean of dᵢ is above 0
    on other seeds      L = Ḡ − Ḡ⁰ − √((Ḡ − low)² + (high⁰ − Ḡ⁰)²):   ahead if L > 0,
                        U = the pairs (i, j) with Gᵢ > Gⱼ⁰, ties half:   or if U − n·m / 2 > 3.72 · its error and Ḡ > Ḡ⁰
    with a target t     (G − G⁰) / (t − G⁰) < 0.01:                  not ahead, whatever the errors
    without seeds       the highest level of the learning curve, its lower bound:
                                                                     ahead if it is above s⁰ + 2 · error of s⁰
    on the same seeds,  where the untrained policy was cut sooner than the best is, and not behind so far: as without

G are returns, s⁰ is the score of the first window. The intervals are those of `intervals`, so that equal constants are
no gain, one lucky episode is none, and a constant gain is one. They allow for a return as bad as any of the run,
however rare, which hides the gain of a dozen good episodes. Ranks alone refute that the best acts just as the untrained
policy does, so that all returns are draws from one distribution: by chance once in 10,000 times, as a best was chosen
among many.

Sources: Zou and Donner, "Construction of confidence limits about effect measures: a general approach", Statistics in
Medicine 27, 2008; Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the
other", 1947. The last says nothing where the error of s⁰ is not known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.decisions.curve_statistics import levels
from tensor_optix.core.decisions.intervals import ScoreInterval, Span, mean_interval, score_interval
from tensor_optix.core.decisions.ranking import returns_of, score_returns
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.decisions.trend import recent, rounding_of, standard_error
from tensor_optix.core.types import EvalMetrics, PlayedWindow

FEWEST_PAIRS = 3
"""Fewer differences say nothing."""
FEWEST_EVALUATIONS = 5
"""Evaluations before which a curve says nothing."""
ERRORS = 2.0
"""Standard errors of the first score that a level must be above it."""
RANK_ERRORS = 3.72
"""Standard errors that the pairs won must be above half of all: one chance in 10,000."""
SMALLEST_SHARE = 0.01
"""Of the way from the start to the target: to have come less far is to have learned nothing."""
NEWEST = 20
"""Training scores of the end that are compared with the first."""
_TRIES = ("more exploration", "another learning rate", "a longer window (window_size)", "another algorithm")
_BY_HAND = "Thresholds set by hand have ended the run; without them it waits longer for a first rise."
_COULD_BE_OPTIMAL = (
    "If the start is as good as can be, nothing is wrong: the loop cannot know that without a target, which is the "
    "reward_threshold of the environment, or target_score."
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """What the untrained policy scored."""

    score: float
    std_err: float
    """Standard error of the score; NaN = unknown."""
    interval: ScoreInterval | None = None
    """Where the score lies; None = unknown."""


def start_score(windows: Sequence[PlayedWindow], first: EvalMetrics | None) -> float | None:
    """Return what the untrained policy scored, as `start_of`; None where it is not known."""
    if windows:
        return float(_values(windows, are_returns=score_returns(windows)).mean())
    return first.primary_score if first is not None else None


def start_of(windows: Sequence[PlayedWindow], first: EvalMetrics | None, span: Span | None = None) -> Start | None:
    """Return what the untrained policy scored, on its own episodes or else in the first window.

    Args:
        windows: the episodes that it played before anything was learned.
        first: the first evaluation of the run whose error is known; None = none is.
        span: lowest and highest return that the run has seen.

    Returns:
        None where neither is known.
    """
    if windows:
        are_returns = score_returns(windows)
        values = _values(windows, are_returns=are_returns)
        score, error = float(values.mean()), standard_error(values)
        interval = score_interval(score, error, values.size, values.tolist() if are_returns else (), span)
        return Start(score=score, std_err=error, interval=interval)
    if first is None:
        return None
    episodes = first.metrics.get("val_episodes" if "val_score" in first.metrics else "episodes", math.nan)
    interval = score_interval(first.primary_score, first.std_err, episodes, span=span)
    return Start(score=first.primary_score, std_err=first.std_err, interval=interval)


def is_negligible(score: float, start: float, target: float | None, sign: float = 1.0) -> bool:
    """Return whether a score is hardly nearer to the target than the start; False where no target is known.

    A policy that learns to do nothing where moving costs is ahead of one that moves a little: of 90 points it has 1e-5.

    Args:
        score: of the best.
        start: of the untrained policy.
        target: the score that is enough; None = not known.
        sign: -1 where the lower score is better.
    """
    return target is not None and sign * (score - start) < SMALLEST_SHARE * sign * (target - start)


def is_ahead_on_same_seeds(
    best: Sequence[PlayedWindow], start: Sequence[PlayedWindow], sign: float = 1.0
) -> bool | None:
    """Return whether the best is ahead on the episodes that both have played; None where there are too few.

    Args:
        best: windows of the best.
        start: windows of the untrained policy; those with the same seeds are compared.
        sign: -1 where the lower score is better.
    """
    begun = {window.seeds: window for window in start}
    pairs = [(window, begun[window.seeds]) for window in best if window.seeds in begun]
    are_returns = score_returns([window for pair in pairs for window in pair])
    if are_returns:  # an episode that was left out for a bad step has no partner
        pairs = [(a, b) for a, b in pairs if len(a.returns) == len(b.returns) == len(a.seeds)]
    if not pairs:
        return None
    ours, theirs = (sign * _values(side, are_returns=are_returns) for side in zip(*pairs, strict=True))
    differences = np.where(np.abs(ours - theirs) > rounding_of(ours, theirs), ours - theirs, 0.0)
    return mean_interval(differences.tolist()).low > 0.0 if differences.size >= FEWEST_PAIRS else None


def is_ahead_apart(score: float, interval: ScoreInterval | None, start: Start, sign: float = 1.0) -> bool | None:
    """Return whether the best is ahead on episodes of its own; None where too little is known.

    Args:
        score: of the best.
        interval: of that score.
        start: what the untrained policy scored.
        sign: -1 where the lower score is better.
    """
    if interval is None or start.interval is None or not math.isfinite(score):
        return None
    if sign < 0.0:
        error = math.hypot(interval.high - score, start.score - start.interval.low)
    else:
        error = math.hypot(score - interval.low, start.interval.high - start.score)
    return bool(sign * (score - start.score) > error + rounding_of(score, start.score))


def is_ahead_by_ranks(best: Sequence[PlayedWindow], start: Sequence[PlayedWindow], sign: float = 1.0) -> bool | None:
    """Return whether the best wins more pairs of episodes than luck would give it; None where there are too few.

    Args:
        best: windows of the best.
        start: windows of the untrained policy, whatever their seeds.
        sign: -1 where the lower score is better.
    """
    if not best or not start:
        return None
    are_returns = score_returns([*best, *start])
    ours, theirs = (sign * _values(side, are_returns=are_returns) for side in (best, start))
    if min(ours.size, theirs.size) < FEWEST_PAIRS:
        return None
    values = np.concatenate([ours, theirs])
    order = np.argsort(values)
    is_new = np.diff(values[order]) > rounding_of(values[order][1:], values[order][:-1])
    ties = np.diff(np.flatnonzero(np.concatenate([[True], is_new, [True]]))).astype(np.float64)
    ranks = np.empty_like(values)
    ranks[order] = np.repeat(np.cumsum(ties) - (ties - 1.0) / 2.0, ties.astype(int))
    n, pairs = float(values.size), float(ours.size * theirs.size)
    error = math.sqrt(pairs / 12.0 * (n + 1.0 - float((ties**3 - ties).sum()) / (n * (n - 1.0))))
    won = float(ranks[: ours.size].sum()) - ours.size * (n + 1.0) / 2.0
    return bool(won > RANK_ERRORS * error and ours.mean() > theirs.mean())


def has_risen_from(first: EvalMetrics, curve: ScoreCurve, evaluations: Sequence[EvalMetrics]) -> bool | None:
    """Return whether the scores have risen above the first, those of training included; None where nothing tells.

    The first window was collected by the untrained policy, but a validation score may be that of one which has learned
    from it. So where the training scores have risen, something was learned.

    Args:
        first: the first evaluation of the run whose error is known.
        curve: the learning curve.
        evaluations: the newest ones.
    """
    if curve.evaluations < FEWEST_EVALUATIONS:
        return None
    if _is_above(float(levels(curve.bins()).max()), first.utility, ERRORS * first.utility_std_err):
        return True
    if "train_score" not in first.metrics:
        return False
    sign, newest = first.sign, [one.metrics.get("train_score", math.nan) for one in recent(evaluations, NEWEST)]
    newest = [sign * score for score in newest if math.isfinite(score)]
    error = ERRORS * math.hypot(first.metrics.get("train_score_std_err", math.nan), standard_error(newest))
    level = sign * first.metrics["train_score"]
    return _is_above(float(np.mean(newest)), level, error) if math.isfinite(error) else None


def advice(
    *,
    episodes: int,
    is_flat: bool,
    score: float,
    is_cut_short: bool,
    is_by_hand: bool = False,
    has_target: bool = False,
    has_tried_other: bool = False,
) -> str:
    """Return what to try where the best is not ahead of the untrained policy, in a few sentences.

    Args:
        episodes: training episodes that have ended.
        is_flat: True if every episode of the run had the same return.
        score: the best score.
        is_cut_short: True if the run was ended before it was done.
        is_by_hand: True if a threshold set by hand was the whole patience.
        has_target: True if it is known which score is enough, and the best is below it.
        has_tried_other: True if another algorithm has learned for a time, too.
    """
    if episodes == 0:
        return (
            "No training episode has ended. Give the environment a time limit (gymnasium.wrappers.TimeLimit), or use "
            "a longer window (window_size)."
        )
    longer = "Train longer first. " if is_cut_short else ""
    last = "" if is_cut_short or not is_by_hand else f" {_BY_HAND}"
    last += "" if has_target else f" {_COULD_BE_OPTIMAL}"
    if is_flat:
        return (
            f"{longer}Every episode had the return {score:g}, so the reward was never seen, or there is no other. Let "
            f"episodes last longer, explore more, or shape the reward so that it leads there.{last}"
        )
    by_none = " Nor did one of another algorithm." if has_tried_other else ""
    *tries, last_try = _TRIES[:-1] if has_tried_other else _TRIES
    return (
        f"{longer}Returns differ, but no policy came out ahead.{by_none} Try {', '.join(tries)}, or {last_try}.{last}"
    )


def _values(windows: Sequence[PlayedWindow], *, are_returns: bool) -> np.ndarray:
    if are_returns:
        return np.array(returns_of(windows), np.float64)
    return np.array([window.score for window in windows], np.float64)


def _is_above(level: float, first: float, error: float) -> bool:
    return bool(level > first + error + rounding_of(level, first))
