"""Items in, windows out: the rollout of a feed, which may break off anywhere."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tensor_optix.core.types import EpisodeData, EpisodeSummary
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline._rollout import RolloutBuilder

logger = logging.getLogger(__name__)

_MANY_ALONE = 64
REWARD_TIMINGS = ("next", "same")


class Acted(NamedTuple):
    """An item that was acted on; its step is whole when the next item has come."""

    observation: np.ndarray
    action: Any
    reward: float
    info: Mapping[str, Any]
    mask: Any


class StreamBuilder(RolloutBuilder):
    """Gathers the items of a feed into windows.

    | `reward_timing` | a step is |
    |---|---|
    | "next" | observation and action of item t, reward, flags and info of item t + 1 (as `env.step` returns them) |
    | "same" | all of item t, as logs have it; what follows it is the observation of item t + 1 |

    Where the stream breaks, the step in progress has no outcome and is left out; the one before it is truncated, and
    bootstraps from the last observation that was seen.

    Args:
        reward_timing: one of `REWARD_TIMINGS`.
        is_episodic: whether episodes end by the feed's flags alone; None until a flag says so: till then every window
            is a whole episode.
    """

    def __init__(self, reward_timing: str, is_episodic: bool | None) -> None:
        if reward_timing not in REWARD_TIMINGS:
            raise InvalidArgumentError(f"reward_timing must be one of {REWARD_TIMINGS}, but got {reward_timing!r}.")
        super().__init__()
        self._is_same = reward_timing == "same"
        self._is_episodic = bool(is_episodic)
        self._acted: Acted | None = None
        self._has_step_before = False
        self._is_whole = True
        self._breaks: list[int] = []
        self._alone = 0

    def act(self, acted: Acted) -> None:
        """Begin a step."""
        self._acted = acted

    def follow(
        self,
        observation: np.ndarray,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, Any],
        mask: Any,
    ) -> bool:
        """End the step in progress by the item that follows it; return whether there was one."""
        acted, self._acted = self._acted, None
        if acted is None:
            return False
        if self._is_same:
            # The flags of a logged item are of its own step; what ends an episode is stepped at once (see `end`).
            self._add(acted, acted.reward, False, False, acted.info, observation, mask)
        else:
            self._add(acted, reward, terminated, truncated, info, observation, mask)
        return True

    def end(self, acted: Acted, terminated: bool) -> None:
        """Add the last step of a logged episode, of which nothing follows: its own observation stands in for that."""
        final = acted.info.get("final_observation", acted.observation)
        self._add(acted, acted.reward, terminated, not terminated, acted.info, final, acted.mask)
        self._acted = None

    def cut(self) -> bool:
        """Break the stream here; return whether the item in progress is in no step at all."""
        acted = self._acted
        if acted is not None and self._has_step_before and len(self):
            self._truncated[-1] = True
            self._final_observations[len(self) - 1] = acted.observation
            self._final_masks[len(self) - 1] = acted.mask
        if len(self) and len(self) not in self._breaks[-1:]:
            self._breaks.append(len(self))
        self._is_whole = False
        return self.abandon()

    def abandon(self) -> bool:
        """Leave out the step in progress; return whether its item is in no step at all."""
        is_lost = self._acted is not None and not self._has_step_before
        self._acted, self._has_step_before = None, False
        if is_lost:
            self._alone += 1
            if self._alone >= _MANY_ALONE and self._alone & (self._alone - 1) == 0:
                logger.warning(
                    "The last %d items of the feed that fitted stood alone, with something missing or malformed "
                    "before and after each: nothing can be learned from them, since a step is made of two neighbours.",
                    self._alone,
                )
        return is_lost

    def window(self, window_id: int, following: np.ndarray, mask: Any, metadata: dict[str, Any]) -> EpisodeData:
        """Return the steps as a window, and begin the next."""
        metadata["breaks"], self._breaks = tuple(self._breaks), []
        window = replace(self.build(window_id, following, mask), metadata=metadata)
        if not self._is_episodic:
            window = replace(window, completed=(EpisodeSummary(window.total_reward, window.length),))
        return window

    def _add(
        self, acted: Acted, reward: float, terminated: bool, truncated: bool, info: Any, following: Any, mask: Any
    ) -> None:
        is_over = terminated or truncated
        self.add(acted.observation, acted.action, reward, terminated, truncated, info, following, acted.mask, mask)
        self._has_step_before, self._alone = not is_over, 0
        if is_over:
            self._is_episodic = True
            if not self._is_whole:
                self._completed.pop()  # its beginning, or a part of it, was not seen
            self._is_whole = True
