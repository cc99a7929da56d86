"""Learning curves that others wrote: monitor files, arrays, TensorBoard logs, and our own histories."""

import csv
import importlib
import json
import logging
import math
import re
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.loop.history import HistoryRecord, read_history
from tensor_optix.core.storage.line_log import HISTORY
from tensor_optix.errors import BadDataError, InvalidArgumentError, MissingDependencyError
from tensor_optix.support.arguments import is_real

_EPISODE_TAG = "charts/episodic_return"
"""The scalar of TensorBoard that has a value for each episode; of all others each is a mean already."""
RETURN_TAGS = (_EPISODE_TAG, "rollout/ep_rew_mean", "rollout/ep_reward_mean", "eval/mean_reward")
"""Scalars of TensorBoard that hold returns, the preferred first."""
_LIKELY_RETURNS = re.compile(r"(?<![a-z])(reward|return)", re.IGNORECASE)
"""What the name of returns has in other libraries; taken where one scalar alone has it."""
_WITHOUT_TENSORFLOW = "tensorboard.compat.notf"
"""A module by whose presence TensorBoard knows that it is to do without."""
logger = logging.getLogger(__name__)


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
        raise InvalidArgumentError(_no_file(path))
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


def _no_file(path: Path) -> str:
    if not path.is_dir():
        return f"There is no file {str(path)!r}. Pass the files of recorded runs."
    known = sorted(one for one in path.iterdir() if "tfevents" in one.name or one.suffix.lower() in _READERS)
    files = [path / HISTORY] if path / HISTORY in known else known[:1]
    return f"{str(path)!r} is a folder. Pass the files of recorded runs{''.join(f', such as {one}' for one in files)}."


def _monitor(path: Path) -> Iterator[Recorded]:
    """Read `#{json}`, the header `r,l,t` and an episode a line, also of several files that were put together.

    A last line that was cut short is left out. So are other lines that hold no episode, as a crash leaves them, which
    is said; where they are more than a tenth, the first of them is the error.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadDataError(f"{str(path)!r} is no text: {error}.") from error
    about, table = [line for line in lines if line.startswith("#")], [line for line in lines if line[:1] not in "#"]
    rows = csv.DictReader([*table[:1], *(line for line in table if line != table[0])], skipinitialspace=True)
    if not {"r", "l"} <= set(rows.fieldnames or ()):
        has = f"has the columns {rows.fieldnames}" if table else "is empty"
        raise BadDataError(f"{str(path)!r} {has}, but a monitor file has r (return) and l (length).")
    episodes = [(_number(row["r"]), _number(row["l"]), row) for row in rows]
    bad = [n for n, (value, length, _) in enumerate(episodes) if value is None or length is None or length < 1]
    if bad and bad != [len(episodes) - 1]:
        row = episodes[bad[0]][2]
        first = f"Episode {bad[0] + 1} of {str(path)!r} has r={row['r']!r} and l={row['l']!r}, no numbers."
        if len(bad) > len(episodes) / 10:
            raise BadDataError(first)
        logger.warning("%s Of %d episodes %d are left out.", first, len(episodes), len(bad))
    lengths = [max(length or 0.0, 0.0) for _, length, _ in episodes]
    is_left_out = np.isin(np.arange(len(episodes)), bad)
    yield Recorded(
        name=str(path),
        steps=np.cumsum(lengths).astype(np.int64)[~is_left_out],
        values=np.array([math.nan if value is None else value for value, _, _ in episodes])[~is_left_out],
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
    if not arrays:
        raise BadDataError(f"{str(path)!r} holds no arrays. A run is steps and returns, (E,) each, or (2, E) of both.")


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
    log = _opened(path)
    log.Reload()
    tags: list[str] = log.Tags()["scalars"]
    likely = [tag for tag in tags if _LIKELY_RETURNS.search(tag)]
    tag = next((known for known in RETURN_TAGS if known in tags), likely[0] if len(likely) == 1 else None)
    if tag is None:
        raise BadDataError(
            f"{str(path)!r} has none of the scalars {', '.join(RETURN_TAGS)}. It has: {', '.join(tags) or 'none'}. Of "
            f"another name, save the returns as arrays: numpy.savez('run.npz', steps=..., scores=...)."
        )
    events = sorted(log.Scalars(tag), key=lambda event: event.step)
    values = np.array([event.value for event in events], np.float64)
    errors = None if tag == _EPISODE_TAG else np.full(len(values), np.nan)
    name = str(path) if tag in RETURN_TAGS else f"{path}#{tag}"
    return _checked(name, np.array([event.step for event in events], np.float64), values, errors)


def _opened(path: Path) -> Any:
    """Return TensorBoard's reader of a log. It loads no TensorFlow, which takes seconds, where none is loaded."""
    is_loaded = "tensorflow" in sys.modules
    if not is_loaded:
        sys.modules[_WITHOUT_TENSORFLOW] = types.ModuleType(_WITHOUT_TENSORFLOW)
    try:
        module = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
        return module.EventAccumulator(str(path), size_guidance={"scalars": 0})  # decides which, for the whole process
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{str(path)!r} is a TensorBoard log, which tensorboard reads, but it is not installed. Install it with: "
            f"pip install tensorboard"
        ) from error
    finally:
        if not is_loaded:
            del sys.modules[_WITHOUT_TENSORFLOW]


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
