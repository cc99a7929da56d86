"""A best that is the best: a candidate and the incumbent are played again, on the same fresh episodes.

The highest of many noisy scores is too high, so no policy is crowned for the few episodes that brought it forward, and
none keeps its crown for the ones that once were kind to it:

    1. the candidate plays fresh episodes, which no decision has seen
    2. the incumbent plays the same ones; they are added to those that its score rests on
    3. the candidate is crowned if it was ahead on them, its score there beats all that the incumbent has shown, and so
       does its lower bound (`decisions.ranking`): ten successes in ten do not beat ninety-five in a hundred
    4. while only the lower bound says no, it plays on, up to as many episodes as the incumbent's score rests on

A first candidate skips 2, and so does one whose lower bound is above the incumbent's upper bound. A test ends early
against a candidate: after each window of 1, as soon as it is behind what the incumbent has shown by more than twice the
error of the difference. That does not bias a score: who is refused has none, and a candidate that looks good plays no
fewer episodes for it.

The learner has its own weights back afterwards. The cost is bounded: where the tests have
taken more than their share of the steps, a candidate plays one window of fresh episodes alone; where the budget of
validation is spent, it is judged by the episodes that brought it forward. The incumbent is tested alone, too, while few
episodes are behind its score: at first soon, then less and less often.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import Boundable, PlaysSeeds
from tensor_optix.core.decisions.candidacy import is_behind, is_clearly_ahead, is_surely_ahead
from tensor_optix.core.decisions.cut_episodes import limit_of
from tensor_optix.core.decisions.ranking import returns_of, score_returns
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.faults import PlayStoppedError
from tensor_optix.core.loop.tested import Tested as Tested
from tensor_optix.core.types import EvalMetrics, PlayedWindow, PolicySnapshot
from tensor_optix.errors import BadDataError

TEST_WINDOWS = 2
"""Validation windows of fresh episodes per test."""
MOST_EVIDENCE = 20
"""Windows that the score of the best rests on at most; the oldest make way."""
TEST_SHARE = 0.25
"""Tests may take this many steps per step of training."""
CLOSE_SHARE = 0.1
"""The same for tests that only might bring a better best: of candidates behind by no more than their error, and of the
incumbent alone."""
RETEST_FACTOR = 1.5
"""The incumbent is tested again when the windows since it was crowned have grown by this factor."""
QUIET_EVALUATIONS = 3
"""Without an improvement; from then on a test of the incumbent that is due is waited for."""


@dataclass(frozen=True)
class Challenge:
    """How a candidate fared."""

    wins: bool
    tested: Tested
    metrics: EvalMetrics
    """Its score over all that it was tested on."""
    incumbent: "Retest | None" = None
    """What the incumbent has shown by now, if it played, too."""


@dataclass(frozen=True)
class Retest:
    """A score with more episodes behind it."""

    metrics: EvalMetrics
    evidence: tuple[PlayedWindow, ...]
    steps: int
    """Steps that the new episodes took."""
    played: tuple[PlayedWindow, ...] = ()
    """Those of them that are new."""


def play(
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    seeds: Iterable[Sequence[int]],
    *,
    max_steps: float = math.inf,
    is_stopped: Callable[[], bool] = lambda: False,
    is_enough: Callable[[Tested], bool] = lambda tested: False,
) -> Tested:
    """Play a window per list of seeds with the pipeline's agent, as far as it gets; what cannot be played is left out.

    Args:
        pipeline: where they are played.
        evaluator: what scores them.
        seeds: one list per window.
        max_steps: no further window is begun beyond so many steps.
        is_stopped: True as soon as the user wants an end.
        is_enough: True where what was played tells enough.

    Raises:
        BadDataError: none can be played.
    """
    tested, failed = Tested((), ()), None
    for window_seeds in seeds:
        if is_stopped() or tested.steps > max_steps or (tested.windows and is_enough(tested)):
            break
        try:
            window = pipeline.play(window_seeds)
        except BadDataError as error:
            failed = error
            continue
        except PlayStoppedError:
            if not is_stopped():
                raise
            break
        tested += Tested.of(window, window_seeds, evaluator)
    if failed is not None and not tested.windows:
        raise failed
    return tested


def play_again(pipeline: PlaysSeeds, evaluator: BaseEvaluator, evidence: Iterable[PlayedWindow]) -> Tested:
    """Play the episodes of some windows once more, each cut where it was cut; see `play`.

    Args:
        pipeline: where they are played.
        evaluator: what scores them.
        evidence: the windows.
    """

    def seeds() -> Iterator[Sequence[int]]:
        for window in evidence:
            if isinstance(pipeline, Boundable):
                pipeline.bound(window.episode_limit, lambda: False)
            yield window.seeds

    return play(pipeline, evaluator, seeds())


def challenge(
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    incumbent: PolicySnapshot | None,
    *,
    as_incumbent: Callable[[], AbstractContextManager[object]] | None = None,
    margin: float = 0.0,
    is_cheap: bool = False,
    max_steps: float = math.inf,
    played: Tested | None = None,
    with_training: Callable[[EvalMetrics], EvalMetrics] = lambda metrics: metrics,
) -> Challenge:
    """Test the policy that the pipeline's agent holds against the incumbent.

    Args:
        pipeline: where the episodes are played.
        evaluator: what scores them.
        incumbent: the best so far, with the episodes behind its score; None before there is one.
        as_incumbent: gives the pipeline's agent the incumbent's policy for a block, and its own back after it; None
            where it cannot be played.
        margin: by how much it must be beaten, in units of the score.
        is_cheap: True to play one window of fresh episodes and nothing else.
        max_steps: the candidate does not play on beyond so many.
        played: what it is judged by where it is to play nothing at all.
        with_training: gives the score of a test the metrics of training, as the incumbent's has: what is compared.
    """
    is_cheap = is_cheap or played is not None
    seeds = [pipeline.fresh_seeds() for _ in range(1 if is_cheap else TEST_WINDOWS)] if played is None else []

    def is_refused(so_far: Tested) -> bool:
        shown = so_far.evidence, so_far.score(evaluator)
        return incumbent is not None and is_behind(shown, incumbent.eval_metrics, margin)

    tested = play(pipeline, evaluator, seeds, is_enough=is_refused) if played is None else played
    metrics = tested.score(evaluator)
    if incumbent is None:
        return Challenge(metrics.is_usable, tested, metrics)
    shown, theirs = (tested.evidence, metrics), (incumbent.evidence, incumbent.eval_metrics)
    if is_cheap or as_incumbent is None or is_refused(tested) or is_clearly_ahead(shown, theirs):
        wins = evaluator.beats(with_training(metrics), incumbent.eval_metrics, margin)
        return Challenge(wins and is_surely_ahead(shown, theirs), tested, metrics)
    with as_incumbent():
        again = play(pipeline, evaluator, seeds)
    known = with_evidence(incumbent, again, evaluator)
    paired = rescored(incumbent.eval_metrics, again.score(evaluator))
    wins = evaluator.beats(with_training(metrics), paired, margin)
    while wins := wins and evaluator.beats(with_training(metrics), known.metrics, margin):
        if is_surely_ahead((tested.evidence, metrics), (known.evidence, known.metrics)):
            break
        if len(tested.windows) >= len(known.evidence) or tested.steps >= max_steps:
            wins = False
            break
        tested += play(pipeline, evaluator, [pipeline.fresh_seeds() for _ in range(TEST_WINDOWS)])
        metrics = tested.score(evaluator)
    return Challenge(wins, tested, metrics, known)


def retest(pipeline: PlaysSeeds, evaluator: BaseEvaluator, incumbent: PolicySnapshot) -> Retest:
    """Test the incumbent, whose policy the pipeline's agent holds, by itself.

    Args:
        pipeline: where the episodes are played.
        evaluator: what scores them.
        incumbent: the best so far.
    """
    seeds = [pipeline.fresh_seeds() for _ in range(TEST_WINDOWS)]
    return with_evidence(incumbent, play(pipeline, evaluator, seeds), evaluator)


def is_retest_due(incumbent: PolicySnapshot, window_id: int, tested_in: int) -> bool:
    """Return True if the incumbent is to be tested again: few episodes are behind its score, and the run has gone on.

    Args:
        incumbent: the best so far.
        window_id: the window in hand.
        tested_in: the window in which it was last tested.
    """
    age, age_then = window_id - incumbent.window_id, max(tested_in - incumbent.window_id, 0)
    return len(incumbent.evidence) < MOST_EVIDENCE and age >= max(age_then + 1, RETEST_FACTOR * age_then)


def with_evidence(
    snapshot: PolicySnapshot,
    tested: Tested,
    evaluator: BaseEvaluator,
    most: int = MOST_EVIDENCE,
    limit: int | None = None,
) -> Retest:
    """Return the score of a snapshot with new episodes added to those that it rests on.

    Where a window scores the mean of its returns, the score is the mean over all of them. Any other score cannot be
    put together from its parts, and is that of the new episodes alone. Where episodes were cut earlier than the
    new ones, all of before make way: returns do not compare, and the episodes that ended are the short ones.

    Args:
        snapshot: the policy.
        tested: the new episodes.
        evaluator: what scores them.
        most: windows that the score rests on at most.
        limit: steps after which a new episode is cut; None = after as many as one of them was.
    """
    found = tested.score(evaluator)
    is_outgrown = (limit_of(snapshot.evidence) or math.inf) < (limit or limit_of(tested.evidence) or 0)
    known = () if is_outgrown else snapshot.evidence
    evidence = (*known, *tested.evidence)[-most:]
    if not score_returns(evidence):
        evidence = tested.evidence
    else:
        returns = np.array(returns_of(evidence))
        metrics = {**found.metrics, "mean_return": float(returns.mean()), "episodes": float(len(returns))}
        metrics["score_std_err"] = standard_error(returns)
        found = replace(found, primary_score=float(returns.mean()), metrics=metrics)
    return Retest(rescored(snapshot.eval_metrics, found), evidence, tested.steps, tested.evidence)


def rescored(metrics: EvalMetrics, found: EvalMetrics, **more: float) -> EvalMetrics:
    """Return metrics with the score of a longer test in place of their own.

    Args:
        metrics: those of a snapshot.
        found: what the test has shown.
        more: what else is to be told of it.
    """
    held_out = {f"val_{name}": value for name, value in found.metrics.items() if f"val_{name}" in metrics.metrics}
    told = {**metrics.metrics, **held_out, **more, "val_score": found.primary_score, "score_std_err": found.std_err}
    if "train_score" in told:
        told["generalization_gap"] = told["train_score"] - found.primary_score
    return replace(metrics, primary_score=found.primary_score, metrics=told)
