"""The windows that a validation pipeline of the user's own has still to give, for the last test of the best."""

from collections.abc import Callable, Sequence

from tensor_optix.core.decisions.repetition import is_again
from tensor_optix.core.faults import PlayStoppedError
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError

FEWEST_LOOKS, MOST_LOOKS = 2, 20
"""Windows of one policy that are compared with each other."""


class FurtherWindows:
    """Plays as a pipeline with seeds does (`PlaysSeeds`), but for the seeds: each window is the next that comes.

    Args:
        next_window: asks the pipeline for its next window.
    """

    def __init__(self, next_window: Callable[[], EpisodeData]) -> None:
        self._next_window = next_window

    def fresh_seeds(self) -> list[int]:
        """Return no seeds: nothing fixes the episodes."""
        return []

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        """Return the next window.

        Raises:
            BadDataError: the pipeline has none.
            PlayStoppedError: validation is to be left.
        """
        try:
            return self._next_window()
        except PlayStoppedError:
            raise
        except Exception as error:  # whatever it is: the pipeline was never asked for more than it has
            raise BadDataError(f"val_pipeline gives no further window: {error}") from error

    def repeat(self, looks: int) -> EpisodeData | None:
        """Return a window that came before, if the pipeline gives one again to the policy that acts in it.

        Args:
            looks: windows to ask for at most.

        Raises:
            BadDataError: the pipeline has none.
        """
        seen: list[EpisodeData] = []
        for _ in range(min(max(looks, FEWEST_LOOKS), MOST_LOOKS)):
            window = self.play(())
            if is_again(window, seen):
                return window
            seen.append(window)
        return None
