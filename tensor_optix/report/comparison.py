"""Many runs side by side: what each came to, in which group it is, and in what their configurations differ."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.storage.line_log import MULTIRUN, RUN_ID
from tensor_optix.errors import InvalidArgumentError, did_you_mean
from tensor_optix.report.rendering import plain
from tensor_optix.report.run_data import RunData

DEFAULT_GROUP_BY = ("algorithm",)
UNNAMED = "made in Python"
"""The algorithm of a run whose agent the command line does not know."""
FOLDER = "folder"
"""Groups runs by the folder that theirs is in."""
NOT_SET, DEFAULT = "-", "default"
_LEFT_OUT = frozenset({"seed", "format", "env", "env_kwargs", RUN_ID})
"""Of a configuration: what no group is told apart by, or what the environment says already."""
_HYPERPARAMS = "hyperparams."
_DEEPEST = 3
"""Folders in a folder in which runs are looked for, where none are nearer: those of a search."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run among others."""

    data: RunData
    group: str
    """The runs with which it is averaged, within its environment."""

    @property
    def name(self) -> str:
        """Its folder, as it was given."""
        return str(self.data.run_dir)

    @property
    def environment(self) -> str:
        """What it was trained on, with the arguments."""
        return environment_of(self.data)

    @property
    def seed(self) -> str:
        """Its seed; `-` where that is not known."""
        return plain(self.data.description.get("seed", NOT_SET))

    @property
    def score(self) -> float:
        """The score of its best policy; NaN where there is none."""
        if self.data.report is not None:
            return self.data.report.best_score
        best = self.data.history[-1].best_score if self.data.history else None
        return math.nan if best is None else best

    @property
    def start_score(self) -> float:
        """The score of its untrained policy; NaN where that is not known."""
        return math.nan if self.data.report is None else self.data.report.start_score

    @property
    def steps(self) -> int:
        """Its training steps."""
        if self.data.report is not None:
            return self.data.report.env_steps
        return self.data.history[-1].env_steps if self.data.history else 0

    @property
    def best_steps(self) -> int | None:
        """Training steps after which its best was found; None where that is not known."""
        window = None if self.data.report is None else self.data.report.best_window
        found = [] if window is None else [r.env_steps for r in self.data.history if r.window_id <= window]
        return found[-1] if found else None

    @property
    def seconds(self) -> float:
        """Its wall time so far."""
        if self.data.report is not None:
            return self.data.report.seconds.get("total", math.nan)
        return 3600.0 * max(self.data.hours.values(), default=math.nan)

    @property
    def end(self) -> str:
        """Why it ended, in words."""
        return "running" if self.data.report is None else StopReason(self.data.report.reason).sentence

    @property
    def is_confirmed(self) -> bool:
        """Whether its best was tested on fresh episodes after the training."""
        return self.data.report is not None and self.data.report.confirmed

    @property
    def lower_is_better(self) -> bool:
        """Whether its evaluator prefers lower scores."""
        return any(record.eval_metrics.lower_is_better for record in self.data.history[-1:])

    def curve(self) -> list[tuple[int, float]]:
        """Return steps and score of each evaluation."""
        usable = (record for record in self.data.history if record.eval_metrics.is_usable)
        return [(record.env_steps, record.eval_metrics.primary_score) for record in usable]

    @cached_property
    def configuration(self) -> Mapping[str, str]:
        """What it was run with, by name."""
        return configuration_of(self.data)

    def to_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        values = {
            "run_dir": self.name,
            "environment": self.environment,
            "group": self.group,
            "seed": self.data.description.get("seed"),
            "score": self.score,
            "confirmed": self.is_confirmed,
            "steps": self.steps,
            "best_steps": self.best_steps,
            "seconds": self.seconds,
            "end": self.end,
            "damaged": dict(self.data.damaged),
        }
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting in which the runs differ."""

    name: str
    values: Mapping[str, str]
    """By group, those of its runs."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side."""

    runs: Sequence[ComparedRun]
    group_by: Sequence[str] = DEFAULT_GROUP_BY
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why a folder is not among them, by its name."""

    @classmethod
    def read(cls, run_dirs: Sequence[Path], group_by: Sequence[str] = DEFAULT_GROUP_BY) -> Self:
        """Read runs; a folder that is none is left out, and that is told.

        Args:
            run_dirs: folders of runs, or folders that hold some.
            group_by: names of the settings by which runs of one environment are told apart; `folder` is the one that
                a run's is in.

        Raises:
            InvalidArgumentError: no folder is a run, or a name that no run has.
        """
        found: dict[Path, RunData] = {}
        refused: dict[str, str] = {}
        for run_dir in run_dirs:
            try:
                found |= {one.run_dir.resolve(): one for one in _runs_in(run_dir) if one.run_dir.resolve() not in found}
            except InvalidArgumentError as error:
                refused[str(run_dir)] = str(error)
        if not found:
            raise InvalidArgumentError(" ".join(refused.values()) or "Give at least one run directory.")
        names = _full_names(group_by, list(found.values()))
        runs = [ComparedRun(data=data, group=_group(data, names)) for data in found.values()]
        return cls(runs=runs, group_by=tuple(group_by), refused=refused)

    @cached_property
    def environments(self) -> list[str]:
        """What the runs were trained on, each once."""
        return list(dict.fromkeys(run.environment for run in self.runs))

    @cached_property
    def groups(self) -> list[str]:
        """The groups, each once."""
        return sorted(dict.fromkeys(run.group for run in self.runs))

    def of(self, environment: str, group: str) -> list[ComparedRun]:
        """Return the runs of a group on an environment."""
        return [run for run in self.runs if (run.environment, run.group) == (environment, group)]

    def differences(self) -> list[Difference]:
        """Return the settings in which the runs differ."""
        names = sorted({name for run in self.runs for name in run.configuration})
        return [
            Difference(name=name, values={group: self._values(name, group) for group in self.groups})
            for name in names
            if len({setting(run.configuration, name) for run in self.runs}) > 1
        ]

    def _values(self, name: str, group: str) -> str:
        runs = [run for run in self.runs if run.group == group]
        return ", ".join(sorted({setting(run.configuration, name) for run in runs}))


def environment_of(data: RunData) -> str:
    """Return what a run was trained on, with the arguments; the name of its folder where that is not known."""
    arguments = data.description.get("env_kwargs")
    return f"{data.name} {json.dumps(arguments, sort_keys=True)}" if arguments else data.name


def configuration_of(data: RunData) -> dict[str, str]:
    """Return what a run was run with, by name: its description, the versions and the processor."""
    described = {name: value for name, value in data.description.items() if name not in _LEFT_OUT}
    return {
        "algorithm": UNNAMED,
        **dict(_flat(described)),
        **dict(_flat({name: value for name, value in data.environment.items() if name != "command"})),
    }


def setting(configuration: Mapping[str, str], name: str) -> str:
    """Return a setting as text; a hyper-parameter that was not set has its default."""
    return configuration.get(name, DEFAULT if name.startswith(_HYPERPARAMS) else NOT_SET)


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", plain(value)


def _runs_in(run_dir: Path) -> list[RunData]:
    """Return the run in a folder, or else those in the folders that it holds."""
    try:
        return [RunData.read(run_dir)]
    except InvalidArgumentError:
        folders = [run_dir]
        for _ in range(_DEEPEST):  # the runs of a search lie deeper than those of several seeds
            folders = [path for folder in folders for path in _folders_in(folder)]
            if found := [data for folder in folders for data in _one_or_seeds(folder)]:
                return found
        raise


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _one_or_seeds(folder: Path) -> Iterator[RunData]:
    """Yield the run in a folder, or those of one that holds a run of several seeds."""
    inside = _folders_in(folder) if (folder / MULTIRUN).exists() else ()
    for path in (folder, *inside):
        with contextlib.suppress(InvalidArgumentError):
            yield RunData.read(path)


def _group(data: RunData, names: Mapping[str, str]) -> str:
    """Return the group of a run, given the full name of each setting by the name that was asked for."""
    configuration = configuration_of(data)
    values = {name: setting(configuration, full) for name, full in names.items()}
    if FOLDER in values:
        values[FOLDER] = data.run_dir.resolve().parent.name
    if len(values) == 1 and {*values} <= {*DEFAULT_GROUP_BY, FOLDER}:
        return next(iter(values.values()))
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _full_names(group_by: Sequence[str], runs: Sequence[RunData]) -> dict[str, str]:
    """Return the full names of settings; a hyper-parameter may be called by its own."""
    known = {FOLDER, *(name for data in runs for name in configuration_of(data))}
    short = {name.removeprefix(_HYPERPARAMS): name for name in known if name.startswith(_HYPERPARAMS)}
    for name in group_by:
        if name not in known and name not in short:
            nearest = did_you_mean(name, {*known, *short})
            raise InvalidArgumentError(f"No run has a setting {name!r} to group by.{nearest}")
    return {name: name if name in known else short[name] for name in group_by}
