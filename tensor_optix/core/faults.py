"""Faults that a pipeline reports and the loop counts."""

from collections.abc import Mapping

from tensor_optix.errors import BadDataError, EnvironmentFailedError

MOST_IN_A_ROW = 3
"""The third fault of a kind without a good window between ends the run; of bad steps, without a good step between."""


BAD_STEPS = "bad_steps"
"""In a window's metadata: how often each kind of bad step occurred in it, by name."""


FAILED_EPISODES = "failed_episodes"
"""In a window's metadata: the episodes in it that were left because their environment failed: by how it failed, and
by what is known of it, how many."""


FAILURES = HUNG, DIED, RAISED, OUT_OF_MEMORY = "hung", "died", "raised", "out of memory"
"""How an environment can fail: a step does not return, its process ends, an exception, the system ends its process for
want of memory."""


EPISODE_LIMIT, CUT_EPISODES = "episode_limit", "cut_episodes"
"""In a window's metadata: after how many steps its episodes were cut, and how many of them; absent if none was."""


SEEDS = "seeds"
"""In a window's metadata: the seeds of its episodes, from which they can be played again."""


def reasons_by_count(failed: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """Return how environments failed, why, and how often; the most frequent first.

    Args:
        failed: how many episodes, by how the environment failed and by reason.
    """
    found = [(kind, reason, times) for kind, reasons in failed.items() for reason, times in reasons.items()]
    return sorted(found, key=lambda one: -one[2])


class PlayStoppedError(Exception):
    """Validation was broken off between two steps, as somebody has asked for an end."""


class BadStepsError(BadDataError):
    """An environment gives nothing but bad steps.

    Args:
        message: what happened.
        found: those since the last window, as in its metadata.
    """

    def __init__(self, message: str, found: Mapping[str, int]) -> None:
        super().__init__(message)
        self.found = found


class EpisodesFailedError(EnvironmentFailedError):
    """An environment gives no whole episode any more.

    Args:
        message: what happened.
        found: the failures since the last window, as in its metadata.
    """

    def __init__(self, message: str, found: Mapping[str, Mapping[str, int]]) -> None:
        super().__init__(message)
        self.found = found
