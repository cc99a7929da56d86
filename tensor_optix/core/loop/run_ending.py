"""The end of a run: save what is not saved, settle which policy is best, give it back, close everything."""

import dataclasses
import logging
import math
from collections.abc import Callable
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.loop.final_evaluation import evaluate_leaders
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.scoring import no_score
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointStorageError

logger = logging.getLogger(__name__)


def end_run(
    parts: LoopParts,
    config: LoopConfig,
    progress: RunProgress,
    validation: Validation,
    *,
    first_agent: BaseAgent,
    has_failed: bool,
) -> None:
    """Take every step of the ending, whatever the others come to; never hide the error that ended the run.

    A disk that takes nothing is no error here either: that is counted, and the report names no more than is saved.

    Args:
        parts: what the loop was made of when it ended.
        config: its knobs.
        progress: what it has come to.
        validation: where the best policies are tested.
        first_agent: the user's own, which is given the best policy, whoever learned last.
        has_failed: True if an error ended the run.

    Raises:
        Exception: the first thing that failed, if nothing had before.
    """
    first_error: Exception | None = None
    for what, step in _steps(parts, config, progress, validation, first_agent):
        try:
            step()
        except KeyboardInterrupt:
            logger.warning("Interrupted: did not %s.", what)
        except CheckpointStorageError as error:
            progress.health.count("storage")
            logger.warning("Could not %s: %s", what, error)
        except Exception as error:
            logger.exception("Could not %s.", what)
            first_error = first_error or error
    if first_error is not None and not has_failed:
        raise first_error


def _steps(
    parts: LoopParts, config: LoopConfig, progress: RunProgress, validation: Validation, first_agent: BaseAgent
) -> list[tuple[str, Callable[[], Any]]]:
    steps: list[tuple[str, Callable[[], Any]]] = []
    if progress.best is None and progress.window_id >= 0:
        steps.append(("save the policy", lambda: _save_unscored(parts, progress)))
    elif progress.best is not None:
        if config.final_evaluation and progress.reason is not None and progress.reason.is_final:
            # Leaders are played in the acting agent. A variant may be a member of an ensemble: it gets its own back.
            keeps_own = not config.restore_best or parts.agent is not first_agent
            steps.append(
                ("evaluate the best policies", lambda: _settle_at_last(parts, keeps_own, progress, validation))
            )
        if config.restore_best:
            steps.append(("restore the best policy", lambda: parts.registry.load_best(first_agent, progress.best)))
    steps.append(("close the history", parts.history.close))
    steps.append(("close the pipeline", parts.pipeline.teardown))
    steps.append(("close the validation pipeline", validation.close))
    return steps


def _settle_at_last(parts: LoopParts, keeps_own: bool, progress: RunProgress, validation: Validation) -> None:
    progress.stop_asked = False  # the run has stopped; who asks again wants the tests to end, too
    settle(parts, progress, validation, keeps_own=keeps_own)


def settle(parts: LoopParts, progress: RunProgress, validation: Validation, *, keeps_own: bool) -> None:
    """Settle by long tests which policy is best, that of now included; see `evaluate_leaders`.

    Args:
        parts: what the loop is made of.
        progress: what it has come to; its best is replaced.
        validation: where policies are played; nothing is done where its episodes are not fixed by seeds.
        keeps_own: True to give the agent its own policy back.
    """
    if validation.seeded is None or progress.metrics is None:
        return
    # The last policy takes part: at an environment's ceiling it ties with the best and is often the steadier one. It is
    # no evidence until it is tested: however this ends, the best on disk is one that was.
    claimed = _validated(progress.metrics, parts, progress, validation)
    last = parts.registry.save(parts.agent, dataclasses.replace(claimed, has_evidence=False), progress.window_id)
    try:
        with progress.timed("validate"):
            progress.best = evaluate_leaders(
                parts.agent,
                parts.registry,
                validation.seeded,
                parts.evaluator,
                lambda: progress.stop_asked,
                challenger=dataclasses.replace(last, eval_metrics=claimed),
            )
    except BaseException:
        progress.best = parts.registry.best  # scores may have been replaced by then
        raise
    finally:
        if keeps_own:
            parts.registry.load(last, parts.agent)
        parts.registry.prune()


def _validated(metrics: EvalMetrics, parts: LoopParts, progress: RunProgress, validation: Validation) -> EvalMetrics:
    """Return the score of the policy as it is now, given the last evaluation."""
    if metrics.episode_id == progress.window_id:
        return metrics
    train_score = metrics.metrics.get("train_score", math.nan)
    train_metrics = dataclasses.replace(metrics, primary_score=train_score, episode_id=progress.window_id)
    with progress.timed("validate"):
        return parts.evaluator.combine(train_metrics, validation.score())


def _save_unscored(parts: LoopParts, progress: RunProgress) -> None:
    metrics = progress.metrics or no_score(max(progress.window_id, 0))
    parts.registry.save(parts.agent, metrics, progress.window_id)
