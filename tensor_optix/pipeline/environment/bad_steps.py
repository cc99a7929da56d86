"""Invalid steps: found as they come, counted, and named in the window's metadata.

A NaN, an infinity, another shape or dtype, a reward that is no number, a flag that is none: the episode is left there.
Its steps until then are kept as a truncated piece, and the environment is reset. After `MOST_IN_A_ROW` such
episodes of one environment without a good step between the run ends.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from tensor_optix.core.faults import BAD_STEPS, MOST_IN_A_ROW, BadStepsError
from tensor_optix.core.types import Info, Observation
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline._items import MALFORMED, OBJECTIVES, ItemCheck, shown
from tensor_optix.pipeline.environment.infos import MASK, filled_masks, mask_in, masks_in
from tensor_optix.pipeline.environment.looks import LARGEST
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.support.trees import copied, leaves, taken

logger = logging.getLogger(__name__)

_NO_ARRAY = np.zeros(1, np.float32)
_NUMBERS = frozenset((float, int, np.float32, np.float64))


class Step(NamedTuple):
    """What a step or a reset gave, in plain types."""

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    info: Info
    mask: np.ndarray | None
    """(n,) bool, what is allowed at the observation; None = everything."""


_step: Callable[[tuple[Observation, float, bool, bool, Info, np.ndarray | None]], Step] = partial(tuple.__new__, Step)
"""Makes a step of its fields in half the time."""


class StepCheck:
    """Accepts what one environment returns, where an agent can act on it.

    Args:
        form: turns its observations into what the agent sees.
        copies: return new arrays; otherwise they may be the environment's own, which it goes on changing.
    """

    def __init__(self, form: ObservationForm, *, copies: bool = True) -> None:
        self._form = form
        self._is_array = isinstance(form.space, spaces.Box)  # others are judged by their form, if at all
        self._check = ItemCheck(form.space if self._is_array else None)
        self._look = form.look(copies=copies)

    def looked_at(self, returned: object) -> Step | None:
        """Return what `env.step` returned where a look tells that nothing is wrong; None says nothing."""
        if type(returned) is not tuple or len(returned) != 5:
            return None
        observation, reward, terminated, truncated, info = returned
        if type(reward) not in _NUMBERS or not -LARGEST <= reward <= LARGEST:
            return None
        if type(terminated) is not bool or type(truncated) is not bool or type(info) is not dict:
            return None
        observation = self._look(observation)
        if observation is None:
            return None
        if not info:
            return _step((observation, float(reward), terminated, truncated, {}, None))
        mask = info.get(MASK)
        if mask is not None:
            if type(mask) is not np.ndarray or mask.ndim != 1:
                return None
            mask = mask.astype(bool)
        return _step((observation, float(reward), terminated, truncated, copied(info), mask))

    def step(self, returned: object) -> Step:
        """Return what `env.step` returned.

        Raises:
            BadDataError: it must not be used; the message says why.
        """
        return self.looked_at(returned) or self._checked(returned)

    def _checked(self, returned: object) -> Step:
        if not isinstance(returned, tuple | list) or len(returned) != 5:
            raise BadDataError(
                f"what step returned is {shown(returned)}, and not five values: (observation, reward, terminated, "
                f"truncated, info)"
            )
        try:
            observation = self._form.one(returned[0])
        except MALFORMED as error:
            raise BadDataError(f"its observation is not of {self._form.space}: {error!r}"[:200]) from None
        checked = self._check((observation if self._is_array else _NO_ARRAY, *returned[1:]))
        _, reward, terminated, truncated, info = checked
        try:
            mask = mask_in(info) if info else None
        except MALFORMED as error:
            raise BadDataError(f"its action mask is malformed: {error}"[:200]) from None
        observation = checked[0] if self._is_array else observation
        return Step(observation, reward, terminated, truncated, copied(info), mask)

    def reset(self, returned: object) -> Step:
        """Return what `env.reset` returned; raises as `step` does."""
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise BadDataError(f"what reset returned is {shown(returned)}, and not two values: (observation, info)")
        return self.step((returned[0], 0.0, False, False, returned[1]))


class VectorStep(NamedTuple):
    """What a step or a reset of N environments gave, in plain types; `bad` environments have no meaning in them."""

    observations: Observation
    rewards: list[float]
    terminated: list[bool]
    truncated: list[bool]
    infos: Info
    masks: np.ndarray | None
    bad: dict[int, str]
    """What is wrong, by environment."""


class VectorStepCheck:
    """Finds which of N environments, stepped together, returned what an agent can act on.

    Args:
        form: turns observations into what the agent sees.
        n_envs: N.
    """

    def __init__(self, form: ObservationForm, n_envs: int) -> None:
        self._form = form
        self._n_envs = n_envs
        self._nothing = taken(form.nothing(1), 0)
        self._shape = form.space.shape if isinstance(form.space, spaces.Box) else None

    def step(self, returned: Any) -> VectorStep:
        """Return what `env.step` returned; where nothing can be made of it, all are bad."""
        n_envs = self._n_envs
        try:
            observations, rewards, terminated, truncated, infos = returned
            observations = self._form.batch(observations, n_envs)
            rewards = _as_numbers(rewards)
            terminated, truncated = np.array(terminated), np.array(truncated)
            masks = masks_in(infos, n_envs)
        except MALFORMED as error:  # `BadDataError` is a `ValueError`
            return self._all_bad(f"what it returned is malformed: {error}"[:200])
        if self._shape is not None and observations.shape != (n_envs, *self._shape):
            return self._all_bad(f"its observations have shape {observations.shape}, not {(n_envs, *self._shape)}")
        if self._shape is not None and observations.dtype.kind not in "biuf":
            return self._all_bad(f"its observations are of dtype {observations.dtype}, which is no number")
        for name, array in (("rewards", rewards), ("terminated", terminated), ("truncated", truncated)):
            if array.shape != (n_envs,):
                remedy = f"; {OBJECTIVES}" if name == "rewards" and array.ndim == 2 else ""
                return self._all_bad(f"its {name} have shape {array.shape}, not ({n_envs},){remedy}")
        bad: dict[int, str] = {}
        # If their squares come to less than that, so does each; else they are looked at one by one.
        if not np.vdot(rewards, rewards) <= LARGEST:
            is_reward = np.abs(rewards) <= LARGEST  # no NaN either
            bad |= {i: f"its reward is {rewards[i]}, which is no finite float32" for i in _where(~is_reward)}
        for name, flags in (("terminated", terminated), ("truncated", truncated)):
            if flags.dtype != bool:
                bad |= {i: f"its {name} is {shown(flags[i])}, but must be True or False" for i in _no_flags(flags)}
        for array in leaves(observations):
            if not _is_plainly_finite(array):
                rows = np.all(np.isfinite(array).reshape(n_envs, -1), axis=1)
                bad |= dict.fromkeys(_where(np.logical_not(rows)), "its observation is not finite")
        for i in bad:
            rewards[i], terminated[i], truncated[i] = 0.0, False, False
        return VectorStep(
            observations,
            rewards.tolist(),
            terminated.astype(bool, copy=False).tolist(),
            truncated.astype(bool, copy=False).tolist(),
            infos,
            masks,
            bad,
        )

    def each(
        self,
        observations: list[Observation],
        masks: list[np.ndarray | None] | None,
        rewards: list[float],
        terminated: list[bool],
        truncated: list[bool],
        *,
        has_nothing: bool,
    ) -> VectorStep:
        """Return the same of environments whose steps were checked one by one.

        Args:
            observations: (N,) of them; None is nothing.
            masks: (N,); None where no environment says what is allowed.
            rewards: (N,).
            terminated: (N,).
            truncated: (N,).
            has_nothing: whether there is nothing among the observations.
        """
        if has_nothing:
            observations = [self._nothing if observation is None else observation for observation in observations]
        allowed = None if masks is None else filled_masks(masks)
        return VectorStep(self._form.together(observations), rewards, terminated, truncated, {}, allowed, {})

    def reset(self, returned: object) -> VectorStep:
        """Return what `env.reset` returned."""
        none = np.zeros(self._n_envs, bool)
        observations, infos = returned if isinstance(returned, tuple) and len(returned) == 2 else (None, None)
        return self.step((observations, none.astype(np.float64), none, none, infos))

    def _all_bad(self, reason: str) -> VectorStep:
        n_envs, none = self._n_envs, [False] * self._n_envs
        bad = dict.fromkeys(range(n_envs), reason)
        return VectorStep(self._form.nothing(n_envs), [0.0] * n_envs, none, list(none), {}, None, bad)


class BadSteps:
    """Counts the episodes of N environments that were left for a bad step.

    Args:
        n_envs: N.
    """

    def __init__(self, n_envs: int = 1) -> None:
        self._n_envs = n_envs
        self._in_a_row = [0] * n_envs
        self._is_clear, self._has_begun = True, False
        self._in_window: dict[str, int] = {}
        self._count = 0

    def fault(self, reason: str, i: int = 0) -> None:
        """Count one; logged the 1st, 2nd, 4th, 8th, ... time.

        Raises:
            BadStepsError: the third in a row of environment i, or several objectives from the first step on.
        """
        named = reason if self._n_envs == 1 else f"environment {i}: {reason}"
        self._count += 1
        self._is_clear = False
        self._in_a_row[i] += 1
        self._in_window[named] = self._in_window.get(named, 0) + 1
        if self._count & (self._count - 1) == 0:
            logger.warning("A bad step ended an episode (%d until now), and a new one begins: %s", self._count, named)
        if OBJECTIVES in reason and not self._has_begun:
            raise BadStepsError(f"Nothing can be learned from this environment: {named}.", self._in_window)
        if self._in_a_row[i] >= MOST_IN_A_ROW:
            raise BadStepsError(
                f"Bad steps ended {MOST_IN_A_ROW} episodes in a row, without a good step between; the last: {named}. "
                f"Look where the environment makes its observations and rewards.",
                self._in_window,
            )

    def clear(self, but: Collection[int] = ()) -> None:
        """Note that the environments have taken a good step, but for some."""
        self._has_begun = self._has_begun or len(but) < self._n_envs
        if not self._is_clear:
            but = set(but)
            self._in_a_row = [count if i in but else 0 for i, count in enumerate(self._in_a_row)]
            self._is_clear = not any(self._in_a_row)

    def metadata(self) -> dict[str, object]:
        """Return what a window says of those since the last one; empty where there were none."""
        found, self._in_window = self._in_window, {}
        return {BAD_STEPS: found} if found else {}

    def state(self) -> list[int]:
        """Return how many there were in a row until now, by environment."""
        return list(self._in_a_row)

    def restore(self, state: Iterable[int]) -> None:
        """Go on from `state`."""
        self._in_a_row = [int(count) for count in state]
        self._is_clear = not any(self._in_a_row)


def _is_plainly_finite(array: np.ndarray) -> bool:
    """Return True where one number tells that all are finite: the sum of their squares is; False says nothing."""
    return array.dtype.kind != "f" or math.isfinite(np.vdot(array, array))


def _where(flags: np.ndarray) -> list[int]:
    return np.flatnonzero(flags).tolist()


def _as_numbers(rewards: object) -> np.ndarray:
    array = np.asarray(rewards)
    if array.dtype.kind not in "biufO":
        raise BadDataError(f"its rewards are of dtype {array.dtype}, and no numbers")
    return np.array(array, np.float64)


def _no_flags(flags: np.ndarray) -> list[int]:
    return [i for i, flag in enumerate(flags.tolist()) if not isinstance(flag, int) or flag not in (0, 1)]
