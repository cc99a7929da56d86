"""Where a search begins: the values that earlier runs of the same task have ended with, as tuning has left them."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

from tensor_optix._run_reports import read_report
from tensor_optix.core.decisions.escape_records import other_algorithm
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.errors import TensorOptixError
from tensor_optix.multirun.space import N_ENVS, NET_ARCH, Space, Values, layers_text, nearest
from tensor_optix.runs import RunDescription

logger = logging.getLogger(__name__)

MOST_RUNS, MOST_VALUES = 1000, 3
"""Runs that are looked at, and values that are taken from them."""


def earlier_values(folder: Path, run: RunDescription, space: Space, preset: Values) -> list[Values]:
    """Return the values of the best policies of earlier runs, the best run first; none that are those of the preset.

    Args:
        folder: that holds runs, also as seeds of one job.
        run: what is searched around; runs of another environment or algorithm are left out.
        space: what is searched.
        preset: values where a run says nothing.
    """
    found = list[tuple[float, Values]]()
    for run_dir in sorted(_runs_in(folder))[:MOST_RUNS]:
        try:
            report, other = read_report(run_dir), RunDescription.read(run_dir, run.modules)
        except TensorOptixError as error:
            logger.debug("%s is not looked at: %s", run_dir, error)
            continue
        if report is None or not math.isfinite(report.best_score) or _task(other) != _task(run):
            continue
        if other_algorithm(report.escapes) is not None:
            continue  # the values are those of another algorithm
        layers = {} if other.net_arch is None else {NET_ARCH: layers_text(other.net_arch)}
        values = nearest(space, {**report.hyperparams, **layers, N_ENVS: other.n_envs}, preset)
        found.append((report.best_score, values))
    distinct = list[Values]()
    for _, values in sorted(found, key=lambda one: -one[0]):
        if values != preset and values not in distinct:
            distinct.append(values)
    return distinct[:MOST_VALUES]


def _runs_in(folder: Path) -> Iterator[Path]:
    for pattern in (f"*/{DESCRIPTION}", f"*/seed-*/{DESCRIPTION}"):
        yield from (path.parent for path in folder.glob(pattern))


def _task(run: RunDescription) -> tuple[object, ...]:
    return run.env, run.env_kwargs, run.wrappers, run.algorithm
