"""Items in, windows out: the rollout of a feed, which may break off anywhere."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import ClassVar, NamedTuple

import numpy as np

from tensor_optix.core.types import Action, EpisodeData, EpisodeSummary, Info, Memory, Observation
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline._rollout import RolloutBuilder
from tensor_optix.pipeline.feed.feed import Checked
from tensor_optix.support.trees import stacked

logger = logging.getLogger(__name__)

_MANY_ALONE = 64


class Acted(NamedTuple):
    """An item that was acted on; its step is whole when the next item has come."""

    observation: Observation
    """As the agent saw it."""
    action: Action
    reward: float
    info: Info
    mask: np.ndarray | None
    final_observation: Observation
    """What followed, as far as the item itself says: its info, else its own observation."""
    memories: list[Memory] | None = None
    """What the agent remembered before, in a list of one; None where it hands no memory out."""


class Taken(Enum):
    """What became of the window with an item."""

    GOES_ON = auto()
    ENDS = auto()
    ENDS_BEFORE = auto()
    """It ends, and the item is still to be acted on: it begins the next window."""


class StreamBuilder(RolloutBuilder):
    """Gathers the items of a feed into windows.

    Where the stream breaks, the step in progress has no outcome and is left out; the one before it is truncated, and
    bootstraps from the last observation that was seen.

    Args:
        is_episodic: whether episodes end by the feed's flags alone; None until a flag says so: till then every window
            is a whole episode.
        stack_observations: as in `RolloutBuilder`.
        stack_actions: as in `RolloutBuilder`.
    """

    needs_sent_actions: ClassVar[bool]
    """Whether what comes next comes of the action that was sent."""

    def __init__(
        self,
        is_episodic: bool | None = None,
        stack_observations: Callable[[Sequence[Observation]], Observation] = stacked,
        stack_actions: Callable[[Sequence[Action]], Action] = stacked,
    ) -> None:
        super().__init__(stack_observations, stack_actions)
        self.learned = self.isolated = 0
        """Items that are in a step, and items that are in none."""
        self._is_episodic = bool(is_episodic)
        self._acted: Acted | None = None
        self._has_step_before = False
        self._is_whole = True
        self._breaks: list[int] = []
        self._alone = 0

    @abstractmethod
    def take(self, item: Checked, act: Callable[[Checked], Acted], ends: Callable[[Checked, bool], bool]) -> Taken:
        """Take an item in.

        Args:
            item: what came.
            act: acts on an item and begins its step.
            ends: (item, whether an episode has ended) -> whether the window ends here.
        """

    @abstractmethod
    def begin(self, item: Checked, act: Callable[[Checked], Acted], ends: Callable[[Checked, bool], bool]) -> Taken:
        """Begin the step of an item before which no step is in progress; see `take`."""

    def act(self, acted: Acted) -> None:
        """Begin a step."""
        self._acted = acted
        self.learned += 1

    def cut(self) -> None:
        """Break the stream here."""
        acted = self._acted
        if acted is not None and self._has_step_before and len(self):
            self._truncated[-1] = True
            self._final_observations[len(self) - 1] = acted.observation
            self._final_masks[len(self) - 1] = acted.mask
        if len(self) and len(self) not in self._breaks[-1:]:
            self._breaks.append(len(self))
        self._is_whole = False
        self.abandon()

    def abandon(self) -> None:
        """Leave out the step in progress; its item may be in no step at all."""
        is_lost = self._acted is not None and not self._has_step_before
        self._acted, self._has_step_before = None, False
        if is_lost:
            self.learned -= 1
            self.isolated += 1
            self._alone += 1
            if self._alone >= _MANY_ALONE and self._alone & (self._alone - 1) == 0:
                logger.warning(
                    "The last %d items of the feed that fitted stood alone, with something missing or malformed "
                    "before and after each: nothing can be learned from them, since a step is made of two neighbours.",
                    self._alone,
                )

    def window(
        self, window_id: int, following: Observation, mask: np.ndarray | None, metadata: Mapping[str, object]
    ) -> EpisodeData:
        """Return the steps as a window, and begin the next."""
        breaks, self._breaks = tuple(self._breaks), []
        window = replace(self.build(window_id, following, mask), metadata={**metadata, "breaks": breaks})
        if not self._is_episodic:
            window = replace(window, completed=(EpisodeSummary(window.total_reward, window.length),))
        return window

    def _add(
        self,
        acted: Acted,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Info,
        following: Observation,
        mask: np.ndarray | None,
    ) -> None:
        is_over = terminated or truncated
        if not len(self):
            self.memories = acted.memories
        self.add(acted.observation, acted.action, reward, terminated, truncated, info, following, acted.mask, mask)
        self._has_step_before, self._alone = not is_over, 0
        if is_over:
            self._is_episodic = True
            if not self._is_whole:
                self._completed.pop()  # its beginning, or a part of it, was not seen
            self._is_whole = True


class NextRewardBuilder(StreamBuilder):
    """A step is observation and action of item t, and reward, flags and info of item t + 1, as `env.step` returns them.

    The item that ends an episode is not acted on.
    """

    needs_sent_actions = True

    def take(self, item: Checked, act: Callable[[Checked], Acted], ends: Callable[[Checked, bool], bool]) -> Taken:
        """End the step in progress by an item, and begin the next by acting on it."""
        is_over, (acted, self._acted) = item.terminated or item.truncated, (self._acted, None)
        if acted is not None:
            _, reward, terminated, truncated, info = item[:5]
            self._add(acted, reward, terminated, truncated, info, item.seen, item.mask)
            ends_here = ends(item, is_over)
            if is_over:
                self.learned += 1
                return Taken.ENDS if ends_here else Taken.GOES_ON
            if ends_here:
                return Taken.ENDS_BEFORE
        return self.begin(item, act, ends)

    def begin(self, item: Checked, act: Callable[[Checked], Acted], ends: Callable[[Checked, bool], bool]) -> Taken:
        """Begin the next step by acting on an item, or leave it out where it ends an episode."""
        if item.terminated or item.truncated:
            self.isolated += 1
        else:
            act(item)
        return Taken.GOES_ON


class SameRewardBuilder(StreamBuilder):
    """A step is all of item t, as logs have it; what follows it is the observation of item t + 1.

    The flags are those of an item's own step. Of one that ends an episode nothing follows: it is a step at once, and
    its `info["final_observation"]`, or its own observation, stands in for what follows.
    """

    needs_sent_actions = False

    def take(self, item: Checked, act: Callable[[Checked], Acted], ends: Callable[[Checked, bool], bool]) -> Taken:
        """End the step in progress by an item, and begin that of the item itself."""
        before, self._acted = self._acted, None
        if before is not None:
            self._add(before, before.reward, False, False, before.info, item.seen, item.mask)
            if ends(item, False):
                return Taken.ENDS_BEFORE
        return self.begin(item, act, ends)

    def begin(self, item: Checked, act: Callable[[Checked], Acted], ends: Callable[[Checked, bool], bool]) -> Taken:
        """Begin the step of an item, and end it at once where it ends an episode."""
        acted = act(item)
        if not (item.terminated or item.truncated):
            return Taken.GOES_ON
        final = acted.final_observation
        self._add(acted, acted.reward, item.terminated, not item.terminated, acted.info, final, acted.mask)
        self._acted = None
        return Taken.ENDS if ends(item, True) else Taken.GOES_ON


_BY_TIMING: Mapping[str, type[StreamBuilder]] = {"next": NextRewardBuilder, "same": SameRewardBuilder}
REWARD_TIMINGS = tuple(_BY_TIMING)


def stream_builder(reward_timing: str) -> type[StreamBuilder]:
    """Return the builder of one of `REWARD_TIMINGS`.

    Raises:
        InvalidArgumentError: it is none of them.
    """
    if reward_timing not in REWARD_TIMINGS:
        raise InvalidArgumentError(f"reward_timing must be one of {REWARD_TIMINGS}, but got {reward_timing!r}.")
    return _BY_TIMING[reward_timing]
