"""From an item to an action at the source: the agent's, or the safe one where the agent's must not be sent."""

import contextlib
from collections.abc import Callable
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import FeedFatalError
from tensor_optix.pipeline.environment.infos import MaskedActing
from tensor_optix.pipeline.feed.actions import ActionChannel, ActionGuard
from tensor_optix.pipeline.feed.feed import Checked
from tensor_optix.pipeline.feed.recording import SessionRecorder


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
        self._guard = ActionGuard(getattr(source, "action_space", None), safe_action)
        self._deadline = self._guard.checked_deadline(deadline)
        self._send = ActionChannel(source, transient)
        self._act_masked = MaskedActing()
        self._clock = clock

    def act(self, agent: BaseAgent, item: Checked, recorder: SessionRecorder | None) -> tuple[Any, bool]:
        """Send the action for an item.

        Returns:
            The action in the policy's own scale, and whether nothing was in its way.

        Raises:
            BadDataError: the action must not be sent, and there is no safe one.
            FeedFatalError: `apply` raised what another try does not cure.
        """
        seen, mask = item.observation, item.mask
        try:
            action = agent.act(seen) if mask is None else self._act_masked(agent, [seen], mask[None])[0]
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
        return action, self._send(sent)

    def send_safe_action(self, reason: str) -> bool:
        """Send the safe action, where there is one and the source takes any; return whether it was sent."""
        if not self._send.is_there or not self._guard.has_safe_action:
            return False
        return self._send(self._guard.safe(reason)[1])

    def counts(self) -> dict[str, int]:
        """Return how many safe actions were sent, and how many actions could not be sent."""
        return {"safe_actions": self._guard.safe_actions, "unsent_actions": self._send.unsent}

    def restart_counts(self) -> None:
        """Count from 0."""
        self._guard.safe_actions = self._send.unsent = 0
