"""Validation beside training: the policy of window k is played by somebody else while window k + 1 is collected.

    after window k was learned from     its own score is kept as pending, the run's state is saved, the episodes begin
    while k + 1 is collected            they are played, by a copy of the policy with the statistics that it has now
    when k + 1 was collected            the verdict on k is applied, before k + 1 is learned from

The agent is still that of window k when its verdict comes, so that candidates are tested, saved and rolled back as they
are without this. Where nobody has played, the same episodes are played here, with the same result: who plays decides
nothing. A run that is killed in between goes on from the pending score, and begins the same episodes again.
"""

from collections.abc import Callable, Iterator, Mapping

from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.scoring import Scorer
from tensor_optix.core.loop.training import Training
from tensor_optix.core.types import EpisodeData, EvalMetrics


class Beside:
    """Hands out the windows to learn from, each when the turn before it is concluded.

    Args:
        run: what the hands share.
        scorer: knows whether validation is deferred.
        training: concludes one that is.
        conclude: takes what a window came to.
        save: saves the state of the run.
    """

    def __init__(
        self,
        run: Run,
        scorer: Scorer,
        training: Training,
        conclude: Callable[[Outcome], None],
        save: Callable[[], None],
    ) -> None:
        self._run, self._scorer, self._training = run, scorer, training
        self._conclude, self._save = conclude, save
        self._statistics: Mapping[str, object] = {}
        """Those of the policy that is validated."""
        scorer.has_player = run.parts.player is not None

    def windows(self, collected: Iterator[EpisodeData]) -> Iterator[EpisodeData]:
        """Yield the windows to learn from; a validation that is pending is done before the next one is.

        Args:
            collected: the windows.
        """
        pending = self._run.state.pending
        if pending is not None and not self._scorer.defers(self._run.state):
            self._finish(pending)
            self._save()
        while self._run.progress.reason is None:
            self._begin()
            window = next(collected, None)
            if not self._goes_on() or window is None:
                return
            yield window

    def _begin(self) -> None:
        """Let the episodes of the validation that is pending begin."""
        run, state, player = self._run, self._run.state, self._run.parts.player
        if state.pending is None or player is None:
            return
        self._statistics = run.parts.pipeline.state_dict()
        if run.slot.is_other:
            return  # who plays has the agent of the run's own algorithm
        validation = self._scorer.validation
        limit = run.config.episode_limit(state, validation.spent)
        player.begin(run.slot.agent, self._statistics, validation.following(), limit)
        validation.ahead = lambda: player.result(lambda: run.progress.is_urgent)

    def _goes_on(self) -> bool:
        """Apply the verdict that is pending; return whether the window just collected is to be learned from."""
        run, pipeline, pending = self._run, self._run.parts.pipeline, self._run.state.pending
        if pending is None:
            return True
        statistics = pipeline.state_dict()
        pipeline.load_state_dict(self._statistics)
        try:
            self._finish(pending)
        finally:
            self._scorer.validation.ahead = None
            if pipeline.state_dict() == self._statistics:  # no other policy was loaded, with its own
                pipeline.load_state_dict(statistics)
        reason = run.progress.reason
        return run.state.pending is None and (reason is None or not reason.is_final)

    def _finish(self, pending: EvalMetrics) -> None:
        self._conclude(self._training.finish(self._run.state, pending))
