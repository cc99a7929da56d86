"""The facade: everything with its defaults, wired together."""

import os
import time
from collections.abc import Sequence
from typing import Literal

from tensor_optix._policy_file import policy_file_of
from tensor_optix._python_runs import PythonRun, describe_run, with_settings, write_python_run
from tensor_optix._run_reports import check_page_can_be_made, keep_page
from tensor_optix._wiring import (
    check_contracts,
    child_seeds,
    most_windows,
    patience_of,
    prepare,
    prepare_held_out,
    refuse_schedules,
    resolve_validation,
    seed_process,
    tuner,
)
from tensor_optix.callbacks.progress import Progress
from tensor_optix.core.agents_by_algorithm import AgentsByAlgorithm
from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline, PlaysAhead
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.drift import DriftDetector
from tensor_optix.core.decisions.succession import Successor
from tensor_optix.core.decisions.validation_budget import ValidationBudget
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.parts import LoopConfig, LoopParts, LoopStatus
from tensor_optix.core.loop.run_records import RunRecords
from tensor_optix.core.loop_callback import LoopCallback, checked_callbacks
from tensor_optix.core.loop_controller import LoopController
from tensor_optix.core.storage.atomic import sole_run
from tensor_optix.core.storage.line_log import DESCRIPTION, HISTORY
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.storage.run_keeper import RunKeeper
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import LoopState, PolicySnapshot
from tensor_optix.support.arguments import Default, check_count, check_flags, check_seed


class RLOptimizer:
    """Trains an agent until it is trained.

        report = RLOptimizer(agent=agent, pipeline=pipeline).run()

    Args:
        agent: who acts and learns.
        pipeline: where experience comes from.
        val_pipeline: `"auto"` plays `val_episodes` whole greedy episodes per evaluation in copies of the environment;
            a pipeline of your own is asked for one window per evaluation, and at the end for further ones that confirm
            the best; None scores the training windows.
        evaluator: scores windows; None = `EpisodeReturnEvaluator`.
        optimizer: tunes hyper-parameters; None = `BackoffOptimizer` over the agent's `default_param_bounds`.
        checkpoint_dir: for snapshots and history. What an earlier run left is moved to `previous_<n>/`, unless resumed.
        max_snapshots: how many of the newest snapshots are kept, beside the best and as many (up to 12) in reserve.
        rollback_on_degradation: restore the best weights when the score has degraded.
        improvement_margin: by how much the best must be beaten, in units of the score.
        max_episodes: the same as `max_windows`, by its name of version 0.8: "episode" means a window here.
        base_interval: windows between evaluations while learning.
        backoff_factor: growth of that interval on a plateau.
        max_interval_episodes: its cap, in windows. Set by hand, it and `dormant_threshold` are obeyed to the letter.
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
        seed: seeds the agent, the pipeline, validation, tuning, and the generators of `random` and of numpy, which an
            environment may draw on; a run repeats exactly.
        progress: True for a live view in the terminal.
        drift_detector: tells on watch that scores have fallen; None = `PageHinkley`. `RiverDetector` brings `river`'s.
        escape: try to escape from a local optimum before the run converges below what is known to be possible
            (`decisions.escapes`), at most 25 % of the steps; not with thresholds set by hand, evolution, or a watch.
        max_windows: windows at most; None = until DORMANT.
        max_steps: training steps after which the run ends, with the window in progress.
        target_score: end the run when a confirmed score reaches it (`core.loop.target`).
        tuning: False leaves the hyper-parameters as they are.
        test_pipeline: of what neither training nor validation has: when the run has ended by itself, the best plays one
            window of it, `report.test`, and nothing is decided by that. Data needs one (`split_by_time`).
        report: write `report.html` into `checkpoint_dir` when `run` ends: one page that says what happened and why.
        hang_timeout: seconds without a move, in an environment, `learn` or wherever the run is, after which the stacks
            of all threads are logged; None = 20 times the longest so far, and at least 30.
        pretrained: the agent was trained before: that its scores do not rise is no sign that it has learned nothing.
        player: plays the episodes of the automatic validation while the next window is collected (`core.loop.beside`).
        agents: builds another algorithm's agent, for an escape; where that is kept, it holds the best weights.

    Raises:
        InvalidArgumentError: an argument out of its range, or thresholds in the wrong order.
        ContractError: an object that does not keep the contract of its role.
        HyperparamError: the optimizer's bounds name what the agent does not have, or what follows a schedule; a
            schedule in a run without `max_steps` and `max_windows`.
        SpaceError, ModelShapeError: the agent does not fit the environment.
        MissingDependencyError: `report` needs the extra of that name.
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
        callbacks: Sequence[LoopCallback] | None = (),
        *,
        min_degradation_drop: float = 0.0,
        val_episodes: int = 5,
        validation_share: float | None = 0.15,
        on_converged: Literal["auto", "stop", "watch"] = "auto",
        restore_best: bool = True,
        resume: bool = False,
        seed: int | None = None,
        progress: bool | None = None,
        drift_detector: DriftDetector | None = None,
        escape: bool = True,
        max_windows: int | None = None,
        max_steps: int | None = None,
        target_score: float | None = None,
        tuning: bool = True,
        test_pipeline: BasePipeline | None = None,
        report: bool = False,
        hang_timeout: float | None = None,
        pretrained: bool = False,
        player: PlaysAhead | None = None,
        agents: AgentsByAlgorithm | None = None,
    ) -> None:
        check_contracts(agent=(agent, BaseAgent), pipeline=(pipeline, BasePipeline))
        callbacks = checked_callbacks(callbacks)
        check_count("val_episodes", val_episodes, 1)
        check_seed(seed)
        check_flags(
            rollback_on_degradation=rollback_on_degradation,
            restore_best=restore_best,
            resume=resume,
            progress=progress is not None and progress,
            escape=escape,
            tuning=tuning,
            report=report,
            pretrained=pretrained,
        )
        if report:
            check_page_can_be_made()
        evaluator = evaluator if evaluator is not None else EpisodeReturnEvaluator()
        config = LoopConfig(
            scheduler=BackoffScheduler(
                base_interval=base_interval,
                backoff_factor=backoff_factor,
                max_interval=max_interval_episodes,
                plateau_threshold=plateau_threshold,
                dormant_threshold=dormant_threshold,
            ),
            patience=patience_of((dormant_threshold, max_interval_episodes), pipeline, evaluator, int(val_episodes)),
            escapes=escape,
            validation=ValidationBudget(share=validation_share),
            max_episodes=most_windows(max_windows, max_episodes),
            max_steps=max_steps,
            target_score=target_score,
            improvement_margin=improvement_margin,
            degradation_threshold=degradation_threshold,
            min_degradation_drop=min_degradation_drop,
            rollback_on_degradation=rollback_on_degradation,
            on_converged=on_converged,
            restore_best=restore_best,
            final_evaluation=val_pipeline is not None,
            hang_timeout=hang_timeout,
            is_pretrained=pretrained,
        )
        refuse_schedules(agent, config.max_episodes, config.max_steps)
        seeds = child_seeds(seed, 6)
        prepare(agent, pipeline, seeds[0], seeds[1])
        self._val_pipeline = resolve_validation(val_pipeline, pipeline, agent, int(val_episodes), seeds[2])
        if test_pipeline is not None:
            others = {"pipeline": pipeline, "val_pipeline": self._val_pipeline}
            prepare_held_out("test_pipeline", test_pipeline, others, agent)
        self.registry = CheckpointRegistry(checkpoint_dir, max_snapshots)
        self.registry.attach("pipeline", pipeline)
        self.registry.describe = lambda acting: policy_file_of(acting, pipeline)
        self._keeper = RunKeeper(ResumeRing(self.registry.directory), time.perf_counter)
        parts = LoopParts(
            agent=agent,
            pipeline=pipeline,
            val_pipeline=self._val_pipeline,
            test_pipeline=test_pipeline,
            evaluator=evaluator,
            optimizer=tuner(optimizer, is_wanted=tuning, seed=seeds[3]),
            registry=self.registry,
            history=History(self.registry.directory / HISTORY),
            drift_detector=drift_detector if drift_detector is not None else config.usual_detector(),
            keeper=self._keeper,
            records=RunRecords(self.registry.directory),
            player=player if isinstance(val_pipeline, str) else None,
            agents=agents,
        )
        check_contracts(
            evaluator=(parts.evaluator, BaseEvaluator),
            optimizer=(parts.optimizer, BaseOptimizer),
            drift_detector=(parts.drift_detector, DriftDetector),
        )
        parts.optimizer.bind(agent.default_param_bounds, agent.get_hyperparams())
        refuse_schedules(agent, config.max_episodes, config.max_steps, parts.optimizer.search_space)
        self._resume, self._process_seed = resume, seeds[5]
        watchers = [*callbacks, Progress(lambda: self.status)] if progress else callbacks
        self._controller = LoopController(parts, config, watchers)
        for successor in (callback for callback in callbacks if isinstance(callback, Successor)):
            successor.join_run(self.registry.attached, parts.optimizer.search_space, seeds[4])
        self._has_run, self._pipeline, self._writes_page = False, pipeline, report
        self.described: PythonRun | None = describe_run(
            pipeline, evaluator, agent=agent, optimizer=optimizer, callbacks=callbacks
        )
        """What `run.json` says of the run; None where whoever made it writes that."""
        self.allow_module = self.described.allow_module
        """Modules and files that the environment imports, one a line; the commands in the report allow them."""

    def run(self) -> TrainingReport:
        """Train until DORMANT, a bound or the target, `stop()`, Ctrl-C or SIGTERM, and return the report.

        When it returns, the agent holds the best weights (`restore_best`). A second call goes on with the same run, as
        far as `max_windows`, `max_steps` and `target_score` allow.

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
                    self.registry.archive([DESCRIPTION] if self.described is not None else [])
                    seed_process(self._process_seed)
                if self.described is not None:
                    env: object = getattr(self._pipeline, "env", None)
                    write_python_run(self.registry.directory, with_settings(self.described, env))
            self._controller.allow_module = self.allow_module
            self._controller.is_confirmable = self.described is None or self.described.is_confirmable
            try:
                return self._controller.run()
            finally:
                if self._writes_page:
                    keep_page(self.registry.directory)

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

    @property
    def state(self) -> LoopState:
        """What the loop is doing: ACTIVE, COOLING, DORMANT or WATCHDOG."""
        return self._controller.state.position.state

    @property
    def best_snapshot(self) -> PolicySnapshot | None:
        """The best policy so far; None before there is one."""
        return self._controller.state.best
