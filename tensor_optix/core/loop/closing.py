"""What is done when a run ends, in order."""

from collections.abc import Iterator

from tensor_optix.core.loop.escaping import Escaping
from tensor_optix.core.loop.learner import Joint, Single
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run_ending import Step
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.loop.run_snapshots import RunSnapshots
from tensor_optix.core.loop.untrained import Untrained
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.stop_reason import StopReason

CUT_SHORT = (StopReason.INTERRUPTED, StopReason.STOPPED)
"""Ends of a run that could go on."""


def closing_steps(
    run: RunSnapshots,
    escaping: Escaping,
    parts: LoopParts,
    config: LoopConfig,
    slot: Single | Joint,
    progress: RunProgress,
    validation: Validation,
    untrained: Untrained,
) -> Iterator[Step]:
    """Yield what is to be done at the end of a run: save what is not saved, settle the best, restore it, close all.

    Args:
        run: what does it.
        escaping: what gives the agent back the values that an escape has changed.
        parts: what the loop is made of.
        config: the knobs.
        slot: where the learner sits; the user's own agent is given the best policy, whichever agent learned last.
        progress: why the run has ended.
        validation: what is closed last.
        untrained: what compares the best with the untrained policy.
    """
    if run.state.best is None and run.state.window_id >= 0:
        yield "save the policy", run.save_unscored
    elif run.state.best is not None:
        if config.final_evaluation and progress.reason in CUT_SHORT:
            yield "confirm the best policy", run.confirm
        elif config.final_evaluation and progress.reason is not None and progress.reason.is_final:
            # Leaders are played in the acting agent. A variant may be a member of an ensemble: it is restored.
            keeps_own = not config.restore_best or slot.agent is not slot.first
            yield "evaluate the best policies", lambda: run.settle_at_last(keeps_own=keeps_own)
        if progress.reason is not StopReason.ERROR:
            yield "compare the best with the untrained policy", untrained.compare
        if config.restore_best:
            yield "restore the best policy", lambda: parts.registry.load_best(slot.first, run.state.best)
    if run.state.escapes:
        yield "end the escapes", escaping.close
    yield "close the history", parts.history.close
    yield "close the pipeline", parts.pipeline.teardown
    yield "close the validation pipeline", validation.close
