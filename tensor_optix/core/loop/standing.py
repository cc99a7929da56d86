"""How well a best is known: the interval of its score, and whether the last test has confirmed it."""

import math
from collections.abc import Iterable
from itertools import chain

from tensor_optix.core.decisions.intervals import ScoreInterval, Span, score_interval, span_of
from tensor_optix.core.types import EvalMetrics, PolicySnapshot


def is_confirmed(snapshot: PolicySnapshot) -> bool:
    """Return True if a snapshot's score is that of the fresh episodes of a final evaluation.

    Args:
        snapshot: the best of a run.
    """
    return snapshot.eval_metrics.metrics.get("final_episodes", 0.0) > 0.0


def best_interval(snapshot: PolicySnapshot, span: Span | None) -> ScoreInterval | None:
    """Return the interval of a snapshot's score; None where too little is known.

    Args:
        snapshot: the best of a run.
        span: lowest and highest return that the run has seen.
    """
    metrics = snapshot.eval_metrics
    returns = [value for window in snapshot.evidence for value in window.returns]
    counted = "val_episodes" if "val_score" in metrics.metrics else "episodes"
    episodes = len(returns) or metrics.metrics.get("final_episodes") or metrics.metrics.get(counted, math.nan)
    return score_interval(metrics.primary_score, metrics.std_err, episodes, returns, span)


def seen_span(evaluations: Iterable[EvalMetrics], snapshots: Iterable[PolicySnapshot] = ()) -> Span | None:
    """Return the lowest and highest of what a run has scored, single episodes of its snapshots included.

    Args:
        evaluations: of the run.
        snapshots: those that are kept.
    """
    scores = (s for m in evaluations for s in (m.primary_score, m.metrics.get("train_score", m.primary_score)))
    returns = (value for s in snapshots for window in s.evidence for value in window.returns)
    return span_of(chain(scores, returns))
