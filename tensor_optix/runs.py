"""A run of the command line as data: what `train` wrote to `run.json`, and the pipelines that belong to it."""

import itertools
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Self

import gymnasium as gym
import msgspec
import numpy as np

import tensor_optix
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.storage.atomic import encode_json, replace_file, storage_errors
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError, did_you_mean
from tensor_optix.factory import ALGORITHMS, hyperparam_table, make_agent
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.own_code import code_of
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.support.arguments import Default
from tensor_optix.support.schemas import checked, decode_object

RUN_FORMAT = 3
MAX_BYTES = 1 << 20
MAX_HIDDEN_WEIGHTS = 1 << 26
"""Weights between the hidden layers that a file may ask for: a quarter of a GiB."""


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """What makes a run, apart from the code."""

    env: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of the environment."""
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
    validation_share: float | None = None
    """Share of all steps that validation may take; None = no bound."""
    max_episodes: int | None = None
    """Windows at most."""
    max_steps: int | None = None
    """Training steps, after which the run ends with the window in progress."""
    target_score: float | None = None
    """The run ends when a confirmed score reaches it."""
    base_interval: int = 1
    max_interval: int = 100
    plateau_threshold: int = 5
    dormant_threshold: int = 20
    scaled_patience: bool = False
    """True if the patience grows with the scale of the task, and the thresholds are its floors."""
    escape: bool = False
    """True if escapes are tried before the run converges."""
    evolve: int = 0
    """Variants that may be spawned."""
    threads: int = 1

    def agent(self, number: int = 0) -> BaseAgent:
        """Build the agent of the run, untrained; or, from 1 on, one like it for a variant."""
        seed = self.seed if number == 0 else int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        env = self.environment()
        agent = make_agent(
            env,
            self.algorithm,
            self.framework,
            hyperparams=self.hyperparams or None,
            seed=seed,
            net_arch=self.net_arch,
        )
        env.close()
        return agent

    def environment(self) -> gym.Env:
        """Return a new environment of the run."""
        return make_environment(self.env, self.env_kwargs)

    def optimizer(self, run_dir: Path, *, resume: bool, progress: bool) -> RLOptimizer:
        """Build everything, wired together."""
        agent = self.agent()
        threshold = Default if self.scaled_patience else int
        made = RLOptimizer(
            agent=agent,
            pipeline=self.pipeline(),
            tuning=self.tuning,
            checkpoint_dir=run_dir,
            max_windows=self.max_episodes,
            max_steps=self.max_steps,
            target_score=self.target_score,
            base_interval=self.base_interval,
            max_interval_episodes=threshold(self.max_interval),
            plateau_threshold=self.plateau_threshold,
            dormant_threshold=threshold(self.dormant_threshold),
            val_episodes=self.val_episodes,
            validation_share=self.validation_share,
            callbacks=self._evolution(run_dir, agent),
            escape=self.escape,
            resume=resume,
            seed=self.seed,
            progress=progress,
        )
        made.described = None  # `write` says more
        return made

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
                self.environment if self.env_kwargs else self.env,
                window_size=self.window_size,
                normalize_observations=self.normalize_observations,
                normalize_rewards=self.normalize_rewards,
            )
        return VectorBatchPipeline(
            [self.environment] * self.n_envs if self.env_kwargs else (self.env, self.n_envs),
            window_size=max(self.window_size // self.n_envs, 1),
            async_envs=self.async_envs,
            normalize_observations=self.normalize_observations,
            normalize_rewards=self.normalize_rewards,
        )

    def write(self, run_dir: Path) -> None:
        """Write `run.json`.

        Raises:
            InvalidArgumentError: a value that `read` would refuse.
        """
        run = {"format": RUN_FORMAT, "version": tensor_optix.__version__, **asdict(self)}
        try:
            _check_means(checked(_RunFile, run, "The run"), "The run")
        except CheckpointCorruptError as error:
            raise InvalidArgumentError(str(error)) from error
        with storage_errors("write", run_dir):
            replace_file(run_dir / DESCRIPTION, encode_json(run))

    @classmethod
    def read(cls, run_dir: Path, allow_modules: Collection[str] = ()) -> Self:
        """Read what `write` wrote; a file is not trusted to name a module to import.

        Args:
            run_dir: the folder of the run.
            allow_modules: modules and files that the name of the environment may import all the same, such as
                `"my_envs"` in `"my_envs:Env-v0"`.

        Raises:
            CheckpointCorruptError: it is missing, damaged, or has a value out of its bounds.
            InvalidArgumentError: its environment would import a module that is not allowed.
        """
        path = run_dir / DESCRIPTION
        return cls.from_file(read_plain(path, MAX_BYTES), str(path), allow_modules)

    @classmethod
    def from_file(cls, content: bytes, path: str, allow_modules: Collection[str] = ()) -> Self:
        """Return the run that the content of a `run.json` describes; see `read`."""
        run = decode_object(content, path)
        if type(run.get("format")) is not int or run["format"] != RUN_FORMAT:
            raise CheckpointCorruptError(f"{path} has format {run.get('format')!r}, not {RUN_FORMAT}.")
        file = checked(_RunFile, run, f"{path} is not as train wrote it")
        _check_means(file, path)
        module = code_of(file.env)
        if module is not None and module not in allow_modules:
            raise InvalidArgumentError(
                f"{path} names the environment {file.env!r}, which would import the module {module!r}. If you trust "
                f"it, allow it: --allow-module {module}, or RunDescription.read(run_dir, allow_modules=[{module!r}])."
            )
        return cls(**{one.name: getattr(file, one.name) for one in fields(cls)})


_ENV = r"^([A-Za-z0-9_.:/-]{1,256}|[\w .:/\\+@~()-]{1,512}\.py:[A-Za-z0-9_./-]{1,256})\Z"
"""An id, or the place of an environment in a file."""
_Number = int | Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
_Size = Annotated[int, msgspec.Meta(ge=1, le=2**24)]


class _RunFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `run.json` holds, within bounds that no run comes near."""

    format: int
    version: Annotated[str, msgspec.Meta(max_length=64)]
    env: Annotated[str, msgspec.Meta(pattern=_ENV)]
    env_kwargs: dict[Annotated[str, msgspec.Meta(max_length=64)], Any] = {}
    algorithm: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}\Z")]
    framework: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}\Z")]
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    net_arch: Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=2**16)]], msgspec.Meta(max_length=64)] | None
    window_size: _Size
    n_envs: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    async_envs: bool
    normalize_observations: bool
    normalize_rewards: bool
    hyperparams: dict[Annotated[str, msgspec.Meta(max_length=64)], _Number]
    tuning: bool
    val_episodes: _Size
    validation_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    max_episodes: _Size | None
    max_steps: Annotated[int, msgspec.Meta(ge=1, le=2**62)] | None = None
    target_score: _Number | None = None
    base_interval: _Size
    max_interval: _Size
    plateau_threshold: _Size
    dormant_threshold: _Size
    scaled_patience: bool = False
    escape: bool = False
    evolve: Annotated[int, msgspec.Meta(ge=0, le=2**16)]
    threads: Annotated[int, msgspec.Meta(ge=1, le=256)]


def _check_means(file: _RunFile, where: str) -> None:
    """Refuse a network too large for any run, and hyper-parameters that the algorithm does not have."""
    weights = sum(a * b for a, b in itertools.pairwise(file.net_arch or []))
    if weights > MAX_HIDDEN_WEIGHTS:
        raise CheckpointCorruptError(
            f"{where}: net_arch asks for {weights} weights between hidden layers, but a run of the command line "
            f"has at most {MAX_HIDDEN_WEIGHTS}. Build a larger agent in Python."
        )
    known = hyperparam_table(file.algorithm) if file.algorithm in ALGORITHMS else file.hyperparams
    for name in file.hyperparams:
        if name not in known:
            raise CheckpointCorruptError(
                f"{where}: {file.algorithm} has no hyper-parameter {name!r}.{did_you_mean(name, known)}"
            )
