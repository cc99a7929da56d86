"""Episodes that were left because their environment failed: counted, and named in the window's metadata.

It raised, or what ran it hung or died. The episode's steps until then are kept as a truncated piece, and the
environment is made anew. After `MOST_IN_A_ROW` failures of one environment without a whole episode between the run
ends.
"""

import logging
from collections.abc import Iterable

from tensor_optix.core.faults import FAILED_EPISODES, FAILURES, MOST_IN_A_ROW, RAISED, EpisodesFailedError
from tensor_optix.pipeline.environment.episodes import raised_in
from tensor_optix.pipeline.environment.workers.worker import WorkerFailedError, told_of
from tensor_optix.support.redact import redacted

logger = logging.getLogger(__name__)

_LONGEST = 200
"""Characters of what is known of a failure that metadata keep."""


def failure_of(doing: str, error: Exception) -> str:
    """Return what to say of an environment that failed in a step or a reset, with the traceback where there is one."""
    return told_of(error) if isinstance(error, WorkerFailedError) else raised_in(doing, error)


class FailedEpisodes:
    """Counts the episodes of N environments that were left because the environment failed.

    Args:
        n_envs: N.
    """

    def __init__(self, n_envs: int = 1) -> None:
        self._n_envs = n_envs
        self._in_a_row = [0] * n_envs
        self._in_window: dict[str, dict[str, int]] = {}
        self._count = 0

    def fault(self, failure: str, i: int = 0) -> None:
        """Count one; logged the 1st, 2nd, 4th, 8th, ... time.

        Args:
            failure: "hung in step: ...", with a traceback in paragraphs of its own.
            i: the environment.

        Raises:
            EpisodesFailedError: the third in a row of environment i.
        """
        name = "The environment" if self._n_envs == 1 else f"Environment {i} of {self._n_envs}"
        kind = next((kind for kind in FAILURES if failure.startswith(kind)), RAISED)
        short = redacted(f"{name} {failure.partition(chr(10))[0]}")[:_LONGEST]
        self._count += 1
        self._in_a_row[i] += 1
        known = self._in_window.setdefault(kind, {})
        known[short] = known.get(short, 0) + 1
        if self._count & (self._count - 1) == 0:
            logger.warning(
                "%s (%d such failures until now); its episode is left, it is made anew, and the run goes on.",
                f"{name} {failure}" if self._count == 1 else short,
                self._count,
            )
        if self._in_a_row[i] >= MOST_IN_A_ROW:
            raise EpisodesFailedError(
                f"{name} failed {MOST_IN_A_ROW} times in a row, without a whole episode between; the last time it "
                f"{failure}\n\nStep it alone to see it fail. What was trained until now is kept.",
                self._in_window,
            )

    def clear(self, which: Iterable[int] = (0,)) -> None:
        """Note that environments have come to the end of an episode."""
        for i in which:
            self._in_a_row[i] = 0

    def metadata(self) -> dict[str, object]:
        """Return what a window says of those since the last one; empty where there were none."""
        found, self._in_window = self._in_window, {}
        return {FAILED_EPISODES: found} if found else {}

    def state(self) -> list[int]:
        """Return how many there were in a row until now, by environment."""
        return list(self._in_a_row)

    def restore(self, state: Iterable[int] | None) -> None:
        """Go on from `state`; None, of a run that was saved before they were counted, is none in a row."""
        self._in_a_row = [0] * self._n_envs if state is None else [int(count) for count in state]
