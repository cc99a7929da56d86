"""A run of the command line as data: what `train` wrote to `run.json`, and the pipelines that belong to it."""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import gymnasium as gym
import msgspec
import numpy as np

import tensor_optix
from tensor_optix._run_agents import RunAgents
from tensor_optix._run_ids import run_id_in
from tensor_optix._run_settings import RunSettings
from tensor_optix._settings import file_schema
from tensor_optix.algorithms._off_policy_agent import learn_beside
from tensor_optix.callbacks.trackers.choosing import trackers_of
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline, PlaysAhead
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.storage.atomic import encode_json, replace_file, storage_errors
from tensor_optix.core.storage.line_log import DESCRIPTION, RUN_ID
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError, did_you_mean
from tensor_optix.factory import ALGORITHMS, hyperparam_table, make_agent
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.own_code import code_of
from tensor_optix.pipeline.environment.wrapping import WrapperPlace
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.support.arguments import Default
from tensor_optix.support.schemas import checked, decode_object

RUN_FORMAT = 3
MAX_BYTES = 1 << 20
MAX_HIDDEN_WEIGHTS = 1 << 26
"""Weights between the hidden layers that a file may ask for: a quarter of a GiB."""


@dataclass(frozen=True, kw_only=True)
class RunDescription(RunSettings):
    """What makes a run, apart from the code: its settings, and what is built from them."""

    def agent(self, number: int = 0, *, algorithm: str | None = None) -> BaseAgent:
        """Build the agent of the run, untrained.

        Args:
            number: 0, or from 1 on that of a variant like it.
            algorithm: another one than that of the run, with its own preset; None = that of the run.
        """
        root = [self.seed, number] if algorithm is None else [self.seed, number, 1 + ALGORITHMS.index(algorithm)]
        seed = self.seed if root == [self.seed, 0] else int(np.random.SeedSequence(root).generate_state(1)[0])
        env = self.environment()
        agent = make_agent(
            env,
            algorithm or self.algorithm,
            self.framework,
            hyperparams=(self.hyperparams or None) if algorithm is None else None,
            seed=seed,
            net_arch=self.net_arch,
            cell=self.cell,
            device=self.device,
        )
        env.close()
        if self.learn_beside == "on":
            learn_beside(agent)  # another algorithm, as of an escape, may have to learn at once
        return agent

    def environment(self, **more: object) -> gym.Env:
        """Return a new environment of the run, made with some more arguments."""
        return make_environment(self.env, {**self.env_kwargs, **more}, self.wrappers)

    @property
    def modules(self) -> list[str]:
        """Modules and files that the names of its environment and wrappers import, Gymnasium's own left out."""
        return modules_of(self.env, self.wrappers)

    @property
    def _is_of_an_id(self) -> bool:
        return not self.env_kwargs and not self.wrappers

    def optimizer(
        self,
        run_dir: Path,
        *,
        resume: bool,
        progress: bool,
        report: bool = False,
        callbacks: Sequence[LoopCallback] = (),
        begin: Callable[[BaseAgent, BasePipeline], object] | None = None,
        player: PlaysAhead | None = None,
        agent: BaseAgent | None = None,
    ) -> RLOptimizer:
        """Build everything, wired together.

        Args:
            run_dir: the folder of the run.
            resume: go on with the run in it, where there is one.
            progress: True for a live view.
            report: True to write the page of the run at its end.
            callbacks: who else observes.
            begin: gives agent and pipeline the trained policy to begin with; None = the run begins untrained.
            player: plays validation beside training; None = nobody does.
            agent: the agent of the run, where it is built already.
        """
        agent, pipeline = self.agent() if agent is None else agent, self.pipeline()
        if begin is not None:
            begin(agent, pipeline)
        threshold = Default if self.scaled_patience else int
        made = RLOptimizer(
            agent=agent,
            pipeline=pipeline,
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
            callbacks=[*self._evolution(run_dir, agent), *trackers_of(self.track, self.track_names), *callbacks],
            escape=self.escape,
            resume=resume,
            seed=self.seed,
            progress=progress,
            report=report,
            pretrained=begin is not None,
            player=player,
            agents=RunAgents(self) if self.escape and not self.evolve else None,
        )
        made.described = None  # `write` says more
        made.allow_module = "\n".join(self.modules)
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
                self.env if self._is_of_an_id else self.environment,
                window_size=self.window_size,
                isolate=self.isolate,
                step_timeout=self.step_timeout,
                max_worker_rss=self.max_worker_rss,
                normalize_observations=self.normalize_observations,
                normalize_rewards=self.normalize_rewards,
            )
        return VectorBatchPipeline(
            (self.env, self.n_envs)
            if self._is_of_an_id
            else [partial(make_environment, self.env, self.env_kwargs, self.wrappers)] * self.n_envs,
            window_size=max(self.window_size // self.n_envs, 1),
            async_envs=self.async_envs,
            step_timeout=self.step_timeout,
            max_worker_rss=self.max_worker_rss,
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
        run[RUN_ID] = run_id_in(run_dir)
        with storage_errors("write", run_dir):
            replace_file(run_dir / DESCRIPTION, encode_json(run))

    @classmethod
    def read(cls, run_dir: Path, allow_modules: Collection[str] = ()) -> Self:
        """Read what `write` wrote; a file is not trusted to name a module to import.

        Args:
            run_dir: the folder of the run.
            allow_modules: modules and files that the names of the environment and of wrappers may import all the
                same, such as `"my_envs"` in `"my_envs:Env-v0"`.

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
        run.pop(RUN_ID, None)
        if type(run.get("format")) is not int or run["format"] != RUN_FORMAT:
            raise CheckpointCorruptError(f"{path} has format {run.get('format')!r}, not {RUN_FORMAT}.")
        file = checked(_RunFile, run, f"{path} is not as train wrote it")
        _check_means(file, path)
        made = cls(**{one.name: getattr(file, one.name) for one in fields(cls)})
        for module in made.modules:
            if module not in allow_modules:
                is_env = module == code_of(made.env)
                named = f"the environment {made.env!r}" if is_env else f"a wrapper of {module!r}"
                raise InvalidArgumentError(
                    f"{path} names {named}, which would import the module {module!r}. If you trust it, allow it: "
                    f"--allow-module {module}, or RunDescription.read(run_dir, allow_modules=[{module!r}])."
                )
        return made


def modules_of(env: str, wrappers: Sequence[str]) -> list[str]:
    """Return the modules and files that the names of an environment and of wrappers import, but for Gymnasium's own.

    Raises:
        InvalidArgumentError: what names no wrapper.
    """
    places = [place for text in wrappers if not (place := WrapperPlace.of(text)).is_gymnasiums]
    codes = [code_of(env), *(place.code for place in places)]
    return list(dict.fromkeys(code for code in codes if code is not None))


_RunFile = file_schema(RunSettings, format=int, version=Annotated[str, msgspec.Meta(max_length=64)])
"""What `run.json` holds, within bounds that no run comes near."""


def _check_means(file: Any, where: str) -> None:
    """Refuse a network too large for any run, and hyper-parameters that the algorithm does not have."""
    weights = sum(a * b for a, b in itertools.pairwise(file.net_arch or []))
    if weights > MAX_HIDDEN_WEIGHTS:
        raise CheckpointCorruptError(
            f"{where}: net_arch asks for {weights} weights between hidden layers, but a run of the command line "
            f"has at most {MAX_HIDDEN_WEIGHTS}. Build a larger agent in Python."
        )
    for text in file.wrappers:
        try:
            WrapperPlace.of(text)
        except InvalidArgumentError as error:
            raise CheckpointCorruptError(f"{where}: {error}") from error
    known = hyperparam_table(file.algorithm) if file.algorithm in ALGORITHMS else file.hyperparams
    for name in file.hyperparams:
        if name not in known:
            raise CheckpointCorruptError(
                f"{where}: {file.algorithm} has no hyper-parameter {name!r}.{did_you_mean(name, known)}"
            )
