"""The guard between an agent and whatever carries out its actions."""

import logging
from collections.abc import Callable

import numpy as np
from gymnasium import spaces

from tensor_optix.core.types import Action
from tensor_optix.errors import BadDataError, FeedFatalError, InvalidArgumentError
from tensor_optix.pipeline._items import MALFORMED
from tensor_optix.pipeline.environment.environment import ActionScaler
from tensor_optix.pipeline.feed.reader import TakesActions, is_transient
from tensor_optix.support.arguments import is_real

logger = logging.getLogger(__name__)


class ActionGuard:
    """Passes on actions that are finite and inside the space, and the safe one in place of the others.

    Args:
        space: of the actions; None where the feed does not say.
        safe_action: what to send where the agent has nothing that may be sent, as the feed takes it.

    Raises:
        InvalidArgumentError: `safe_action` is itself not allowed.
    """

    def __init__(self, space: spaces.Space[object] | None, safe_action: Action = None) -> None:
        self.safe_actions = 0
        """How often the safe one was sent."""
        self._space, self._safe_action = space, safe_action
        self._lets_in = is_finite if space is None else _check_of(space)
        if safe_action is not None:
            if isinstance(space, spaces.Box):
                safe_action = self._safe_action = np.asarray(safe_action, space.dtype)
            if not self._is_allowed(safe_action):
                raise InvalidArgumentError(f"safe_action must be finite and inside {space}, but got {safe_action!r}.")
        self.connect(ActionScaler(space))

    def connect(self, to_env: ActionScaler) -> None:
        """Take actions of another agent, which `to_env` hands on."""
        self._to_env = to_env
        self._safe_row = None if self._safe_action is None else to_env.inverse(self._safe_action)

    @property
    def has_safe_action(self) -> bool:
        """Whether there is something to send when the agent has nothing."""
        return self._safe_action is not None

    def checked_deadline(self, deadline: float | None) -> float | None:
        """Return the deadline of actions in seconds, if it is one and there is something to send when it has passed."""
        if deadline is not None and not (is_real(deadline) and deadline > 0 and self.has_safe_action):
            raise InvalidArgumentError(
                f"action_deadline must be a positive number of seconds, and needs a safe_action to send when it has "
                f"passed, but got {deadline!r}."
            )
        return deadline

    def __call__(self, action: object, is_late: bool = False) -> tuple[object, object]:
        """Return (the action for the window, as the agent returned it; what to send).

        Raises:
            BadDataError: the action must not be sent, and there is no safe one.
        """
        if not is_late:
            try:
                # Gymnasium's environments alone refuse numpy's truths.
                sent = action if isinstance(action, np.bool_) else self._to_env(action)
            except MALFORMED:  # `BadDataError` is a `ValueError`
                sent = action  # not finite, or no numbers, which is not allowed
            if type(sent) is int and self._space is None:
                return action, sent
            if self._is_allowed(sent):
                return action, sent
            if not self.has_safe_action:
                raise BadDataError(
                    f"The agent's action {action!r} is not finite or not inside {self._space}. Correct the agent, or "
                    f"give LivePipeline(safe_action=...) what to send in its place."
                )
        return self.safe("it was late" if is_late else "it was not allowed")

    def safe(self, reason: str) -> tuple[object, object]:
        """Return the safe action, for the window and to send; logged the 1st, 2nd, 4th, ... time."""
        self.safe_actions += 1
        if self.safe_actions & (self.safe_actions - 1) == 0:
            logger.warning("The safe action was sent in the place of the agent's (%d): %s", self.safe_actions, reason)
        return self._safe_row, self._safe_action

    def _is_allowed(self, action: object) -> bool:
        try:
            return bool(self._lets_in(action))
        except MALFORMED:
            return False


class ActionChannel:
    """Hands actions to a source, where it takes any.

    Args:
        source: what is read, and acts.
        transient: kinds of errors that mean that the connection is gone: the reading side finds out.
    """

    def __init__(self, source: object, transient: tuple[type[BaseException], ...]) -> None:
        self.unsent = 0
        """How often an action could not be sent."""
        self._source = source
        self._apply = source.apply if isinstance(source, TakesActions) else None
        self._transient = () if getattr(source, "is_lockstep", False) else transient  # that one would wait for ever

    @property
    def is_there(self) -> bool:
        """Whether the source takes actions."""
        return self._apply is not None

    def __call__(self, action: object) -> bool:
        """Send an action; return whether nothing was in its way.

        Raises:
            FeedFatalError: `apply` raised what another try does not cure.
        """
        if self._apply is None:
            return True
        try:
            self._apply(action)
        except Exception as error:
            if not is_transient(error, self._transient):
                raise FeedFatalError(
                    f"{type(self._source).__name__}.apply({action!r}) raised {type(error).__name__}: {error}. Let it "
                    f"return where an action is refused. Errors of the kinds in transient= pass, but where the source "
                    f"waits for each action, or reconnect_on_disconnect is off."
                ) from error
            self.unsent += 1
            if self.unsent & (self.unsent - 1) == 0:
                logger.warning("An action could not be sent (%d until now): %s.", self.unsent, type(error).__name__)
            return False
        return True


def is_finite(action: Action) -> bool:
    """Return False for numbers of which one is NaN or infinite; what is no number is not judged."""
    if isinstance(action, dict):
        return all(is_finite(part) for part in action.values())
    try:
        array = np.asarray(action)
    except ValueError:  # parts of several shapes
        return all(is_finite(part) for part in action)
    if array.dtype.hasobject and isinstance(action, tuple | list):
        return all(is_finite(part) for part in action)
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _check_of(space: spaces.Space[object]) -> Callable[[object], bool]:
    """Return the check of a space: one plain comparison for the commonest, whose own is slow."""
    if type(space) is spaces.Discrete:
        low, high = int(space.start), int(space.start + space.n)
        return lambda a: (type(a) is int and low <= a < high) or (type(a) is not int and _fits(space, a))
    return lambda a: _fits(space, a)


def _fits(space: spaces.Space[object], action: Action) -> bool:
    """Return whether an action is finite and inside a space; numbers of a box may be of any dtype of their kind."""
    if isinstance(space, spaces.Dict):
        return action.keys() == space.spaces.keys() and all(_fits(space[name], action[name]) for name in action)
    if isinstance(space, spaces.Tuple):
        parts = zip(space.spaces, action, strict=False)
        return len(action) == len(space.spaces) and all(_fits(member, part) for member, part in parts)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        array = np.asarray(action)  # a tensor of a framework, or a bool, is a choice, too
        return array.dtype.kind in "biu" and bool(space.contains(array.astype(space.dtype)))
    if not isinstance(space, spaces.Box):
        return is_finite(action) and space.contains(action)
    array = np.asarray(action)
    is_one_number = array.size == 1 and space.low.size == 1
    if not (array.shape == space.shape or is_one_number) or not np.can_cast(array.dtype, space.dtype, "same_kind"):
        return False
    array = array.astype(space.dtype)
    return bool(np.isfinite(array).all() and (array >= space.low).all() and (array <= space.high).all())
