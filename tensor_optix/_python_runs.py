"""`run.json` of a run that was made in Python: what the command line needs to play its policy, and what it lacks.

The policy itself is in the snapshots (`load_policy`). What is added is the environment, as far as it has a name that
another process can look up, and the evaluator, whose scores only the program that has it can confirm.
"""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import msgspec

from tensor_optix._run_ids import run_id_in
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.storage.atomic import encode_json, replace_file, storage_errors
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointStorageError, InvalidArgumentError
from tensor_optix.pipeline.environment.own_code import code_of
from tensor_optix.pipeline.environment.settings import settings_of
from tensor_optix.support.schemas import checked, decode_object

logger = logging.getLogger(__name__)

RUN_FORMAT = 3
"""The same as of a run of the command line, beside which a program can tell them apart by `made_in`."""
_MAX_BYTES = 1 << 20
_PYTHON = "python"


class PythonRun(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `run.json` says of a run that was made in Python."""

    format: int
    made_in: Annotated[str, msgspec.Meta(max_length=16)]
    env: Annotated[str, msgspec.Meta(max_length=1024)] | None
    """Id or place of the environment; None where it has no name."""
    env_kwargs: dict[Annotated[str, msgspec.Meta(max_length=64)], object] = {}
    what: Annotated[str, msgspec.Meta(max_length=256)]
    """The environment in words, for the message where it has no name."""
    evaluator: Annotated[str, msgspec.Meta(max_length=256)] | None
    """The evaluator; None = episodes are scored by their returns, which the command line can do."""
    parts: dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=1024)]] = {}
    """What the run is made of besides, by its role: classes that only the program that made the run has."""
    settings: dict[Annotated[str, msgspec.Meta(max_length=512)], Annotated[str, msgspec.Meta(max_length=16)]] = {}
    """Of the environment, when the run began; see `settings_of`."""

    run_id: Annotated[str, msgspec.Meta(max_length=64)] = ""

    @property
    def allow_module(self) -> str:
        """Module or file that the environment's name imports; empty for none."""
        return code_of(self.env or "") or ""

    @property
    def is_confirmable(self) -> bool:
        """True if the command line can play its best policy again, and score it as the run did."""
        return self.env is not None and self.evaluator is None


def describe_run(pipeline: BasePipeline, evaluator: BaseEvaluator, **parts: object) -> PythonRun:
    """Return what `run.json` says of a run.

    Args:
        pipeline: where it acts.
        evaluator: what scores it.
        parts: what it is made of besides, by role; one each, or a sequence.
    """
    plain = type(evaluator) is EpisodeReturnEvaluator and evaluator.scores_returns
    env: object = getattr(pipeline, "env", None)
    return PythonRun(
        format=RUN_FORMAT,
        made_in=_PYTHON,
        env=getattr(pipeline, "env_name", None),
        env_kwargs=dict(getattr(pipeline, "env_kwargs", {})),
        what=type(pipeline if env is None else getattr(env, "unwrapped", env)).__name__,
        evaluator=None if plain else type(evaluator).__name__,
        parts={role: named for role, part in {"pipeline": pipeline, **parts}.items() if (named := _classes(part))},
    )


def _classes(part: object) -> str:
    listed = part if isinstance(part, list | tuple) else [] if part is None else [part]
    return ", ".join(type(one).__name__ for one in listed)[:1024]


def with_settings(run: PythonRun, env: object) -> PythonRun:
    """Return the description with the settings of the environment as they are now; none where it has no name."""
    return msgspec.structs.replace(run, settings=settings_of(env) if run.env is not None else {})


def write_python_run(run_dir: Path, run: PythonRun) -> None:
    """Write `run.json`; where the storage refuses, a warning says so: the training does not need it.

    A run that is there already, as one that is resumed, keeps its id.
    """
    run = msgspec.structs.replace(run, run_id=run_id_in(run_dir))
    try:
        with storage_errors("write", run_dir):
            replace_file(run_dir / DESCRIPTION, encode_json(msgspec.to_builtins(run)))
    except CheckpointStorageError as error:
        logger.warning("The command line will not know this run: %s", error)


def read_python_run(run_dir: Path) -> PythonRun | None:
    """Return what `run.json` says of a run that was made in Python, None for one of the command line, or none at all.

    Raises:
        CheckpointCorruptError: it is damaged.
    """
    path = run_dir / DESCRIPTION
    if not path.exists():
        return None
    data = decode_object(read_plain(path, _MAX_BYTES), str(path))
    if data.get("made_in") != _PYTHON:
        return None
    return checked(PythonRun, data, f"{path} is not as a run wrote it")


def environment_of(run: PythonRun, run_dir: Path, allow_modules: Collection[str]) -> tuple[str, dict[str, object]]:
    """Return the name and the arguments of a run's environment.

    Raises:
        InvalidArgumentError: it has no name, or one that would import what is not allowed.
    """
    if run.env is None:
        raise InvalidArgumentError(
            f"{str(run_dir)!r} was made in Python, on an environment that has no name to make it by ({run.what}). "
            f"Evaluate it there, with tensor_optix.load_policy({str(run_dir)!r}); or register the environment, or put "
            f"it into a module of its own."
        )
    if run.allow_module and run.allow_module not in allow_modules:
        raise InvalidArgumentError(
            f"{str(run_dir)!r} was made on {run.env!r}, which would import {run.allow_module!r}. If you trust it, "
            f"allow it: --allow-module {run.allow_module}."
        )
    return run.env, run.env_kwargs
