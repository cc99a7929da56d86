"""From an item to an action at the source: the agent's, or the safe one where the agent's must not be sent."""

import contextlib
import logging
from collections.abc import Callable

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import Action, Memory, Observation
from tensor_optix.errors import ContractError, FeedFatalError
from tensor_optix.pipeline.environment.acting import EpisodeActing
from tensor_optix.pipeline.environment.wiring import Wiring
from tensor_optix.pipeline.feed.actions import ActionChannel, ActionGuard
from tensor_optix.pipeline.feed.feed import Checked, Feed
from tensor_optix.pipeline.feed.recording import SessionRecorder
from tensor_optix.support.plain import SavedState
from tensor_optix.support.trees import copied

logger = logging.getLogger(__name__)

STALE_SHARE = 0.1
"""Of a window's decisions: so many stale ones are spoken of."""


class LiveActing:
    """Acts on the items of a feed, and counts what was not sent as the agent chose it.

    Args:
        source: what is read, and acts.
        transient: kinds of errors of `apply` that mean that the connection is gone.
        safe_action: what is sent in the place of an action that must not be; None where there is nothing.
        deadline: seconds from an item's arrival after which the agent's action is late; None = never.
        clock: seconds, monotonic.

    Raises:
        InvalidArgumentError: `safe_action` or `deadline` is not allowed.
    """

    def __init__(
        self,
        source: object,
        transient: tuple[type[BaseException], ...],
        safe_action: object,
        deadline: float | None,
        clock: Callable[[], float],
    ) -> None:
        spaces = getattr(source, "observation_space", None), getattr(source, "action_space", None)
        self.wiring = Wiring(*spaces)
        """Between the source and the agent."""
        self._guard = ActionGuard(spaces[1], safe_action)
        self._deadline = self._guard.checked_deadline(deadline)
        self._send = ActionChannel(source, transient)
        self._acting = EpisodeActing(wiring=self.wiring)
        self._clock, self._source = clock, source
        self._is_lockstep = bool(getattr(source, "is_lockstep", False))
        self._decides = self._send.is_there and (self._is_lockstep or getattr(source, "sends_actions", True))
        self._stale = self._decisions = 0
        self._stale_before = 0
        """Those of earlier windows."""
        self._has_told = False

    def act(
        self, agent: BaseAgent, item: Checked, recorder: SessionRecorder | None, feed: Feed | None = None
    ) -> tuple[Action, bool]:
        """Send the action for an item, the last one that was taken from `feed`.

        Returns:
            The action as the agent returned it, and whether nothing was in its way.

        Raises:
            BadDataError: the action must not be sent, and there is no safe one.
            ContractError: the source says that it waits for each action, and has not waited for this one.
            FeedFatalError: `apply` raised what another try does not cure.
        """
        try:
            action = self._acting.one(agent, item.seen, item.mask)
        except Exception:
            with contextlib.suppress(FeedFatalError):  # the agent's own error says more
                self.send_safe_action("the agent raised")
            raise
        is_late = item.is_late
        if is_late is None:
            is_late = self._deadline is not None and self._clock() - item.arrival > self._deadline
        if is_late and recorder is not None:
            recorder.late()
        action, sent = self._guard(action, is_late)
        if feed is not None and self._decides:
            self._decide_on(item, feed)
        chosen = copied(action)  # the agent, or the source, may change its own
        return chosen, self._send(sent)

    def connect(self, agent: BaseAgent) -> None:
        """Take over what an agent declares.

        Raises:
            ContractError: it is malformed.
            SpaceError: the agent wants observations flat that cannot be.
        """
        self.wiring.connect(agent)
        self._guard.connect(self.wiring.to_env)

    def as_seen(self, item: Checked) -> Checked:
        """Return an item with its observation in the form that the agent declares."""
        seen = self.wiring.seen(item.observation)
        return item if seen is item.seen else item._replace(seen=seen)

    def final_of(self, item: Checked) -> Observation:
        """Return what an item itself says of what followed it, in that form: its info, else its own observation."""
        final = item.info.get("final_observation")
        return item.seen if final is None else self.wiring.seen(final)

    def _decide_on(self, item: Checked, feed: Feed) -> None:
        """Count a decision; it is stale where the source has gone on before it."""
        is_over = item.terminated or item.truncated  # nothing is waited for after an end
        if self._is_lockstep and not is_over and feed.is_ahead_in_stream:
            raise ContractError(
                f"{type(self._source).__name__} says is_lockstep = True, but gave the next item before the action for "
                f"the last one was sent: the rewards would be those of earlier actions. Let stream() wait for "
                f"apply(action) after each item, as GeneratorSource(source) does for any source, or leave is_lockstep "
                f"out."
            )
        self._decisions += 1
        self._stale += feed.is_ahead

    def end_window(self, window_id: int) -> None:
        """Say once, at the end of a window, that many of its decisions were stale.

        Args:
            window_id: number of the window.
        """
        stale, self._stale_before = self._stale - self._stale_before, self._stale
        decisions, self._decisions = self._decisions, 0
        if self._has_told or stale <= STALE_SHARE * decisions:
            return
        self._has_told = True
        logger.warning(
            "In window %d, %d of %d decisions were stale: %s had given the next item before the action was sent, so "
            "that the reward in it is that of an earlier action. Where the source can wait for each action, let it: "
            "LivePipeline(GeneratorSource(source)) makes any source wait. Where it cannot, learn less per window, or "
            "pass overflow='drop_oldest' with a small buffer_size. Each window's metadata['stale_decisions'] counts "
            "them; this is said once.",
            window_id,
            stale,
            decisions,
            type(self._source).__name__,
        )

    def begin_episode(self) -> None:
        """Let an episode begin with the next item, or its remainder, where items before it are missing."""
        self._acting.begin()

    def follow(self, item: Checked) -> None:
        """Let an episode begin after an item that has ended one."""
        if item.terminated or item.truncated:
            self.begin_episode()

    def memories_of(self, agent: BaseAgent) -> list[Memory] | None:
        """Return what an agent remembers before it acts, in a list of one; None where it hands no memory out."""
        self._acting.install(agent)
        return self._acting.memories

    def state(self) -> dict[str, object] | None:
        """Return what the agent remembers, as JSON values; None where it declares no memory."""
        return self._acting.state()

    def restore(self, state: SavedState | None) -> None:
        """Go on from `state`."""
        self._acting.restore(state)

    def send_safe_action(self, reason: str) -> bool:
        """Send the safe action, where there is one and the source takes any; return whether it was sent."""
        if not self._send.is_there or not self._guard.has_safe_action:
            return False
        return self._send(self._guard.safe(reason)[1])

    def counts(self) -> dict[str, int]:
        """Return how many safe actions were sent, how many could not be sent, and how many decisions were stale."""
        return {
            "safe_actions": self._guard.safe_actions,
            "unsent_actions": self._send.unsent,
            "stale_decisions": self._stale,
        }

    def restart_counts(self) -> None:
        """Count from 0."""
        self._guard.safe_actions = self._send.unsent = 0
        self._stale = self._stale_before = self._decisions = 0
