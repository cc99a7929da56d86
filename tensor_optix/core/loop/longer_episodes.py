"""The first evaluation whose episodes may be longer than those that were cut before; see `decisions.cut_episodes`."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.decisions.candidacy import is_surely_ahead
from tensor_optix.core.decisions.cut_episodes import cut_after
from tensor_optix.core.loop.selection import Challenge, play, with_evidence
from tensor_optix.core.loop.tested import Tested
from tensor_optix.core.types import EpisodeData, EvalMetrics, PolicySnapshot


def gain_of_length(evaluator: BaseEvaluator, window: EpisodeData, steps: int, metrics: EvalMetrics) -> float:
    """Return what the steps beyond those of earlier episodes add to the score of a window, the higher the better.

    Args:
        evaluator: what scores it.
        window: of whole episodes, or of such as are cut later than the earlier ones.
        steps: after which earlier episodes were cut; 0 = none was.
        metrics: its evaluation; where that is a grade, nothing is added.
    """
    if not steps or metrics.grade is not None:
        return 0.0
    longer, shorter = (evaluator.score_validation(one) for one in (window, cut_after(window, steps)))
    return metrics.sign * (longer.primary_score - shorter.primary_score)


def challenge_anew(
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    incumbent: PolicySnapshot,
    played: Tested,
    *,
    as_incumbent: Callable[[], AbstractContextManager[object]],
    limit: int,
    margin: float,
    with_training: Callable[[EvalMetrics], EvalMetrics],
) -> Challenge:
    """Let the incumbent play the episodes of an evaluation, and compare the two; see `selection.challenge`.

    Args:
        pipeline: where the episodes are played.
        evaluator: what scores them.
        incumbent: the best so far; what it has shown in episodes that were cut sooner counts no longer.
        played: what the candidate has shown.
        as_incumbent: gives the pipeline's agent the incumbent's policy for a block, and its own back after it.
        limit: steps after which an episode is cut now.
        margin: by how much it must be beaten, in units of the score.
        with_training: gives the score of a test the metrics of training, as the incumbent's has.
    """
    with as_incumbent():
        again = play(pipeline, evaluator, [window.seeds for window in played.evidence])
    known = with_evidence(incumbent, again, evaluator, limit=limit)
    metrics = played.score(evaluator)
    wins = evaluator.beats(with_training(metrics), known.metrics, margin)
    wins = wins and is_surely_ahead((played.evidence, metrics), (known.evidence, known.metrics))
    return Challenge(wins, played, metrics, known)
