"""The best policy of a run, ready to be played by the command line, whichever way the run was made."""

import dataclasses
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import gymnasium as gym

from tensor_optix._python_runs import PythonRun, environment_of, read_python_run
from tensor_optix._run_agents import RunAgents
from tensor_optix.core.agents_by_algorithm import FittingAgents
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.core.storage.locating import check_run
from tensor_optix.core.types import PolicySnapshot
from tensor_optix.errors import DeviceError, InvalidArgumentError
from tensor_optix.factory import resolve_device, set_threads
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.settings import changed_settings
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.policy import load_policy
from tensor_optix.runs import RunDescription

logger = logging.getLogger(__name__)


def best_policy(
    run_dir: Path, allow_modules: Collection[str] = (), *, is_tested: bool = False, device: str = "auto"
) -> tuple[str, BatchPipeline | VectorBatchPipeline, PolicySnapshot]:
    """Return the name of a run's environment, a pipeline on it in which the best policy acts, and its snapshot.

    Args:
        run_dir: the folder of the run.
        allow_modules: what the environment's name may import.
        is_tested: True where the score of the run is to be played again, which its own evaluator may be needed for.
        device: where the policy computes; `"auto"` as `playing_device` says.

    Raises:
        CheckpointPathError: it is not the folder of a run; the message says which one was meant.
        DeviceError: the device is not here.
        InvalidArgumentError: something of the run exists in Python only; the message says what.
    """
    python = _python_run(run_dir)
    if python is None:
        run = RunDescription.read(run_dir, allow_modules)
        set_threads(run.framework, run.threads)  # the same threads give the same result
        there = playing_device(device, run)
        if is_tested and run.device not in ("auto", there):
            logger.warning(
                "%r was trained on %s and plays on %s here, which rounds otherwise: returns may differ.",
                str(run_dir),
                run.device,
                there,
            )
        run = dataclasses.replace(run, n_envs=1, device=there)
        registry, training = CheckpointRegistry(run_dir), run.pipeline()
        agent = training.agent = run.agent()
        registry.attach("pipeline", training)  # its statistics are policy state
        registry.agents = FittingAgents(RunAgents(run), agent, lambda: training.agent or agent, training.set_agent)
        return run.env, training, registry.load_best(agent)
    name, arguments = environment_of(python, run_dir, allow_modules)
    if python.evaluator is not None and is_tested:
        raise InvalidArgumentError(
            f"{str(run_dir)!r} was scored by {python.evaluator}, which only the program that made the run has, so its "
            f"score cannot be tested here. Without --confirm and --verify the returns of its best policy are printed."
        )
    make = partial(make_environment, name, arguments)
    if changed := changed_settings(python.settings, make):
        _tell_of_changes(run_dir, name, changed, is_tested)
    policy = load_policy(run_dir, device=device)
    assert policy.snapshot is not None  # noqa: S101 - it was loaded
    env = make if arguments else name
    return name, BatchPipeline(env, policy.agent, normalize_observations=policy.normalizer or False), policy.snapshot


def playing_device(asked: str, run: RunDescription) -> str:
    """Return where the policy of a run plays: as asked, and for `"auto"` as in training, or on the CPU without a GPU.

    Raises:
        DeviceError: the device that is asked for is not here.
    """
    if asked != "auto":
        return resolve_device(asked, run.framework)
    try:
        return resolve_device(run.device, run.framework)
    except DeviceError:
        return "cpu"


def _tell_of_changes(run_dir: Path, name: str, changed: Sequence[str], is_tested: bool) -> None:
    """Say that the environment is another than the one that was trained on; raise where its score is at stake."""
    said = (
        f"{str(run_dir)!r} was trained on {name} with {', '.join(changed[:5])} changed after it was made, which the "
        f"command line plays without the change"
    )
    if is_tested:
        raise InvalidArgumentError(
            f"{said}: its score cannot be tested here. Test it in Python, with load_policy({str(run_dir)!r})."
        )
    logger.warning("%s. With it: load_policy(%r) in Python.", said, str(run_dir))


def environment_of_run(run_dir: Path, allow_modules: Collection[str] = ()) -> tuple[str, Callable[..., gym.Env]]:
    """Return the name of a run's environment, and a function that makes it; it takes further arguments by name.

    Args:
        run_dir: the folder of the run.
        allow_modules: what the environment's name may import.

    Raises:
        CheckpointPathError: it is not the folder of a run.
        InvalidArgumentError: the environment has no name, or one that would import what is not allowed.
    """
    python = _python_run(run_dir)
    if python is None:
        run = RunDescription.read(run_dir, allow_modules)
        return run.env, run.environment
    name, arguments = environment_of(python, run_dir, allow_modules)
    return name, lambda **more: make_environment(name, {**arguments, **more})


def refuse_python_run(run_dir: Path) -> None:
    """Raise `InvalidArgumentError` if a run was made in Python, where alone it can go on."""
    python = _python_run(run_dir)
    if python is not None:
        parts = [f"{role} ({named})" for role, named in python.parts.items()] or ["agent", "pipeline"]
        raise InvalidArgumentError(
            f"{str(run_dir)!r} was made in Python: the command line lacks its {', its '.join(parts)}, and the "
            f"arguments that they were made with. Resume it where it was made: RLOptimizer(agent, pipeline, ..., "
            f"checkpoint_dir={str(run_dir)!r}, resume=True).run(). evaluate works here."
        )


def _python_run(run_dir: Path) -> PythonRun | None:
    """Return what is known of a run that was made in Python; None for one of the command line."""
    if not (run_dir / DESCRIPTION).exists():
        check_run(run_dir)
        raise InvalidArgumentError(
            f"{str(run_dir)!r} has no run.json, which says what the run was made of. Play its best policy in Python: "
            f"tensor_optix.load_policy({str(run_dir)!r})."
        )
    return read_python_run(run_dir)
