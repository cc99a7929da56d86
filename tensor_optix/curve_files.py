"""Learning curves that others wrote: monitor files, arrays, TensorBoard logs, and our own histories."""

import csv
import importlib
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.loop.history import HistoryRecord, read_history
from tensor_optix.errors import BadDataError, InvalidArgumentError, MissingDependencyError
from tensor_optix.support.arguments import is_real

RETURN_TAGS = ("charts/episodic_return", "rollout/ep_rew_mean", "rollout/ep_reward_mean", "eval/mean_reward")
"""Scalars of TensorBoard that hold returns, the preferred first."""
_EVALUATION_TAGS = RETURN_TAGS[1:]
"""Those that are means over episodes already."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One training run from a file, E episodes or evaluations in the order of time."""

    name: str
    """The file, and which of its runs."""
    steps: np.ndarray
    """(E,) environment steps at the end of each."""
    values: np.ndarray
    """(E,) return of each episode, or score of each evaluation."""
    std_errs: np.ndarray | None = None
    """(E,) standard errors of evaluations, NaN = unknown; None where these are episodes."""
    reward_threshold: float | None = None
    """Return from which the environment counts as solved; None = unknown."""
    lower_is_better: bool = False
    """True where the lower score is the better one."""


def recorded_in(path: Path) -> Iterator[Recorded]:
    """Yield the runs that a file holds, by the kind that its name tells.

    Raises:
        InvalidArgumentError: there is no such file, or its kind is not known.
        BadDataError: the file is not what its name says.
        CheckpointCorruptError: a history with a line that is no record.
        MissingDependencyError: a TensorBoard log, and no TensorBoard to read it.
    """
    if not path.is_file():
        raise InvalidArgumentError(f"There is no file {str(path)!r}. Pass the files of recorded runs.")
    if "tfevents" in path.name:
        yield _event_file(path)
        return
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidArgumentError(
            f"{str(path)!r} is of no known kind. Pass a monitor file (.csv), arrays (.npz), a history (.jsonl) or a "
            f"TensorBoard log (events.out.tfevents.*)."
        )
    yield from reader(path)


def _monitor(path: Path) -> Iterator[Recorded]:
    """Read `#{json}`, the header `r,l,t` and an episode a line; a last line that was cut short is left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadDataError(f"{str(path)!r} is no text: {error}.") from error
    about, table = [line for line in lines if line.startswith("#")], [line for line in lines if line[:1] not in "#"]
    rows = csv.DictReader(table)
    if not {"r", "l"} <= set(rows.fieldnames or ()):
        raise BadDataError(
            f"{str(path)!r} has the columns {rows.fieldnames}, but a monitor file has r (return) and l (length)."
        )
    returns, lengths = list[float](), list[float]()
    for number, row in enumerate(rows, 1):
        value, length = _number(row["r"]), _number(row["l"])
        if value is None or length is None or length < 1:
            if number == len(table) - 1:
                break
            raise BadDataError(f"Episode {number} of {str(path)!r} has r={row['r']!r} and l={row['l']!r}, no numbers.")
        returns.append(value)
        lengths.append(length)
    yield Recorded(
        name=str(path),
        steps=np.cumsum(lengths).astype(np.int64),
        values=np.array(returns),
        reward_threshold=_threshold_of(about[0][1:]) if about else None,
    )


def _threshold_of(header: str) -> float | None:
    """Return the reward threshold of the environment that a monitor's header names, None where that is not known."""
    try:
        about = json.loads(header)
    except ValueError:
        return None
    env_id = about.get("env_id") if isinstance(about, dict) else None
    value = getattr(gym.registry.get(env_id), "reward_threshold", None) if isinstance(env_id, str) else None
    return float(value) if is_real(value) else None


def _arrays(path: Path) -> Iterator[Recorded]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadDataError(f"{str(path)!r} holds no plain arrays: {error}.") from error
    returns = arrays.get("returns", arrays.get("scores"))
    if "steps" in arrays and returns is not None:
        errors = arrays.get("std_errs")
        if errors is None and "scores" in arrays:
            errors = np.full(returns.shape, np.nan)
        yield _checked(str(path), arrays["steps"], returns, errors)
        return
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape[0] != 2:
            raise BadDataError(
                f"{name!r} of {str(path)!r} has the shape {array.shape}, but a run is (2, E): steps and returns."
            )
        yield _checked(f"{path}#{name}" if len(arrays) > 1 else str(path), array[0], array[1])


def _checked(name: str, steps: np.ndarray, values: np.ndarray, std_errs: np.ndarray | None = None) -> Recorded:
    shapes = {array.shape for array in (steps, values, std_errs) if array is not None}
    if len(shapes) > 1 or steps.ndim != 1:
        raise BadDataError(f"{name} has arrays of the shapes {sorted(shapes)}, but a run has one value per step.")
    if steps.size and not (np.isfinite(steps).all() and steps[0] >= 0 and (np.diff(steps) >= 0).all()):
        raise BadDataError(f"The steps of {name} go back, or are no numbers. They are the totals of the run.")
    if std_errs is None and not np.isfinite(values).all():
        raise BadDataError(f"A return of {name} is no finite number.")
    return Recorded(name=name, steps=steps.astype(np.int64), values=values, std_errs=std_errs)


def _history(path: Path) -> Iterator[Recorded]:
    is_graded = any(record.eval_metrics.grade is not None for record in read_history(path))

    def row(record: HistoryRecord) -> tuple[float, float, float]:
        metrics = record.eval_metrics
        value = metrics.utility if is_graded else metrics.primary_score
        return record.env_steps, value if metrics.has_evidence else math.nan, metrics.utility_std_err

    steps, values, std_errs = np.fromiter(map(row, read_history(path)), np.dtype((np.float64, 3))).T
    recorded = _checked(str(path), steps, values, std_errs)
    yield replace(recorded, lower_is_better=any(record.eval_metrics.lower_is_better for record in read_history(path)))


def _event_file(path: Path) -> Recorded:
    try:
        module = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{str(path)!r} is a TensorBoard log, which tensorboard reads, but it is not installed. Install it with: "
            f"pip install tensorboard"
        ) from error
    log = module.EventAccumulator(str(path), size_guidance={"scalars": 0})
    log.Reload()
    tags = log.Tags()["scalars"]
    tag = next((known for known in RETURN_TAGS if known in tags), None)
    if tag is None:
        raise BadDataError(
            f"{str(path)!r} has none of the scalars {', '.join(RETURN_TAGS)}. It has: {', '.join(tags) or 'none'}."
        )
    events = sorted(log.Scalars(tag), key=lambda event: event.step)
    values = np.array([event.value for event in events], np.float64)
    errors = np.full(len(values), np.nan) if tag in _EVALUATION_TAGS else None
    return _checked(str(path), np.array([event.step for event in events], np.float64), values, errors)


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


_READERS: Mapping[str, Callable[[Path], Iterator[Recorded]]] = {
    ".csv": _monitor,
    ".npz": _arrays,
    ".jsonl": _history,
}
