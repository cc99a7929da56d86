"""Episodes that can be replayed: a seed of its own for each, and the actions taken in it so far.

An environment has no state that could be saved, but one that is deterministic given a seed can be brought back to
where it was: reset with the episode's seed, then step through its actions.
"""

import contextlib
import hashlib
import logging
import reprlib
import traceback
from collections.abc import Callable, Iterable, Mapping

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.core.faults import RAISED
from tensor_optix.core.types import Action
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.environment.bad_steps import Step, StepCheck
from tensor_optix.pipeline.environment.resets import EnvironmentReset
from tensor_optix.support.arrays import decoded, encoded
from tensor_optix.support.plain import Json, SavedState
from tensor_optix.support.trees import concatenated, mapped, n_rows, taken

logger = logging.getLogger(__name__)

MAX_REPLAYED_STEPS = 100_000
"""A longer episode is not replayed: a resumed run begins a new one."""

BAD_STEP = "tensor_optix_bad_step"
"""In the info of a step that stands in for a bad one: what was wrong."""
BAD_RESETS = "tensor_optix_bad_resets"
"""In the info of a reset: what was wrong with those before it."""
FAILED_STEP = "tensor_optix_failed_step"
"""In the info of a step that stands in for one in which the environment failed: how it did."""
FAILED_RESETS = "tensor_optix_failed_resets"
"""In the info of a reset: how the environment failed in those before it."""


def episode_seed(root: int, number: int) -> int:
    """Return the seed of an environment's episode `number`, counted from 0; the first one's is `root` itself."""
    if number == 0:
        return root
    return int.from_bytes(hashlib.blake2b(f"{root}/{number}".encode(), digest_size=4).digest(), "big") >> 1


class EpisodeTrace:
    """Which episode each of N environments is in, and the actions it has taken there, drawn from finished windows.

    Args:
        n_envs: N.
    """

    def __init__(self, n_envs: int = 1) -> None:
        self.numbers = [0] * n_envs
        """The episode that each environment is in, counted from 0."""
        self._actions: list[list[Action]] = [[] for _ in range(n_envs)]
        self._steps = [0] * n_envs

    def add(self, actions: Action, ends: np.ndarray) -> None:
        """Take in what was done since the last call.

        Args:
            actions: (N, S, ...) the actions of S steps.
            ends: (N, S) bool, where an episode ended.
        """
        for i, ended in enumerate(map(np.flatnonzero, ends)):
            begun = taken(actions, (i, slice(ended[-1] + 1 if len(ended) else 0, None)))
            if len(ended):
                self.begin_next(i, len(ended))
            self._steps[i] += n_rows(begun)
            if self._steps[i] <= MAX_REPLAYED_STEPS:
                self._actions[i].append(mapped(np.array, begun))
            else:
                self._actions[i].clear()

    def state(self) -> dict[str, object]:
        """Return the numbers and the actions as JSON values; the actions are None where they have become too many."""
        return {"numbers": list(self.numbers), "actions": [self._encoded(i) for i in range(len(self.numbers))]}

    def begin_next(self, i: int, episodes: int = 1) -> None:
        """Leave the episode that environment i is in for a later one."""
        self.numbers[i] += episodes
        self._actions[i], self._steps[i] = [], 0

    def restore(self, state: SavedState) -> list[Action]:
        """Go on from `state`, and return the actions to be taken again per environment, None where there were too many.

        An environment that took none since its reset has an empty array.
        """
        self.numbers = [int(number) for number in state["numbers"]]
        replayed = [None if actions is None else decoded(actions) for actions in state["actions"]]
        replayed = [
            None if actions is None or n_rows(actions) > MAX_REPLAYED_STEPS else actions for actions in replayed
        ]
        self._actions = [[] if actions is None else [actions] for actions in replayed]
        self._steps = [MAX_REPLAYED_STEPS + 1 if actions is None else n_rows(actions) for actions in replayed]
        return replayed

    def _encoded(self, i: int) -> dict[str, Json] | None:
        if self._steps[i] > MAX_REPLAYED_STEPS:
            return None
        chunks = [chunk for chunk in self._actions[i] if n_rows(chunk)]
        if chunks:
            self._actions[i] = [concatenated(chunks)]
            return encoded_or_none(self._actions[i][0])
        return encoded(np.zeros(0, np.int64))


def replay(
    env: gym.Env,
    seed: int,
    actions: Iterable[object],
    to_env: Callable[[Action], object],
    check: StepCheck,
    now: Step | None = None,
) -> Step | None:
    """Return what an episode stands at after `actions`, None where it has ended before, or was left for a bad step.

    Args:
        env: the environment.
        seed: of the episode.
        actions: those that were taken in it.
        to_env: maps an action of the agent to the environment's.
        check: accepts what the environment returns.
        now: where an earlier call has come to, from where `actions` go on; None = from the reset.
    """
    try:
        if now is None:
            now = check.reset(EnvironmentReset(env, warns=False)(seed=seed))
        for action in actions:
            now = check.step(env.step(to_env(action)))
            if now.terminated or now.truncated:
                return None
    except BadDataError:
        return None
    return now


def encoded_or_none(tree: object) -> dict[str, Json] | None:
    """Return an array, or a tree of them, as JSON values, None where it holds something else than numbers."""
    try:
        return encoded(tree)
    except (TypeError, ValueError):
        return None


def is_same(observation: object, saved: Mapping[str, object] | None) -> bool:
    """Return whether an observation is bit for bit the one that was saved; what could not be saved is not."""
    return saved is not None and encoded_or_none(observation) == dict(saved)


def warn_of_new_episodes(seed: int | None, is_too_long: bool) -> None:
    """Say that a resumed run begins new episodes, and why."""
    if seed is None:
        reason = "there is no seed; pass seed= to RLOptimizer or to the pipeline"
    elif is_too_long:
        reason = f"the episode has more than {MAX_REPLAYED_STEPS:,} steps"
    else:
        reason = "the environment is not deterministic given a seed, or is not one that can be brought back"
    logger.warning(
        "The episode that was in progress cannot be replayed, and a new one begins: %s. The run goes on, but not "
        "exactly as it would have without the interruption.",
        reason,
    )


def raised_in(doing: str, error: Exception) -> str:
    """Return what to say of an environment that raised in a step or a reset, with its traceback."""
    trace = "".join(traceback.format_exception(error))
    return f"{RAISED} in {doing}: {described(error)}\n\nIts traceback:\n{trace}"


def described(error: object) -> str:
    """Return an error's type and message, with the notes that were added to it."""
    return "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])


def note_foreign_action(error: Exception, action: Action, space: spaces.Space[object]) -> None:
    """Add to what `step(action)` raised that the action is none of the environment's, where it is so."""
    is_known = False
    with contextlib.suppress(Exception):  # spaces compare what they get
        is_known = space.contains(action)
    if not is_known:
        shown = " ".join(reprlib.repr(action).split())
        error.add_note(f"the agent's action {shown} is not in {space}: look at what its act returns")
