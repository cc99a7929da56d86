"""Steps in, windows out: the only place that knows where episodes begin and end.

Longer than 300 lines: both builders stand beside each other, that of one environment, and that of N which are stepped
together. They share how successors and masks are filled in, and a rule that changes in one changes in
the other.
"""

import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.core.types import Action, EpisodeData, EpisodeSummary, Info, Memory, Observation, jsonable, success_in
from tensor_optix.support.arrays import decoded, encoded
from tensor_optix.support.nested import packed_or_none, unpacked
from tensor_optix.support.plain import Json, SavedState
from tensor_optix.support.trees import Tree, copied, leaves, mapped, put, stacked

_Place = tuple[int, int]
"""(step, environment)"""
_NONE: Mapping[int, None] = {}
_NONE_SAID: Mapping[str, object] = {}
_COLLECTED = "lived"
"""The name in saved states of (N,) bool: whose action a step has taken, and whose step is in no window yet."""
_STEP_FIELDS = ("observations", "actions", "rewards", "terminated", "truncated", "action_masks", _COLLECTED)
_LISTED = {"rewards": np.float64, "terminated": np.bool_, "truncated": np.bool_}
"""Those of the fields that are lists, and what they are in saved states."""


class RolloutBuilder:
    """Gathers the steps of one environment into windows.

    Returns and lengths of episodes run on across windows; everything else starts anew with each window.

    Args:
        stack_observations: makes arrays with one row each of the window's observations.
        stack_actions: the same of its actions.
    """

    def __init__(
        self,
        stack_observations: Callable[[Sequence[Observation]], Observation] = stacked,
        stack_actions: Callable[[Sequence[Action]], Action] = stacked,
    ) -> None:
        self._stack_observations, self._stack_actions = stack_observations, stack_actions
        self._episode_return = 0.0
        self._episode_length = 0
        self._start_window()

    def _start_window(self) -> None:
        self._observations: list[object] = []
        self._actions: list[object] = []
        self._rewards: list[float] = []
        self._terminated: list[bool] = []
        self._truncated: list[bool] = []
        self._infos: list[Info] = []
        self._masks: list[np.ndarray | None] = []
        self._final_observations: dict[int, Observation] = {}
        self._final_masks: dict[int, np.ndarray | None] = {}
        self._completed: list[EpisodeSummary] = []
        self.memories: list[Memory] | None = None
        """What was remembered before the window's first step, in a list of one; None where nothing is handed out."""

    def __len__(self) -> int:
        return len(self._rewards)

    @property
    def episodes_completed(self) -> int:
        """Episodes that ended in the window so far."""
        return len(self._completed)

    def add(
        self,
        observation: object,
        action: object,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, object],
        next_observation: object,
        action_mask: np.ndarray | None = None,
        next_action_mask: np.ndarray | None = None,
    ) -> None:
        """Add one step, as `env.step` returned it.

        `observation` is kept as it is: an environment may hand out one array that it goes on changing, so the caller
        copies it before the step. The masks (n,) say what was allowed at the two observations, None = everything.
        """
        self._observations.append(observation)
        self._actions.append(action)
        self._rewards.append(reward)
        self._terminated.append(terminated)
        self._truncated.append(truncated)
        self._infos.append(info)
        self._masks.append(action_mask)
        self._episode_return += reward
        self._episode_length += 1
        if terminated or truncated:
            self._final_observations[len(self._rewards) - 1] = copied(next_observation)
            self._final_masks[len(self._rewards) - 1] = next_action_mask
            self._completed.append(EpisodeSummary(self._episode_return, self._episode_length, success_in(info)))
            self._episode_return, self._episode_length = 0.0, 0

    def cut_off(self, observation: object, action_mask: np.ndarray | None = None) -> None:
        """Leave the episode in progress: its last step in the window is truncated, and it is no completed episode.

        Args:
            observation: what followed that step.
            action_mask: (n,) what was allowed there, None = everything.
        """
        if self._rewards and not (self._terminated[-1] or self._truncated[-1]):
            self._truncated[-1] = True
            self._final_observations[len(self._rewards) - 1] = copied(observation)
            self._final_masks[len(self._rewards) - 1] = action_mask
        self._episode_return, self._episode_length = 0.0, 0

    def state(self) -> dict[str, object]:
        """Return, between two windows, what the next one goes on from, as JSON values."""
        return {"return": self._episode_return, "length": self._episode_length}

    def restore(self, state: SavedState) -> None:
        """Go on from `state`."""
        self._episode_return, self._episode_length = float(state["return"]), int(state["length"])

    def build(
        self, window_id: int, next_observation: object, next_action_mask: np.ndarray | None = None
    ) -> EpisodeData:
        """Return the window and begin the next.

        Args:
            window_id: its number.
            next_observation: what follows the last step added, where no episode ended there.
            next_action_mask: (n,) bool, what is allowed there; None = everything.
        """
        observations = self._stack_observations(self._observations)
        masks = _filled([*self._masks, next_action_mask], self._final_masks)
        data = EpisodeData(
            observations=observations,
            actions=self._stack_actions(self._actions),
            rewards=np.array(self._rewards, np.float32),
            terminated=np.array(self._terminated, bool),
            truncated=np.array(self._truncated, bool),
            infos=self._infos,
            episode_id=window_id,
            next_observations=_successors(observations, next_observation, self._final_observations),
            action_masks=None if masks is None else masks[:-1],
            next_action_masks=None if masks is None else _successors(masks[:-1], masks[-1], self._final_masks),
            memories=self.memories,
            completed=tuple(self._completed),
        )
        self._start_window()
        return data


def _successors(rows: Observation, last: object, finals: Mapping[int, object]) -> Observation:
    """Return what follows each row: the next row, `last` after the last one, and `finals` where an episode ended."""
    following = mapped(lambda leaf: np.concatenate([leaf[1:], leaf[-1:]]), rows)
    put(following, -1, last)
    for row, final in finals.items():
        put(following, row, final)
    return following


def _filled(masks: list[Any], finals: dict[Any, Any], shape: tuple[int, ...] = ()) -> np.ndarray | None:
    """Return the masks, each (*shape, n), as one bool array; None where there are none.

    Where only some have none, everything was allowed there; the gaps of `finals` are filled likewise, in place.
    """
    known = next((mask for mask in (*masks, *finals.values()) if mask is not None), None)
    if known is None:
        return None
    n_actions = np.shape(known)[-1]
    finals.update({place: np.ones(n_actions, bool) for place, mask in finals.items() if mask is None})
    everything = np.ones((*shape, n_actions), bool)
    return np.array([everything if mask is None else mask for mask in masks], bool)


class VectorRolloutBuilder:
    """Gathers the steps of N environments that are stepped together into env-major windows.

    A step is kept as the whole (N, ...) arrays that it came in; single environments are looked at only where an
    episode ended. Where a vector spends a step on each reset, its environments get ahead of each other: what one has
    collected beyond a window begins its next one. One that is a whole window ahead waits: its steps are left out until
    the others follow, and the one before them is truncated.

    Args:
        n_envs: N.
        spends_steps_on_resets: the step after an episode's end takes no action: it resets that environment.
    """

    def __init__(self, n_envs: int, spends_steps_on_resets: bool) -> None:
        self._n_envs = n_envs
        self._spends_steps_on_resets = spends_steps_on_resets
        self._all = np.ones(n_envs, bool)
        self._is_acting = self._all  # (N,) whether the next step takes this environment's action
        self._counts = np.zeros(n_envs, np.int64)  # (N,) steps that are collected and in no window yet, but for
        self._together = 0  # those of all environments together
        self._most: int | None = None  # of them, before an environment waits
        self._is_partial = np.zeros(n_envs, bool)  # (N,) whether steps of the episode in progress were left out
        self._returns = [0.0] * n_envs  # of the episodes in progress
        self._starts = [0] * n_envs  # step at which the episode in progress began
        self._steps: dict[str, list[Tree]] = {name: [] for name in _STEP_FIELDS}
        self._infos: list[Mapping[int, Info]] = []
        """Of each step, by environment, where there are any."""
        self._final_observations: dict[_Place, Observation] = {}
        self._final_masks: dict[_Place, np.ndarray | None] = {}
        self._completed: dict[_Place, EpisodeSummary] = {}
        self._memories: list[list[Memory] | None] = []
        """(N,) what was remembered before each step; None where nothing is handed out."""

    @property
    def is_acting(self) -> np.ndarray:
        """(N,) bool: whether the next step takes this environment's action; where not, it resets it."""
        return self._is_acting

    def state(self) -> dict[str, object]:
        """Return, between two windows, what the next one goes on from, as JSON values."""
        return {
            "returns": list(self._returns),
            "starts": list(self._starts),
            "is_lived": self._is_acting.tolist(),
            "is_partial": self._is_partial.tolist(),
            "steps": {
                name: [None if of_step is None else _encoded(name, of_step) for of_step in steps]
                for name, steps in self._steps.items()
            },
            "infos": [
                [step, i, jsonable(dict(info))] for step, infos in enumerate(self._infos) for i, info in infos.items()
            ],
            "finals": [
                [*place, encoded(final), None if (mask := self._final_masks[place]) is None else encoded(mask)]
                for place, final in self._final_observations.items()
            ],
            "completed": [
                [*place, one.total_return, one.length, one.success] for place, one in self._completed.items()
            ],
            "memories": packed_or_none(self._memories),
        }

    def restore(self, state: SavedState) -> None:
        """Go on from `state`."""
        self._returns = [float(total) for total in state["returns"]]
        self._starts = [int(start) for start in state["starts"]]
        is_acting = np.array(state["is_lived"], bool)
        self._is_acting = self._all if is_acting.all() else is_acting
        self._steps = {
            name: [None if array is None else decoded(array) for array in state["steps"][name]] for name in _STEP_FIELDS
        }
        for name in _LISTED:
            self._steps[name] = [array.tolist() for array in self._steps[name]]
        infos: list[dict[int, Info]] = [{} for _ in self._steps[_COLLECTED]]
        for step, i, info in state["infos"]:
            infos[step][i] = info
        self._infos = list(infos)
        self._final_observations = {(step, i): decoded(final) for step, i, final, _ in state["finals"]}
        self._final_masks = {(step, i): None if mask is None else decoded(mask) for step, i, _, mask in state["finals"]}
        self._completed = {(step, i): EpisodeSummary(*summary) for step, i, *summary in state["completed"]}
        self._memories = unpacked(state.get("memories")) or [None] * len(self._steps[_COLLECTED])
        self._is_partial = np.array(state.get("is_partial", [False] * self._n_envs), bool)
        self._count()

    def _count(self) -> None:
        self._counts = np.array(self._steps[_COLLECTED], bool).reshape(-1, self._n_envs).sum(axis=0)
        self._together = 0

    def missing(self, size: int) -> int:
        """Return how many more steps it takes at least until every environment has collected `size`."""
        self._most = 2 * size if self._spends_steps_on_resets else None
        return max(size - int(self._counts.min()) - self._together, 0)

    def add(
        self,
        observations: Observation,
        actions: Action,
        rewards: list[float],
        terminated: list[bool],
        truncated: list[bool],
        infos: Mapping[int, Mapping[str, object]],
        final_observations: Mapping[int, object],
        action_masks: np.ndarray | None = None,
        final_masks: Mapping[int, np.ndarray | None] = _NONE,
        invalid: np.ndarray | None = None,
        memories: list[Memory] | None = None,
    ) -> None:
        """Add one step of all environments; what it came in is kept, not copied.

        Args:
            observations: (N, ...) what was acted on.
            actions: (N, ...).
            rewards: (N,).
            terminated: (N,).
            truncated: (N,).
            infos: infos by environment, where there are any.
            final_observations: the last observation of an episode that ended here, by environment, where it is not
                the one that the next step is added with.
            action_masks: (N, n) bool, what was allowed at `observations`; None = everything.
            final_masks: (n,) bool, the same at `final_observations`.
            invalid: (N,) bool, where the step was of no use and the environment was reset: it is left out, and the one
                before it is truncated; None = nowhere.
            memories: (N,) what the agent remembered before it acted; None where it hands no memory out.
        """
        self._memories.append(memories)
        collected, now = self._is_acting, len(self._infos)
        if invalid is not None:
            collected = collected & ~invalid
            self._cut_off(np.flatnonzero(invalid).tolist(), now)
        ended = ends_of(terminated, truncated)
        if ended and collected is not self._all:
            ended = [i for i in ended if collected[i]]
        if self._most is not None and (waiting := self._counts + self._together >= self._most).any():
            collected = collected & ~waiting
            self._wait(np.flatnonzero(waiting).tolist(), now)
        if collected is self._all:
            self._together += 1
        else:
            self._counts += collected
        steps = self._steps
        steps["observations"].append(observations)
        steps["actions"].append(actions)
        steps["rewards"].append(rewards)
        steps["terminated"].append(terminated)
        steps["truncated"].append(truncated)
        steps["action_masks"].append(action_masks)
        steps[_COLLECTED].append(collected)
        self._infos.append(infos)
        for i, final in final_observations.items():
            self._final_observations[now, i] = final
            self._final_masks[now, i] = final_masks.get(i)
        if collected is not self._all:
            rewards = np.where(collected, rewards, 0.0).tolist()
        self._returns = list(map(operator.add, self._returns, rewards))
        self._is_acting = self._all
        if ended:
            self._end_episodes(ended, now)
            if self._spends_steps_on_resets:
                self._is_acting = ~np.isin(np.arange(self._n_envs), ended)

    def has_steps_of(self, i: int) -> bool:
        """Return whether the next window has a step of environment i by now."""
        return any(collected[i] for collected in self._steps[_COLLECTED])

    def _cut_off(self, invalid: list[int], now: int) -> None:
        terminated, truncated, collected = (self._steps[name] for name in ("terminated", "truncated", _COLLECTED))
        for i in invalid:
            if now and collected[now - 1][i] and not terminated[now - 1][i]:
                truncated[now - 1][i] = True
            self._returns[i], self._starts[i] = 0.0, now + 1

    def _wait(self, waiting: list[int], now: int) -> None:
        """Leave out a step of environments that are ahead; only an episode all of whose steps are kept is completed."""
        terminated, truncated, collected = (self._steps[name] for name in ("terminated", "truncated", _COLLECTED))
        for i in waiting:
            if now and collected[now - 1][i] and not terminated[now - 1][i]:
                truncated[now - 1][i] = True
            self._is_partial[i] = self._is_acting[i]

    def _end_episodes(self, ended: list[int], now: int) -> None:
        for i in ended:
            success = success_in(self._infos[now].get(i, _NONE_SAID))
            if not self._is_partial[i]:
                self._completed[now, i] = EpisodeSummary(self._returns[i], now - self._starts[i] + 1, success)
            self._returns[i], self._is_partial[i] = 0.0, False
            self._starts[i] = now + 1 + self._spends_steps_on_resets

    def build(
        self, window_id: int, next_observations: Observation, size: int, next_action_masks: np.ndarray | None = None
    ) -> EpisodeData:
        """Return the first `size` collected steps of each environment as a window; the others begin the next one.

        Args:
            window_id: its number.
            next_observations: (N, ...) what follows the last step added.
            size: steps per environment; at least so many have been collected.
            next_action_masks: (N, n) bool, what is allowed there; None = everything.
        """
        collected = np.array(self._steps[_COLLECTED])
        rows = np.stack([np.flatnonzero(collected[:, i])[:size] for i in range(self._n_envs)])  # (N, size) steps
        ends = rows[:, -1].tolist()
        masks = _filled([*self._steps["action_masks"], next_action_masks], self._final_masks, (self._n_envs,))
        observations, successors = self._observations(rows, next_observations)
        data = EpisodeData(
            observations=observations,
            next_observations=successors,
            actions=_env_major(stacked(self._steps["actions"]), rows),
            rewards=_env_major(np.array(self._steps["rewards"], np.float32), rows),
            terminated=_env_major(np.array(self._steps["terminated"], bool), rows),
            truncated=_env_major(np.array(self._steps["truncated"], bool), rows),
            infos=self._infos_of(rows),
            episode_id=window_id,
            action_masks=None if masks is None else _env_major(masks, rows),
            next_action_masks=None
            if masks is None
            else _with_finals(_env_major(masks, rows, offset=1), rows, self._final_masks),
            memories=self._memories_at(rows[:, 0]),
            n_envs=self._n_envs,
            completed=tuple(
                self._completed[place]
                for place in sorted(self._completed, key=lambda place: place[::-1])
                if place[0] <= ends[place[1]]
            ),
        )
        self._keep_after(np.array(ends), collected)
        return data

    def _observations(self, rows: np.ndarray, next_observations: Observation) -> tuple[Tree, Tree]:
        """Return (N·size, ...) what was acted on at the steps `rows` (N, size) of each environment, and what followed.

        Where all were collected together, as nearly always, that is put together in one pass each.
        """
        steps = self._steps["observations"]
        if len(steps) == rows.shape[1] and all(leaf.dtype.kind in "biuf" for leaf in leaves(next_observations)):
            with contextlib.suppress(ValueError):  # a space of the user's own may have arrays of several shapes
                following = mapped(_side_by_side, *steps[1:], next_observations)
                return mapped(_side_by_side, *steps), _with_finals(following, rows, self._final_observations)
        by_step = stacked([*steps, next_observations])
        following = _env_major(by_step, rows, offset=1)
        return _env_major(by_step, rows), _with_finals(following, rows, self._final_observations)

    def _memories_at(self, steps: np.ndarray) -> list[Memory] | None:
        """Return (N,) what was remembered before the steps (N,), one for each environment."""
        found = [(self._memories[step], i) for i, step in enumerate(steps.tolist())]
        return None if any(kept is None for kept, _ in found) else [kept[i] for kept, i in found if kept is not None]

    def _infos_of(self, rows: np.ndarray) -> list[Mapping[str, object]]:
        infos = self._infos
        if not any(infos):
            return [{}] * rows.size
        return [infos[step].get(i, {}) for i, steps in enumerate(rows.tolist()) for step in steps]

    def _keep_after(self, ends: np.ndarray, collected: np.ndarray) -> None:
        """Drop the steps that every environment has in a window, given the last one (N,) that each has there."""
        first = int(ends.min()) + 1
        for steps in self._steps.values():
            del steps[:first]
        del self._memories[:first]
        is_surplus = np.arange(first, len(collected))[:, None] > ends
        self._steps[_COLLECTED] = list(collected[first:] & is_surplus)
        self._starts = [start - first for start in self._starts]
        self._count()

        def kept(by_place: dict[_Place, Any]) -> dict[_Place, Any]:
            return {(step - first, i): value for (step, i), value in by_place.items() if step > ends[i]}

        self._infos = [
            {i: info for i, info in infos.items() if step > ends[i]}
            for step, infos in enumerate(self._infos[first:], first)
        ]
        self._completed = kept(self._completed)
        self._final_observations, self._final_masks = kept(self._final_observations), kept(self._final_masks)


def _env_major(by_step: Tree, rows: np.ndarray, offset: int = 0) -> Tree:
    """Return (N·size, ...): what stands in `by_step` (S, N, ...) at the steps `rows` (N, size) of each environment."""
    places = rows + offset, np.arange(len(rows))[:, None]
    return mapped(lambda leaf: leaf[places].reshape(rows.size, *leaf.shape[2:]), by_step)


def _side_by_side(*arrays: np.ndarray) -> np.ndarray:
    """Return (N·S, ...): S arrays (N, ...), of each of N those of all S after each other."""
    joined = np.stack(arrays, axis=1)
    return joined.reshape(-1, *joined.shape[2:])


def _with_finals(following: Tree, rows: np.ndarray, finals: Mapping[_Place, object]) -> Tree:
    """Return what stands in the step after each row, with `finals` in its place where an episode ended."""
    ended = [place for place in finals if place[0] <= rows[place[1], -1]]
    if not ended:
        return following
    row_at = np.zeros((int(rows.max()) + 1, len(rows)), np.int64)
    row_at[rows, np.arange(len(rows))[:, None]] = np.arange(rows.size).reshape(rows.shape)
    places = row_at[tuple(np.array(ended).T)]
    if any(leaf.dtype == object for leaf in leaves(following)):  # what is of a form of its own stays as it is
        for row, place in zip(places, ended, strict=True):
            put(following, row, finals[place])
    else:
        put(following, places, stacked([finals[place] for place in ended]))
    return following


def ends_of(terminated: list[bool], truncated: list[bool]) -> list[int]:
    """Return the environments whose episodes ended, in order."""
    if True in terminated or True in truncated:
        return [i for i, flags in enumerate(zip(terminated, truncated, strict=True)) if True in flags]
    return []


def _encoded(name: str, of_step: Tree) -> dict[str, Json]:
    return encoded(np.array(of_step, _LISTED[name]) if name in _LISTED else of_step)
