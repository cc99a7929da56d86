"""A run of the command line as data: what `train` wrote to `run.json`, and the pipelines that belong to it."""

import itertools
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

import tensor_optix
from tensor_optix.core._atomic import encode_json, read_json, replace_file, storage_errors
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.search_space import is_real
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError
from tensor_optix.factory import make_agent
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline

RUN_FORMAT = 3
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
    hyperparams: dict[str, float] = field(default_factory=dict)
    """Those that were set; the others take their defaults."""
    tuning: bool = True
    val_episodes: int = 5
    max_episodes: int | None = None
    base_interval: int = 1
    max_interval: int = 100
    plateau_threshold: int = 5
    dormant_threshold: int = 20
    evolve: int = 0
    """Variants that may be spawned."""
    threads: int = 1

    def agent(self, number: int = 0) -> BaseAgent:
        """Build the agent of the run, untrained; or, from 1 on, one like it for a variant."""
        seed = self.seed if number == 0 else int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        return make_agent(
            self.env,
            self.algorithm,
            self.framework,
            hyperparams=self.hyperparams or None,
            seed=seed,
            net_arch=self.net_arch,
        )

    def optimizer(self, run_dir: Path, *, resume: bool, progress: bool) -> RLOptimizer:
        """Build everything, wired together."""
        agent = self.agent()
        return RLOptimizer(
            agent=agent,
            pipeline=self.pipeline(),
            optimizer=None if self.tuning else BackoffOptimizer({}),
            checkpoint_dir=run_dir,
            max_episodes=self.max_episodes,
            base_interval=self.base_interval,
            max_interval_episodes=self.max_interval,
            plateau_threshold=self.plateau_threshold,
            dormant_threshold=self.dormant_threshold,
            val_episodes=self.val_episodes,
            callbacks=self._evolution(run_dir, agent),
            resume=resume,
            seed=self.seed,
            progress=progress,
        )

    def _evolution(self, run_dir: Path, agent: BaseAgent) -> list[LoopCallback]:
        """Return the callback of evolution, or none; it prints nothing, the report of the run tells it."""
        manager = PolicyManager(CheckpointRegistry(run_dir), max_spawns=self.evolve, seed=self.seed)
        if not self.evolve:
            return []
        numbers = itertools.count(1)
        callback = manager.as_callback(agent, agent_factory=lambda: self.agent(next(numbers)))
        callback.printer = None
        return [callback]

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
        for one in fields(cls):
            if not _is_kind(run.get(one.name), one.type):
                raise CheckpointCorruptError(
                    f"{path} does not name {one.name} as train wrote it: it has {run.get(one.name)!r}."
                )
        if ":" in run["env"]:
            raise InvalidArgumentError(
                f"{path} names the environment {run['env']!r}, which would import a module. Evaluate it from Python."
            )
        return cls(**{one.name: run[one.name] for one in fields(cls)})


def _is_kind(value: Any, kind: Any) -> bool:
    if kind == dict[str, float]:
        return isinstance(value, dict) and all(is_real(number) for number in value.values())
    if kind == int | None:
        return value is None or _is_kind(value, int)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind in (str, bool):
        return isinstance(value, kind)
    return value is None or (isinstance(value, list) and all(_is_kind(item, int) for item in value))
