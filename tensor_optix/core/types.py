"""The values that flow through the loop. They are frozen, except `HyperparamSet`.

Shapes: T steps in a window, N parallel environments; arrays are (T, ...).
"""

import copy
import enum
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypeAlias, cast

import numpy as np

from tensor_optix.core.eval_metrics import EvalMetrics as EvalMetrics
from tensor_optix.errors import BadDataError
from tensor_optix.support.plain import Json
from tensor_optix.support.plain import jsonable as jsonable
from tensor_optix.support.plain import numeric_items as numeric_items
from tensor_optix.support.schemas import rebuilt
from tensor_optix.support.trees import concatenated

Observation: TypeAlias = Any
"""What an agent sees: an array, dicts and tuples of them (`support.trees`), or what else an environment returns."""
Action: TypeAlias = Any
"""What an agent chooses, or a batch of it: of the same forms as an observation."""
Memory: TypeAlias = Any
"""What an agent remembers of one episode (`ActsRecurrently`): a value of its own; None where the episode begins."""
Info: TypeAlias = Mapping[str, Any]
"""The environment's info of a step."""
Params: TypeAlias = Mapping[str, Any]
"""Values of hyper-parameters by name: numbers for the most part, switches, words, schedules."""
Space: TypeAlias = Any
"""A Gymnasium space, or None where it is not known; the core and the adapters do not import Gymnasium."""
Diagnostics: TypeAlias = dict[str, Any]
"""What an agent tells of its learning, by name: numbers for the most part."""


class LoopState(enum.Enum):
    """What the loop is doing; `backoff_scheduler` holds the table of moves between the states."""

    ACTIVE = "active"
    """Learning: tunes and evaluates at the base interval."""
    COOLING = "cooling"
    """A plateau: the evaluation interval grows geometrically."""
    DORMANT = "dormant"
    """Trained: no improvement for the whole patience."""
    WATCHDOG = "watchdog"
    """Trained and on guard: acts, learns nothing, and becomes ACTIVE on drift or degradation."""


@dataclass(frozen=True, slots=True)
class EpisodeSummary:
    """One finished episode, including the part of it that was collected in earlier windows."""

    total_return: float
    """Undiscounted sum of its rewards."""
    length: int
    """Its number of steps."""
    success: bool | None = None
    """Whether its last info said that the task was solved (`success_in`); None where it said nothing."""


def success_in(info: Info) -> bool | None:
    """Return what the last info of an episode says of its success, as `is_success` or `success`; None for nothing.

    Args:
        info: of the step that ended the episode, as the environment returned it.
    """
    for name in ("is_success", "success") if info else ():
        found: object = info.get(name)
        if isinstance(found, np.generic | np.ndarray):
            array = cast(np.ndarray, found)
            found = array.item() if array.size == 1 else None
        if isinstance(found, bool | int | float) and not math.isnan(found):
            return bool(found)
    return None


@dataclass(frozen=True, eq=False)
class EpisodeData:
    """One window of experience: T steps, which may hold several episodes and parts of episodes.

    With `n_envs` = N > 1 the rows are env-major: the T/N steps of environment 0, then those of environment 1, and so
    on. Nothing is interleaved, and no segment reaches across two environments.
    """

    observations: Observation
    """(T, ...) what the agent saw before each step; a dict or tuple of such arrays where it sees dicts or tuples."""
    actions: Action
    """(T, ...) what the agent chose, as it returned it; dicts and tuples as with observations."""
    rewards: Any
    """(T,) reward of each step."""
    terminated: Any
    """(T,) True where the step ended the task: there is no future to bootstrap from."""
    truncated: Any
    """(T,) True where a time limit cut the episode: the task went on, the episode did not."""
    infos: Sequence[Info] = ()
    """(T,) the environment's info of each step, or empty."""
    episode_id: int = 0
    """Number of the window in the run, from 0."""
    next_observations: Observation = None
    """(T, ...) what the environment returned for each step, before any reset; None where that is not known."""
    log_probs: Any = None
    """(T,) log-probability of each action under the behaviour policy, where that was not the learner itself."""
    values: Any = None
    """(T,) value estimates recorded by the behaviour policy."""
    action_masks: Any = None
    """(T, n) bool, which of the n actions were allowed at each observation; None where the environment has no masks."""
    next_action_masks: Any = None
    """(T, n) bool, the same at each next observation, the true final one included; None where there are no masks."""
    memories: Sequence[Memory] | None = None
    """(N,) what the agent remembered of each environment's episode before its first step here (`ActsRecurrently`), None
    where an episode began there; None as a whole where the agent hands no memory out."""
    n_envs: int = 1
    """N, the number of parallel environments whose steps are stacked env-major."""
    completed: tuple[EpisodeSummary, ...] | None = None
    """The episodes that ended in this window; None where the pipeline does not know."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Other facts about this window, by name."""

    def __post_init__(self) -> None:
        if self.n_envs < 1 or len(self.rewards) % self.n_envs:
            raise BadDataError(
                f"A window of {len(self.rewards)} steps cannot be equal shares of n_envs={self.n_envs} environments."
            )

    @property
    def dones(self) -> np.ndarray:
        """(T,) bool: an episode ended here, for whichever reason."""
        return np.asarray(self.terminated, bool) | np.asarray(self.truncated, bool)

    @property
    def total_reward(self) -> float:
        """Sum of the window's rewards."""
        return float(np.sum(np.asarray(self.rewards, np.float64)))

    @property
    def length(self) -> int:
        """T, the number of steps."""
        return len(self.rewards)

    def segment_ends(self) -> np.ndarray:
        """(T,) bool: True at the last row of each unbroken run of steps (end of episode, of environment, of window)."""
        ends = self.dones.copy()
        steps_per_env = self.length // self.n_envs
        if steps_per_env:
            ends[steps_per_env - 1 :: steps_per_env] = True
        return ends

    @classmethod
    def concatenate(cls, windows: Sequence["EpisodeData"]) -> "EpisodeData":
        """Join windows of whole episodes into one; the number and metadata are those of the first.

        Raises:
            BadDataError: no windows, or windows of several environments, whose rows cannot be kept env-major.
        """
        if not windows or any(window.n_envs != 1 for window in windows):
            raise BadDataError("concatenate needs at least one window, each of a single environment.")

        def join(name: str) -> Any:
            parts = [getattr(window, name) for window in windows]
            return None if any(part is None for part in parts) else concatenated(parts)

        first = windows[0]
        joined = {f.name: join(f.name) for f in fields(first) if f.name in PER_STEP}
        return replace(
            first,
            **joined,
            infos=[i for window in windows for i in window.infos] if all(len(w.infos) for w in windows) else (),
            completed=tuple(episode for window in windows for episode in window.completed_episodes()),
        )

    def completed_episodes(self) -> tuple[EpisodeSummary, ...]:
        """Return `completed`, or derive it from the flags where the pipeline does not know it.

        Derived episodes count only the steps inside this window.
        """
        if self.completed is not None:
            return self.completed
        rewards, dones = np.asarray(self.rewards, np.float64), self.dones
        summaries: list[EpisodeSummary] = []
        start = 0
        for end in np.flatnonzero(self.segment_ends()):
            if dones[end]:
                success = success_in(self.infos[int(end)]) if len(self.infos) else None
                total = float(rewards[start : end + 1].sum())
                summaries.append(EpisodeSummary(total, int(end + 1 - start), success))
            start = end + 1
        return tuple(summaries)


PER_STEP = frozenset(
    (
        "observations",
        "actions",
        "rewards",
        "terminated",
        "truncated",
        "next_observations",
        "log_probs",
        "values",
        "action_masks",
        "next_action_masks",
    )
)
"""Fields of a window that have a value per step, but for its infos."""


@dataclass
class HyperparamSet:
    """An open dictionary of hyper-parameters; the core never names a key."""

    params: dict[str, Any]
    episode_id: int = 0
    """The window from which these values hold."""

    def copy(self) -> "HyperparamSet":
        """Return an independent copy."""
        return HyperparamSet(copy.deepcopy(self.params), self.episode_id)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"params": {name: jsonable(value) for name, value in self.params.items()}, "episode_id": self.episode_id}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)


@dataclass(frozen=True, kw_only=True)
class PlayedWindow:
    """Episodes that a policy was tested on. Played together with the same seeds, they give the same returns."""

    seeds: tuple[int, ...]
    """One per episode; none where nothing fixes them."""
    returns: tuple[float, ...]
    """The undiscounted return of each episode."""
    score: float
    """The evaluator's score of the window."""
    episode_limit: int | None = None
    """After how many steps episodes were cut; None where none was."""

    @functools.cached_property
    def scores_its_returns(self) -> bool:
        """Whether the score is the mean of the returns; hundreds of windows are asked in each evaluation."""
        return bool(self.returns) and self.score == float(np.mean(self.returns))

    def to_dict(self) -> dict[str, Json]:
        """Return plain JSON values."""
        return {
            "seeds": jsonable(self.seeds),
            "returns": jsonable(self.returns),
            "score": jsonable(self.score),
            "episode_limit": self.episode_limit,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)


@dataclass(frozen=True, kw_only=True)
class PolicySnapshot:
    """A saved policy: its score, the hyper-parameters it was trained with, and its number."""

    snapshot_id: str
    sequence: int
    """Order of saving in its directory, from 0."""
    window_id: int
    eval_metrics: EvalMetrics
    hyperparams: HyperparamSet
    created_at: str
    """Wall-clock time in ISO 8601, for people only: nothing is ordered by it."""
    evidence: tuple[PlayedWindow, ...] = ()
    """The episodes behind the score, where they are fixed by seeds."""
    era: int = 0
    """The era that it was measured in; a drift or a last test begins one. Scores of different eras do not compare."""
    in_reserve: bool = False
    """True while it is only an alternative for the last test: it does not rank before it was tested."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        nested = {
            "eval_metrics": self.eval_metrics.to_dict(),
            "hyperparams": self.hyperparams.to_dict(),
            "evidence": [window.to_dict() for window in self.evidence],
        }
        return {f.name: nested.get(f.name, getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)
