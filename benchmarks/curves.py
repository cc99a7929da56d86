"""Does the loop stop real training runs at the right time? Public learning curves, no training.

A run is replayed as evaluations every `EVERY` steps: the score is the mean of the last `EPISODES` training episodes,
its error that of the mean. The *truth* is the curve smoothed over a fiftieth of its episodes; its highest value is the
final level, and a level counts as a share of the gain from the first smoothed value to the final one. A run that is not
stopped ends with its curve, at the final level: it says only that it should not have been stopped before.

`python -m benchmarks curves --curves FOLDER`, or FOLDER in `TENSOR_OPTIX_CURVES`. It holds `curves.npz`: one array
(2, episodes) a run, named `ALGO__ENV_N`, the environment steps at the end of each episode and its return.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._results import Row, table
from benchmarks._suite import Measurement, MeasurementError, Options
from tensor_optix.core.decisions.curve_statistics import CurveStatistics, statistics_of
from tensor_optix.core.decisions.patience import Constants, Patience, decide
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.simulation import simulate
from tensor_optix.core.types import LoopState
from tensor_optix.curve_files import Recorded
from tensor_optix.replay import EPISODES, EVERY, Evaluations, evaluations_of

TITLE = "Real learning curves"
FOLDER_VARIABLE = "TENSOR_OPTIX_CURVES"
"""Environment variable with the folder of the curves."""
OFFSETS = (0, 683, 1_365)
"""Steps at the first evaluation; 0 = `EVERY`."""
LEAST_STEPS, LEAST_EPISODES = 300_000, 200
"""Shorter runs say nothing about patience."""
GROWTH = 1.01
"""The rule is asked again when the run has grown by this factor; what it answers changes no faster."""
REACHED = 0.95
"""Share of the gain from which the final level counts as reached."""
GRID: Mapping[str, tuple[float, ...]] = {
    "saturating": (2.5, 3.5, 4.5),
    "learned": (6.0, 8.0, 10.0),
    "certainty": (60.0, 120.0, 240.0),
    "flat_slope": (0.15, 0.2, 0.25),
    "nearly_saturated": (1.0, 3.5),
}
"""What is chosen anew without each environment, for the held-out figure."""


@dataclass(frozen=True)
class Run:
    """One training run."""

    name: str
    env: str
    steps: np.ndarray
    """(E,) environment steps at the end of each episode."""
    returns: np.ndarray
    """(E,)."""


@dataclass(frozen=True)
class Truth:
    """The smoothed curve of a run."""

    steps: np.ndarray
    """(S,)."""
    share: np.ndarray
    """(S,) highest level so far, as a share of the whole gain."""

    @property
    def reached(self) -> float:
        """Steps until `REACHED` of the gain."""
        return float(self.steps[np.argmax(self.share >= REACHED)])

    def share_at(self, steps: float) -> float:
        """Return the share of the gain that was reached within `steps`."""
        seen = int(np.searchsorted(self.steps, steps, side="right"))
        return float(self.share[seen - 1]) if seen else 0.0


@dataclass(frozen=True)
class Replay:
    """What the rule sees of a run at one offset."""

    env: str
    truth: Truth
    length: float
    """Steps of the whole run."""
    evaluations: Evaluations
    """The scores."""
    seen: tuple[CurveStatistics, ...]
    """What the rule knows at each step at which it is asked."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return one measurement: the rule is deterministic."""
    given = os.environ.get(FOLDER_VARIABLE)
    folder = options.curves or (Path(given) if given else None)
    yield Measurement("public curves", partial(_measure, folder))


def load(folder: Path) -> list[Run]:
    """Return the runs that are long enough and rise at all.

    Raises:
        MeasurementError: the folder has no `curves.npz`.
    """
    path = folder / "curves.npz"
    if not path.exists():
        raise MeasurementError(f"There are no learning curves at {path}.")
    with np.load(path) as arrays:
        runs = [
            Run(name, name.partition("__")[2].rpartition("_")[0], *np.asarray(arrays[name], np.float64))
            for name in arrays.files
        ]
    return [
        run
        for run in runs
        if run.steps[-1] >= LEAST_STEPS and len(run.steps) >= LEAST_EPISODES and np.ptp(run.returns) > 0.0
    ]


def truth_of(run: Run) -> Truth:
    """Return the curve smoothed over a fiftieth of its episodes, as shares of its gain."""
    width = max(1, len(run.returns) // 50)
    sums = np.concatenate([[0.0], np.cumsum(run.returns)])
    best = np.maximum.accumulate((sums[width:] - sums[:-width]) / width)
    gain = best[-1] - best[0]
    share = (best - best[0]) / gain if gain > 0.0 else np.ones_like(best)
    return Truth(run.steps[width - 1 :], share)


def replay(run: Run, offset: int) -> Replay:
    """Return what the loop and the rule see of a run."""
    recorded = Recorded(name=run.name, steps=run.steps.astype(np.int64), values=run.returns)
    found = evaluations_of(recorded, offset=offset)
    episodes_so_far = found.episodes if found.episodes is not None else np.zeros(len(found.steps))
    columns = (found.steps, found.scores, found.std_errs, episodes_so_far)
    curve, seen, due = ScoreCurve(), list[CurveStatistics](), 0.0
    for steps, score, error, episodes in zip(*columns, strict=True):
        curve = curve.added(int(steps), float(score), float(error), int(episodes))
        if steps >= due and curve.evaluations >= EPISODES:
            seen.append(statistics_of(curve, EPISODES))
            due = GROWTH * steps
    return Replay(run.env, truth_of(run), float(run.steps[-1]), found, tuple(seen))


def of_loop(run: Replay) -> tuple[float, float]:
    """Return the outcome of a run as the loop decides on it, with all its defaults; see `outcome`."""
    found = run.evaluations
    decisions = simulate(
        found.scores, found.std_errs, found.steps, LoopConfig(patience=Patience()), episodes=found.episodes
    )
    is_stopped = bool(decisions) and decisions[-1].state is LoopState.DORMANT
    return _outcome(run, decisions[-1].steps if is_stopped else None)


def outcome(run: Replay, patience: Patience) -> tuple[float, float]:
    """Return (share of the gain at the stop, steps of it over steps to the level), as the rule alone decides."""
    return _outcome(run, next((s.steps for s in run.seen if decide(s, patience).is_exhausted), None))


def _outcome(run: Replay, stop: float | None) -> tuple[float, float]:
    if stop is None:
        return 1.0, run.length / run.truth.reached
    return run.truth.share_at(stop), stop / run.truth.reached


def summary(outcomes: np.ndarray) -> dict[str, float]:
    """Return the figures of (N, 2) outcomes."""
    share, ratio = outcomes.T
    return {
        "n": len(outcomes),
        "reached": float(np.mean(share >= REACHED)),
        "below_80": float(np.mean(share < 0.8)),
        "below_50": float(np.mean(share < 0.5)),
        "ratio": float(np.median(ratio)),
        "ratio_p90": float(np.quantile(ratio, 0.9)),
    }


def shortfall(figures: Mapping[str, float]) -> float:
    """Return by how much figures miss what is aimed at, which is more than the goals: what is chosen on some
    environments does worse on others.
    """
    return (
        10.0 * max(0.0, 0.98 - figures["reached"])
        + 10.0 * max(0.0, figures["below_80"] - 0.01)
        + 15.0 * figures["below_50"]
        + 2.0 * max(0.0, figures["ratio"] - 1.27)
        + 0.5 * max(0.0, figures["ratio_p90"] - 2.12)
    )


def held_out(replays: Sequence[Replay]) -> np.ndarray:
    """Return (N, 2) outcomes, each with the constants of `GRID` that are best on all other environments."""
    rules = [Constants(**dict(zip(GRID, values, strict=True))) for values in itertools.product(*GRID.values())]
    base = Patience()
    results = np.array([[outcome(r, replace(base, constants=rule)) for r in replays] for rule in rules])
    envs = np.array([r.env for r in replays])
    chosen = np.empty((len(replays), 2))
    for env in np.unique(envs):
        is_out = envs == env
        best = min(range(len(rules)), key=lambda i: shortfall(summary(results[i, ~is_out])))
        chosen[is_out] = results[best, is_out]
    return chosen


def _measure(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        raise MeasurementError(
            f"There is no folder of learning curves: pass --curves FOLDER, or set {FOLDER_VARIABLE}."
        )
    replays = [replay(run, offset) for run in load(folder) for offset in OFFSETS]
    figures = {
        "the loop": summary(np.array([of_loop(r) for r in replays])),
        "the rule alone": summary(np.array([outcome(r, Patience()) for r in replays])),
        "the rule, environment left out": summary(held_out(replays)),
    }
    return {"environments": len({r.env for r in replays}), "figures": figures}


def render(rows: Sequence[Row]) -> list[str]:
    """Return a line per way of choosing the constants."""
    lines = [
        [
            name,
            f"{figures['n']:.0f}",
            f"{figures['reached']:.1%}",
            f"{figures['below_80']:.1%}",
            f"{figures['below_50']:.1%}",
            f"{figures['ratio']:.2f} ({figures['ratio_p90']:.2f})",
        ]
        for row in rows
        for name, figures in row["figures"].items()
    ]
    goals = ["goal", "", "95 %", "3 %", "1 %", "1.3 (2.2)"]
    return [
        f"Public training runs of at least {LEAST_STEPS:,} steps, evaluated every {EVERY:,} steps on the last "
        f"{EPISODES} episodes, from {len(OFFSETS)} offsets. Level: share of the gain at the stop, or at the end of the "
        f"curve. Steps: those until then over those until {REACHED:.0%} of the gain, median (90 %). The loop: all "
        "of its decisions, by `simulate`. The rule alone: without the loop's count of evaluations. With its "
        "environment left out, a run is judged with the constants that are best on the other environments.",
        "",
        *table(("Constants", "Stops", "Level >= 95 %", "below 80 %", "below 50 %", "Steps"), [*lines, goals]),
    ]
