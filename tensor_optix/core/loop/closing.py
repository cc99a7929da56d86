"""What is done when a run ends, in order."""

from collections.abc import Iterator

from tensor_optix.core.loop.escaping import Escaping
from tensor_optix.core.loop.out_of_sample import play_test
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.run_ending import Step
from tensor_optix.core.loop.run_snapshots import RunSnapshots
from tensor_optix.core.loop.untrained import Untrained
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.stop_reason import StopReason

CUT_SHORT = (StopReason.INTERRUPTED, StopReason.STOPPED)
"""Ends of a run that could go on."""


def closing_steps(
    run: Run,
    snapshots: RunSnapshots,
    untrained: Untrained,
    escaping: Escaping,
    validation: Validation,
) -> Iterator[Step]:
    """Yield what is to be done at the end of a run: save what is not saved, settle the best, restore it, close all.

    Args:
        run: what ends; the user's own agent is given the best policy, whichever agent learned last.
        snapshots: what writes and tests policies.
        untrained: what compares the best with the untrained policy.
        escaping: what gives the agent back the values that an escape has changed.
        validation: what is closed last.
    """
    parts, config, slot, reason = run.parts, run.config, run.slot, run.progress.reason
    if run.state.best is None and run.state.window_id >= 0:
        yield "save the policy", snapshots.save_unscored
    elif run.state.best is not None:
        is_urgent = run.progress.watchdog.has_interrupted  # something hangs
        if config.final_evaluation and reason in CUT_SHORT and not is_urgent:
            yield "confirm the best policy", snapshots.confirm
        elif config.final_evaluation and _ends_untested(reason):
            # Leaders are played in the acting agent. A variant may be a member of an ensemble: it is restored.
            keeps_own = not config.restore_best or slot.agent is not slot.first
            yield "evaluate the best policies", lambda: snapshots.settle_at_last(keeps_own=keeps_own)
        if reason is not StopReason.ERROR:
            yield "compare the best with the untrained policy", untrained.compare
        if parts.test_pipeline is not None and reason is not None and reason.is_final:
            yield "test the best policy", lambda: play_test(run)
        if config.restore_best:
            yield "restore the best policy", lambda: parts.registry.load_best(slot.first, run.state.best)
    if run.state.escapes:
        yield "end the escapes", escaping.close
    yield "close the history", parts.history.close
    yield "close the pipeline", parts.pipeline.teardown
    yield "close the validation pipeline", validation.close
    if parts.player is not None:
        yield "let who plays validation go", parts.player.close
    if parts.test_pipeline is not None:
        yield "close the test pipeline", parts.test_pipeline.teardown


def _ends_untested(reason: StopReason | None) -> bool:
    """Return whether the last test is still to come; a target is reached by a score that it has confirmed."""
    return reason is not None and reason.is_final and reason is not StopReason.TARGET
