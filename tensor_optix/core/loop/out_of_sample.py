"""The test of a run: the best plays once on what neither training nor validation has had; it decides nothing."""

import itertools

from tensor_optix.core.agent_memory import on_a_copy_of_memory
from tensor_optix.core.decisions.final_score import FinalScore, final_score
from tensor_optix.core.loop.run import Run
from tensor_optix.errors import TensorOptixError


def play_test(run: Run) -> None:
    """Play one window of the test pipeline with the best policy; the agent has its own policy back afterwards.

    Args:
        run: what ends; `progress.test` holds what the best was worth.

    Raises:
        TensorOptixError: the pipeline yields nothing.
    """
    run.progress.test = _played(run)


def _played(run: Run) -> FinalScore | None:
    parts, best = run.parts, run.state.best
    if parts.test_pipeline is None or best is None:
        return None
    agent = run.slot.first
    with run.progress.timed("validate"), parts.registry.loaded(best, agent), on_a_copy_of_memory(agent):
        for window in itertools.islice(parts.test_pipeline.episodes(), 1):
            return final_score(window, lambda played: parts.evaluator.score_validation(played))
    raise TensorOptixError(
        f"{type(parts.test_pipeline).__name__}.episodes() yields nothing; the test needs one window. Give it data, or "
        f"leave test_pipeline out."
    )
