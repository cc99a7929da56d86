"""A run of the command line as data: what `train` wrote to `run.json`, and the pipelines that belong to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import tensor_optix
from tensor_optix.core._atomic import encode_json, read_json, replace_file, storage_errors
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError
from tensor_optix.factory import make_agent
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline

RUN_FORMAT = 2
FILE = "run.json"


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """What makes a run, apart from the code."""

    env: str
    algorithm: str
    framework: str
    seed: int
    net_arch: list[int] | None = None
    """None = the preset's."""
    window_size: int = 2048
    """Steps per window, over all environments."""
    n_envs: int = 1
    async_envs: bool = False
    normalize_observations: bool = False
    normalize_rewards: bool = False

    def agent(self, hyperparams: Mapping[str, Any] | None = None) -> BaseAgent:
        """Build the agent of the run, untrained."""
        return make_agent(
            self.env, self.algorithm, self.framework, hyperparams=hyperparams, seed=self.seed, net_arch=self.net_arch
        )

    def pipeline(self) -> BatchPipeline | VectorBatchPipeline:
        """Build its training pipeline."""
        if self.n_envs == 1:
            return BatchPipeline(
                self.env,
                window_size=self.window_size,
                normalize_observations=self.normalize_observations,
                normalize_rewards=self.normalize_rewards,
            )
        return VectorBatchPipeline(
            (self.env, self.n_envs),
            window_size=max(self.window_size // self.n_envs, 1),
            async_envs=self.async_envs,
            normalize_observations=self.normalize_observations,
            normalize_rewards=self.normalize_rewards,
        )

    def write(self, run_dir: Path) -> None:
        """Write `run.json`."""
        run = {"format": RUN_FORMAT, "version": tensor_optix.__version__, **asdict(self)}
        with storage_errors("write", run_dir):
            replace_file(run_dir / FILE, encode_json(run))

    @classmethod
    def read(cls, run_dir: Path) -> Self:
        """Read what `write` wrote; a file is not trusted to name a module to import.

        Raises:
            CheckpointCorruptError: it is missing or damaged.
            InvalidArgumentError: its environment would import a module.
        """
        path = run_dir / FILE
        run = read_json(path)
        if run.get("format") != RUN_FORMAT:
            raise CheckpointCorruptError(f"{path} has format {run.get('format')!r}, not {RUN_FORMAT}.")
        for field in fields(cls):
            if not _is_kind(run.get(field.name), field.type):
                raise CheckpointCorruptError(
                    f"{path} does not name {field.name} as train wrote it: it has {run.get(field.name)!r}."
                )
        if ":" in run["env"]:
            raise InvalidArgumentError(
                f"{path} names the environment {run['env']!r}, which would import a module. Evaluate it from Python."
            )
        return cls(**{field.name: run[field.name] for field in fields(cls)})


def _is_kind(value: Any, kind: Any) -> bool:
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind in (str, bool):
        return isinstance(value, kind)
    return value is None or (isinstance(value, list) and all(_is_kind(item, int) for item in value))
