"""The facade: everything with its defaults, wired together."""

import dataclasses
import os
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tensor_optix.callbacks.progress import Progress
from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent, Seedable, can_be_greedy
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline, Validates
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.drift import DriftDetector
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.decisions.succession import Successor
from tensor_optix.core.decisions.validation_budget import ValidationBudget
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.parts import LoopConfig, LoopParts, LoopStatus
from tensor_optix.core.loop_callback import LoopCallback, checked_callbacks
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.storage.atomic import sole_run
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.storage.run_keeper import RunKeeper
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import jsonable
from tensor_optix.errors import ContractError, InvalidArgumentError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tensor_optix.support.arguments import Default, check_count, check_seed


class RLOptimizer:
    """Trains an agent until it is trained.

        report = RLOptimizer(agent=agent, pipeline=pipeline).run()

    Args:
        agent: who acts and learns.
        pipeline: where experience comes from.
        val_pipeline: `"auto"` plays `val_episodes` whole greedy episodes per evaluation in copies of the environment;
            a pipeline of your own is asked for one window per evaluation; None scores the training windows.
        evaluator: scores windows; None = `EpisodeReturnEvaluator`.
        optimizer: tunes hyper-parameters; None = `BackoffOptimizer` over the agent's `default_param_bounds`.
        checkpoint_dir: for snapshots and history. What an earlier run left is moved to `previous_<n>/`, unless resumed.
        max_snapshots: how many of the newest snapshots are kept, beside the best and as many (up to 12) in reserve.
        rollback_on_degradation: restore the best weights when the score has degraded.
        improvement_margin: by how much the best must be beaten, in units of the score.
        max_episodes: windows at most; None = until DORMANT.
        base_interval: windows between evaluations while learning.
        backoff_factor: growth of that interval on a plateau.
        max_interval_episodes: its cap. Set by hand, it and `dormant_threshold` are obeyed to the letter.
        plateau_threshold: evaluations without improvement until COOLING.
        dormant_threshold: evaluations without improvement until DORMANT: trained. Set by hand, it is the whole rule;
            by default it is the least that is waited for, as the patience grows with the scale of the task
            (`decisions.patience`), and the pipeline's `reward_threshold` and `max_return` count.
        degradation_threshold: share of the best score that must be held.
        callbacks: who observes, with any of the hooks of `LoopCallback`; that of a `PolicyManager` connects itself.
        min_degradation_drop: smallest drop that counts as degradation, in units of the score.
        val_episodes: whole episodes per evaluation of the automatic validation.
        validation_share: of all steps, for validation and last tests; an evaluation that would take more is put off,
            and episodes that do not end are cut (`decisions.validation_budget`). None = no bound.
        on_converged: `"stop"`, `"watch"`, or `"auto"`: watch a live pipeline, stop any other.
        restore_best: give the agent the best weights when `run` ends.
        resume: go on with the run in `checkpoint_dir` from its last saved window, as if it had never stopped, instead
            of beginning a new one; where there is none, a new one begins. Everything else must be as it was.
        seed: seeds the agent, the pipeline, validation and tuning; a run repeats exactly.
        progress: True for a live view in the terminal.
        drift_detector: tells on watch that scores have fallen; None = `PageHinkley`. `RiverDetector` brings `river`'s.
        escape: try to escape from a local optimum before the run converges below what is known to be possible
            (`decisions.escapes`), at most 25 % of the steps; not with thresholds set by hand, evolution, or a watch.

    Raises:
        InvalidArgumentError: an argument out of its range, or thresholds in the wrong order.
        ContractError: an object that does not keep the contract of its role.
        HyperparamError: the optimizer's bounds name what the agent does not have.
        SpaceError, ModelShapeError: the agent does not fit the environment.
    """

    def __init__(
        self,
        agent: BaseAgent,
        pipeline: BasePipeline,
        val_pipeline: BasePipeline | Literal["auto"] | None = "auto",
        evaluator: BaseEvaluator | None = None,
        optimizer: BaseOptimizer | None = None,
        checkpoint_dir: str | os.PathLike[str] = "./checkpoints",
        max_snapshots: int = 10,
        rollback_on_degradation: bool = False,
        improvement_margin: float = 0.0,
        max_episodes: int | None = None,
        base_interval: int = 1,
        backoff_factor: float = 2.0,
        max_interval_episodes: int = Default(100),
        plateau_threshold: int = 5,
        dormant_threshold: int = Default(20),
        degradation_threshold: float = 0.95,
        callbacks: Sequence[LoopCallback] = (),
        *,
        min_degradation_drop: float = 0.0,
        val_episodes: int = 5,
        validation_share: float | None = 0.25,
        on_converged: Literal["auto", "stop", "watch"] = "auto",
        restore_best: bool = True,
        resume: bool = False,
        seed: int | None = None,
        progress: bool | None = None,
        drift_detector: DriftDetector | None = None,
        escape: bool = True,
    ) -> None:
        _check_contracts(agent=(agent, BaseAgent), pipeline=(pipeline, BasePipeline))
        callbacks = checked_callbacks(callbacks)
        check_count("val_episodes", val_episodes, 1)
        check_seed(seed)
        evaluator = evaluator if evaluator is not None else EpisodeReturnEvaluator()
        config = LoopConfig(
            scheduler=BackoffScheduler(
                base_interval=base_interval,
                backoff_factor=backoff_factor,
                max_interval=max_interval_episodes,
                plateau_threshold=plateau_threshold,
                dormant_threshold=dormant_threshold,
            ),
            patience=_patience((dormant_threshold, max_interval_episodes), pipeline, evaluator, int(val_episodes)),
            escapes=escape,
            validation=ValidationBudget(share=validation_share),
            max_episodes=max_episodes,
            improvement_margin=improvement_margin,
            degradation_threshold=degradation_threshold,
            min_degradation_drop=min_degradation_drop,
            rollback_on_degradation=rollback_on_degradation,
            on_converged=on_converged,
            restore_best=restore_best,
            final_evaluation=val_pipeline == "auto",
        )
        seeds = _child_seeds(seed, 5)
        _prepare(agent, pipeline, seeds[0], seeds[1])
        self._val_pipeline = _resolve_validation(val_pipeline, pipeline, agent, int(val_episodes), seeds[2])
        self.registry = CheckpointRegistry(checkpoint_dir, max_snapshots)
        self.registry.attach("pipeline", pipeline)
        self._keeper = RunKeeper(ResumeRing(self.registry.directory), time.perf_counter)
        parts = LoopParts(
            agent=agent,
            pipeline=pipeline,
            val_pipeline=self._val_pipeline,
            evaluator=evaluator,
            optimizer=optimizer if optimizer is not None else BackoffOptimizer(seed=seeds[3]),
            registry=self.registry,
            history=History(self.registry.directory / "history.jsonl"),
            drift_detector=drift_detector if drift_detector is not None else config.usual_detector(),
            keeper=self._keeper,
        )
        _check_contracts(
            evaluator=(parts.evaluator, BaseEvaluator),
            optimizer=(parts.optimizer, BaseOptimizer),
            drift_detector=(parts.drift_detector, DriftDetector),
        )
        parts.optimizer.bind(agent.default_param_bounds, agent.get_hyperparams())
        self._resume = resume
        watchers = [*callbacks, Progress(lambda: self.status)] if progress else callbacks
        self._controller = LoopController(parts, config, watchers)
        self._successors = [callback for callback in callbacks if isinstance(callback, Successor)]
        for successor in self._successors:
            successor.join_run(self.registry.attached, parts.optimizer.search_space, seeds[4])
        self._has_run = False

    def run(self) -> TrainingReport:
        """Train until DORMANT, `max_episodes`, `stop()`, Ctrl-C or SIGTERM, and return the report.

        When it returns, the agent holds the best weights (`restore_best`). A second call goes on with the same run, as
        far as `max_episodes` allows.

        Raises:
            CheckpointLockedError: another process, or another run of this one, uses `checkpoint_dir`.
            CheckpointStorageError: `checkpoint_dir` cannot be written.
            CheckpointMismatchError: the run to be resumed was begun with another agent or pipeline.
            CheckpointCorruptError: no saved state of the run to be resumed is intact.
            Exception: what the agent, a pipeline, the evaluator or the optimizer raised, after everything is saved.
        """
        with sole_run(self.registry.directory):
            self.registry.open()
            if not self._has_run:
                self._has_run = True
                if not (self._resume and self._keeper.resume(self._go_on_from)):
                    self.registry.archive()
            report = self._controller.run()
            for successor in self._successors:
                report = dataclasses.replace(report, evolution=successor.report())
            return report

    def _go_on_from(self, point: ResumePoint) -> None:
        self._controller.resume(point)
        self.registry.go_back_to(point.sequence)

    def stop(self) -> None:
        """End the run after the window in progress; may be called from a callback or another thread.

        Where no run is in progress, the next one ends before its first window.
        """
        self._controller.stop()

    @property
    def ended_by(self) -> int | None:
        """Number of the signal that ended the run; None if none did."""
        return self._controller.ended_by

    @property
    def status(self) -> LoopStatus:
        """Where the run stands."""
        return self._controller.status


def _prepare(agent: BaseAgent, pipeline: BasePipeline, agent_seed: int | None, pipeline_seed: int | None) -> None:
    """Seed both, refuse what cannot be saved now and not after the first window, and let the agent act."""
    jsonable(agent.get_hyperparams().params)
    for part, seed in ((agent, agent_seed), (pipeline, pipeline_seed)):
        if seed is not None and isinstance(part, Seedable) and callable(part.seed):
            part.seed(seed)
    _refuse_other_agent("pipeline", pipeline, agent)
    pipeline.agent = agent
    pipeline.setup()


def _patience(
    thresholds: Sequence[int], pipeline: BasePipeline, evaluator: BaseEvaluator, val_episodes: int
) -> Patience:
    """Return the patience that grows with the scale of the task, or the plain one where a threshold was set by hand."""
    # A target in returns says nothing of another score.
    compares = type(evaluator) is EpisodeReturnEvaluator and evaluator.scores_returns
    return Patience(
        is_scaled=all(isinstance(value, Default) for value in thresholds),
        episodes_per_evaluation=val_episodes,
        reward_threshold=pipeline.reward_threshold if compares else None,
        max_return=pipeline.max_return if compares else None,
    )


def _resolve_validation(
    val_pipeline: BasePipeline | Literal["auto"] | None,
    pipeline: BasePipeline,
    agent: BaseAgent,
    val_episodes: int,
    seed: int | None,
) -> BasePipeline | None:
    if val_pipeline is None:
        return None
    if isinstance(val_pipeline, str):
        if val_pipeline != "auto":
            raise InvalidArgumentError(f"val_pipeline must be a pipeline, 'auto' or None, but got {val_pipeline!r}.")
        return pipeline.validation_pipeline(val_episodes, seed) if isinstance(pipeline, Validates) else None
    _check_contracts(val_pipeline=(val_pipeline, BasePipeline))
    if val_pipeline is pipeline:
        raise ContractError("val_pipeline must be another pipeline than pipeline: held-out data is not trained on.")
    if _environment_of(val_pipeline) is not None and _environment_of(val_pipeline) is _environment_of(pipeline):
        raise ContractError(
            "pipeline and val_pipeline step the same environment, so that validation would break off the episodes of "
            "training. Make one for each."
        )
    _refuse_other_agent("val_pipeline", val_pipeline, agent)
    # Held-out data is acted on greedily, which also leaves the exploration of training as it is.
    val_pipeline.agent = GreedyAgent(agent) if can_be_greedy(agent) else agent
    val_pipeline.setup()
    return val_pipeline


def _environment_of(pipeline: BasePipeline) -> object:
    env = getattr(pipeline, "env", None)
    return getattr(env, "unwrapped", env)


def _refuse_other_agent(name: str, pipeline: BasePipeline, agent: BaseAgent) -> None:
    acting = pipeline.agent.agent if isinstance(pipeline.agent, GreedyAgent) else pipeline.agent
    if acting is not None and acting is not agent:
        raise ContractError(
            f"{name} holds another agent ({type(acting).__name__}) than the one that learns ({type(agent).__name__}), "
            f"which would learn from somebody else's actions. Give both the same object, or leave the pipeline's out."
        )


def _check_contracts(**parts: tuple[object, type]) -> None:
    for name, (part, contract) in parts.items():
        if isinstance(part, contract):
            continue
        rule = f"{name} must be a {contract.__name__}, but got"
        if isinstance(part, type):
            raise ContractError(f"{rule} the class {part.__name__} itself. Make one of it: {part.__name__}(...).")
        remedy = "Write BatchPipeline(env, agent)." if contract is BasePipeline else "Subclass it."
        raise ContractError(f"{rule} {type(part).__name__}. {remedy}")


def _child_seeds(seed: int | None, n: int) -> list[int] | list[None]:
    if seed is None:
        return [None] * n
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(n)]
