"""`tensor-optix replay`: what the loop would have decided on training runs that somebody already has.

| file | what it holds |
|---|---|
| `*.csv` | episodes: a monitor file of Stable-Baselines3, or the statistics of Gymnasium's `RecordEpisodeStatistics` |
| `*.npz` | episodes: arrays (2, E) of steps and returns, one per run, or `steps` and `returns`, (E,) each |
| `*tfevents*` | a TensorBoard log: scalars of returns over steps |
| `*.jsonl` | our own `history.jsonl`: evaluations, replayed as they are |

Episodes become evaluations: every `every` steps, the score is the mean return of the last `episodes` episodes, and its
error the standard error of that mean. What is decided on them is decided by `simulate`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.simulation import Decision, simulate
from tensor_optix.core.types import LoopState
from tensor_optix.curve_files import Recorded, recorded_in
from tensor_optix.support.arguments import check_count

EVERY, EPISODES = 2_048, 5
"""Steps between evaluations, and episodes of one."""


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """The scores of a run as the loop would have seen them, E of them."""

    scores: np.ndarray
    std_errs: np.ndarray
    steps: np.ndarray
    episodes: np.ndarray | None
    """Training episodes until each; None = unknown."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What the loop would have decided on a recorded run."""

    file: str
    stop_step: int | None
    """Environment steps at which it would have stopped; None where the run ended first."""
    best_score: float | None
    """Score of the policy that it would have handed back; None where nothing could be scored."""
    evaluations: int
    """Evaluations that it would have made."""
    reason: str
    """Why it would have stopped, or how far its patience was used up when the run ended."""
    steps: int
    """Environment steps of the whole record."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(vars(self))

    def __str__(self) -> str:
        """Return one line for people."""
        if self.stop_step is None:
            end = f"goes on after all {self.steps:,} steps"
        else:
            end = f"stops at {self.stop_step:,} of {self.steps:,} steps ({1 - self.stop_step / self.steps:.0%} saved)"
        best = "no score" if self.best_score is None else f"best {self.best_score:.4g}"
        return f"{self.file}: {end}, {best} in {self.evaluations} evaluations; {self.reason}"


def replay(path: Path, every: int = EVERY, episodes: int = EPISODES, offset: int = 0) -> Iterator[Replayed]:
    """Yield what the loop would have decided on each run of a file.

    Args:
        path: the file.
        every: environment steps between evaluations.
        episodes: training episodes that one evaluation looks back on.
        offset: environment steps at the first evaluation; 0 = `every`.

    Raises:
        InvalidArgumentError: an argument out of its range, or a kind of file that is not known.
        BadDataError: a file that is not what its name says.
        MissingDependencyError: a TensorBoard log, and no TensorBoard to read it.
    """
    check_count("every", every, 1)
    check_count("episodes", episodes, 1)
    check_count("offset", offset, 0)
    for run in recorded_in(path):
        found = evaluations_of(run, every, episodes, offset)
        config = LoopConfig(
            # What the record holds was evaluated already: all of it is looked at.
            scheduler=BackoffScheduler() if run.std_errs is None else BackoffScheduler(max_interval=1),
            patience=Patience(episodes_per_evaluation=episodes, reward_threshold=run.reward_threshold),
        )
        decisions = simulate(
            found.scores,
            found.std_errs,
            found.steps,
            config,
            episodes=found.episodes,
            lower_is_better=run.lower_is_better,
        )
        yield _replayed(run, decisions)


def evaluations_of(run: Recorded, every: int = EVERY, episodes: int = EPISODES, offset: int = 0) -> Evaluations:
    """Return a recorded run as evaluations; arguments as of `replay`. Evaluations are taken as they are."""
    if run.std_errs is not None:
        is_new = np.diff(run.steps, prepend=0) > 0
        return Evaluations(
            scores=run.values[is_new], std_errs=run.std_errs[is_new], steps=run.steps[is_new], episodes=None
        )
    last = run.steps[-1] if run.steps.size else 0
    times = np.arange(offset or every, last + 1, every)
    counts = np.searchsorted(run.steps, times, side="right")
    times, counts = times[counts >= episodes], counts[counts >= episodes]
    latest = run.values[counts[:, None] - np.arange(episodes, 0, -1)]
    deviation = latest.std(axis=1, ddof=1) if episodes > 1 else np.full(len(times), np.nan)
    return Evaluations(scores=latest.mean(axis=1), std_errs=deviation / np.sqrt(episodes), steps=times, episodes=counts)


def _replayed(run: Recorded, decisions: list[Decision]) -> Replayed:
    steps = int(run.steps[-1]) if run.steps.size else 0
    nothing = Replayed(
        file=run.name, stop_step=None, best_score=None, evaluations=0, reason="no evaluation", steps=steps
    )
    if not decisions:
        return nothing
    last = decisions[-1]
    is_stopped = last.state is LoopState.DORMANT
    return replace(
        nothing,
        stop_step=last.steps if is_stopped else None,
        best_score=next((one.score for one in reversed(decisions) if one.is_best), None),
        evaluations=len(decisions),
        reason=f"{'' if is_stopped else 'the record ends first: '}{last.patience}",
    )
