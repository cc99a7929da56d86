"""The end of a run: which policy is best is settled by long tests, and every step of the ending is taken."""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.decisions.reserve import NEIGHBOURS
from tensor_optix.core.faults import PlayStoppedError
from tensor_optix.core.loop.contender import Contender
from tensor_optix.core.loop.final_evaluation import LEADER_WINDOWS, confirm_leaders, evaluate_leaders
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import BadDataError, CheckpointStorageError

logger = logging.getLogger(__name__)

LAST_POLICIES = 3
"""Shares of the budget of the last tests: two for the race, one for the policy that it chooses."""
SHORT_SECONDS = 5.0
"""Seconds for the test of the best where a run was cut short: with the window in progress the end comes within 10."""
Step: TypeAlias = tuple[str, Callable[[], object]]


def take_steps(steps: Iterable[Step], progress: RunProgress, *, has_failed: bool) -> None:
    """Take every step of the ending, whatever the others come to; never hide the error that ended the run.

    A disk that takes nothing is no error here either: that is counted, and the report names no more than is saved.

    Args:
        steps: what to do, each with its name.
        progress: where faults are counted.
        has_failed: True if an error ended the run.

    Raises:
        Exception: the first thing that failed, if nothing had before.
    """
    first_error: Exception | None = None
    for what, step in steps:
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


def settle(
    state: RunState,
    agent: BaseAgent,
    parts: LoopParts,
    config: LoopConfig,
    progress: RunProgress,
    validation: Validation,
    *,
    keeps_own: bool,
    asks_further: bool = False,
    part: float = 1.0,
    is_last: bool = False,
    tell: Callable[..., None],
) -> PolicySnapshot | None:
    """Settle by long tests which policy is best, that of now included, and return it; see `evaluate_leaders`.

    Args:
        state: where the run stands.
        agent: the one that acts; the leaders are played in it.
        parts: what the loop is made of.
        config: the knobs, with the budget of steps; the best stays as it is where nothing is left of it.
        progress: where time is counted, and the wish to end.
        validation: where policies are played; the best stays as it is where nothing is left to play.
        keeps_own: True to give the agent its own policy back.
        asks_further: True to ask a pipeline whose episodes are not fixed by seeds for further ones.
        part: of the budget of validation that may be spent then.
        is_last: True if no score is compared with those of these tests: episodes may be longer than before.
        tell: writes the tests to the records of the run.
    """
    budget = config.validation
    windows = budget.last_windows(state.env_steps, validation.spent, LAST_POLICIES, LEADER_WINDOWS, part)
    if state.metrics is None or windows == 0:
        return state.best
    tests = validation.seeded
    if asks_further and tests is None:
        with contextlib.suppress(PlayStoppedError), progress.timed("validate"):
            tests = validation.further()
    if tests is None:
        return state.best
    limit = (0 if is_last else state.cut_at) or config.episode_limit(state, validation.spent)
    with contextlib.suppress(PlayStoppedError), progress.timed("validate"), validation.bounded(limit):
        # The last policy takes part: at an environment's ceiling it ties with the best and is often the steadier one.
        # It is no evidence until it is tested: however this ends, the best on disk is one that was.
        claimed = _validated(state, state.metrics, parts, validation)
        last = parts.registry.save(agent, dataclasses.replace(claimed, has_evidence=False), state.window_id)
        try:
            return evaluate_leaders(
                agent,
                parts.registry,
                tests,
                parts.evaluator,
                lambda: progress.stop_asked,
                _alternatives(state, parts, dataclasses.replace(last, eval_metrics=claimed)),
                windows=windows,
                window_steps=validation.spent.newest or 0,
                most_steps=budget.left(state.env_steps, validation.spent, part),
                tell=tell,
            )
        finally:
            if keeps_own:
                parts.registry.load(last, agent)
            parts.registry.prune()
    return state.best


def confirm(
    state: RunState,
    agent: BaseAgent,
    parts: LoopParts,
    config: LoopConfig,
    progress: RunProgress,
    validation: Validation,
    tell: Callable[..., None],
) -> PolicySnapshot | None:
    """Test the best of a run that was cut short on a few fresh episodes, and return the best; see `confirm_leaders`.

    It takes `SHORT_SECONDS` at most, and a second signal ends it: the best is unconfirmed then. The agent keeps its own
    policy.

    Args:
        state: where the run stands.
        agent: the one that acts.
        parts: what the loop is made of.
        config: the knobs.
        progress: where time is counted, and the wish to end.
        validation: where the best is played; it stays as it is where its episodes are not fixed by seeds, as the next
            windows of another pipeline are for the run to go on with.
        tell: writes the tests to the records of the run.
    """
    seeded = validation.seeded
    if seeded is None or state.best is None:
        return state.best
    end = progress.clock() + SHORT_SECONDS
    limit = state.cut_at or config.episode_limit(state, validation.spent)

    def is_late() -> bool:
        return progress.stop_asked or progress.clock() >= end

    own_policy = parts.registry.loaded(state.best, agent)
    bounds = validation.bounded(limit, is_late)
    with contextlib.suppress(PlayStoppedError), progress.timed("validate"), bounds, own_policy:
        return confirm_leaders(agent, parts.registry, seeded, parts.evaluator, is_late, tell)
    return state.best


def _alternatives(state: RunState, parts: LoopParts, last: PolicySnapshot) -> list[Contender]:
    """Return the policies in reserve, with the scores around them, and the last one if it has a score."""
    kept = {s.snapshot_id: s for s in parts.registry.snapshots() if s.in_reserve and s.window_id != state.window_id}
    known = [(kept.get(one.snapshot_id), one.scores) for one in state.reserve]
    found = [_alternative(snapshot, scores) for snapshot, scores in known if snapshot is not None]
    if not last.eval_metrics.is_usable:
        return found
    recent = tuple(metrics.utility for metrics in state.recent[-NEIGHBOURS:])
    return [*found, _alternative(last, (*recent, last.eval_metrics.utility))]


def _alternative(snapshot: PolicySnapshot, scores: tuple[float, ...]) -> Contender:
    """Return a policy with the scores around it; its own error is that of one of them."""
    error = snapshot.eval_metrics.utility_std_err
    return Contender(snapshot, scores, error / math.sqrt(len(scores)) if math.isfinite(error) else 0.0)


def _validated(state: RunState, metrics: EvalMetrics, parts: LoopParts, validation: Validation) -> EvalMetrics:
    """Return the score of the policy as it is now, given the last evaluation; none where it cannot be played."""
    if metrics.episode_id == state.window_id:
        return metrics
    train_score = metrics.metrics.get("train_score", math.nan)
    train_metrics = dataclasses.replace(metrics, primary_score=train_score, episode_id=state.window_id)
    try:
        return parts.evaluator.combine(train_metrics, validation.score())
    except BadDataError as error:
        logger.warning("The last policy is not among those that are tested: %s", error)
        return EvalMetrics(math.nan, {}, state.window_id, has_evidence=False)
