"""What follows when a learner has ended, asked and done: a successor's answer, an escape, the watch, or the end.

a successor (evolution) answers Stop or LearnOn     that is done
it answers Continue, or there is none               on DORMANT: the watch begins, where the run watches;
                                                    an escape is tried, where no successor is in charge;
                                                    else the run has converged
"""

from collections.abc import Callable, Sequence

from tensor_optix.core.decisions.succession import Continue, Ended, LearnOn, Stop, Successor
from tensor_optix.core.loop.escaping import Escaping
from tensor_optix.core.loop.execution import Execution
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.stop_reason import StopReason


class Dormancy:
    """Asks what follows, and does it.

    Args:
        run: the controller's hands.
        escaping: what is tried before the end. Evolution is the user's own branch of DORMANT, whose variants explore:
            where a successor is in charge nothing else is tried, and a run that watches does so at once.
        successors: those asked, in this order.
        progress: what ends the run where nobody learns on.
        watches: True where the run goes on watching when nobody learns on.
        stop: ends the run after the window in progress.
    """

    def __init__(
        self,
        run: Execution,
        escaping: Escaping,
        successors: Sequence[Successor],
        progress: RunProgress,
        stop: Callable[[StopReason], None],
        *,
        watches: Callable[[], bool],
    ) -> None:
        self._run = run
        self._escaping = escaping
        self._successors = list(successors)
        self._progress = progress
        self._stop = stop
        self._watches = watches

    @property
    def is_spent(self) -> bool:
        """True where a learner has had its share of windows, by the word of a successor."""
        return any(successor.is_spent for successor in self._successors)

    def next(self, *, is_dormant: bool) -> None:
        """Ask what follows, and do it.

        Args:
            is_dormant: False where the learner has spent its share of windows and could go on.
        """
        watches = self._watches()
        ended = Ended(
            window_id=self._run.state.window_id,
            is_dormant=is_dormant,
            history=self._run.state.recent,
            watches=watches,
            referee=self._run,
        )
        answers = (successor.next(ended) for successor in self._successors if is_dormant or successor.is_spent)
        answer = next((answer for answer in answers if not isinstance(answer, Continue)), Continue())
        if isinstance(answer, LearnOn):
            self._run.let_learn(answer.agent)
            return
        if isinstance(answer, Stop):
            self._stop(answer.reason)
            if answer.announce is not None:
                answer.announce()
        if is_dormant and watches:
            self._run.championship.begin()
        elif is_dormant and (self._successors or not self._escaping.goes_on()):
            self._progress.stop(StopReason.CONVERGED)
