"""From the settings that were given to the run that they describe: what is left out is chosen, measured or drawn."""

import argparse
import dataclasses
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym

from tensor_optix._wiring import refuse_schedules
from tensor_optix.algorithms._description import ALGORITHMS, CELLS
from tensor_optix.algorithms._off_policy_agent import learn_beside
from tensor_optix.cli.choosing import choose_algorithm, with_measured_threads
from tensor_optix.cli.config import SETTINGS, hyperparams_in, merged
from tensor_optix.cli.flags import Given, given_by_flags
from tensor_optix.cli.pairs import hyperparams_of
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.factory import (
    refuse_unknown,
    resolve_algorithm,
    resolve_device,
    resolve_framework,
    set_threads,
)
from tensor_optix.pipeline.environment.environment import check_size, make_environment
from tensor_optix.presets import Preset, preset_for
from tensor_optix.runs import RunDescription
from tensor_optix.support.arguments import check_count
from tensor_optix.support.pairs import arguments_of
from tensor_optix.throughput import choose_vectorisation


class Described(NamedTuple):
    """What settings have come to."""

    run: RunDescription
    given: Given
    """What was given of it."""
    about: list[str]
    """A line about each thing that time has chosen."""
    agent: BaseAgent
    """The run's own, untrained."""
    observation_space: gym.Space[object]
    """Of its environment."""


def given_in(args: argparse.Namespace) -> Given:
    """Return the settings that were given as flags, those of `KEY=VALUE` by their keys."""
    given = given_by_flags(args, SETTINGS.values())
    if "env_kwargs" in given:
        given["env_kwargs"] = arguments_of(given["env_kwargs"], "--env-kwargs")
    if "hyperparams" in given:
        given["hyperparams"] = hyperparams_of(given["hyperparams"])
    return given


def described(
    in_file: Given,
    by_flags: Given,
    by_set: Given,
    folder: Path | None = None,
    *,
    workers: int = 1,
    measures: bool = True,
    quiet: Callable[[], None] = lambda: None,
) -> Described:
    """Return the run that settings describe; its environment has been made once.

    Args:
        in_file: of `--config`, which the others go before.
        by_flags: which go before those of a file.
        by_set: of `--set`, which go before all.
        folder: where the run is to be, if that is given; what was measured for one that is there holds.
        workers: runs that train at once.
        measures: False to let spaces alone choose the algorithm that is not given.
        quiet: called before time is taken; returns when nothing of ours disturbs it.

    Raises:
        TensorOptixError: they do not make a run that can be trained; nothing has been written.
    """
    layers = in_file, by_flags, by_set
    given = merged(layers)
    if "env" not in given:
        raise InvalidArgumentError(
            "train needs an environment: tensor-optix train CartPole-v1, or 'env: CartPole-v1' in the file of --config."
        )
    env = make_environment(given["env"], given.get("env_kwargs"), given.get("wrappers", ()))
    framework = resolve_framework(given.get("framework", "auto"))
    threads = given.get("threads", SETTINGS["threads"].default)
    is_auto = threads == SETTINGS["threads"].about.word
    threads = 1 if is_auto else threads
    set_threads(framework, threads)
    device = resolve_device(given.get("device", "auto"), framework)
    if measures:
        algorithm, about = choose_algorithm(layers, given, env, device=device, folder=folder, quiet=quiet)
    else:
        algorithm, about = resolve_algorithm(given.get("algorithm", "auto"), env), ""
    env.close()
    preset = _fitting(preset_for(given["env"], algorithm), env)
    run = _run_of(layers, algorithm, preset, framework=framework, device=device, threads=threads)
    lines = [about]
    if is_auto:
        run, about = with_measured_threads(run, given, workers, folder)
        lines.append(about)
        set_threads(framework, run.threads)  # TensorFlow has not started yet
    agent = run.agent()
    refuse_schedules(agent, run.max_episodes, run.max_steps)
    if run.learn_beside == "on" and not learn_beside(agent):
        raise InvalidArgumentError(
            f"--learn-beside on needs DQN or SAC on the CPU, whose acting network is a stack of dense layers, but this "
            f"run trains {run.algorithm} on {run.device}. Leave it out."
        )
    return Described(run, given, [line for line in lines if line], agent, env.observation_space)


def _fitting(preset: Preset, env: gym.Env) -> Preset:
    """Return a preset of which images are left as they are: their bytes are scaled by the networks."""
    shape = getattr(env.observation_space, "shape", None)
    return dataclasses.replace(preset, normalize_observations=False) if shape and len(shape) > 1 else preset


def _run_of(
    layers: Sequence[Given], algorithm: str, preset: Preset, *, framework: str, device: str, threads: int
) -> RunDescription:
    """Return the run of settings and of what has been chosen for it; its environment has been made once."""
    given = merged(layers)
    hyperparams = hyperparams_in(layers, algorithm)
    refuse_unknown(hyperparams, algorithm, "--hp")
    _refuse_of_others(layers[-1], given.get("cell", CELLS[0]), algorithm)
    run = RunDescription(
        **{
            **_defaults(given, preset),
            **{name: value for name, value in given.items() if name in SETTINGS},
            "algorithm": algorithm,
            "framework": framework,
            "device": device,
            "threads": threads,
            "learn_beside": "on" if given.get("learn_beside") == "on" else "off",  # auto: see `with_learning_beside`
            "seed": _seed(given),
            "hyperparams": hyperparams,
            "validation_share": _share(given.get("validation_share", SETTINGS["validation_share"].default)),
        }
    )
    check_size("window_size", run.window_size)
    check_count("--evolve", run.evolve, 0)
    run.environment().close()  # an unusable environment is an error before anything is written
    return run


def with_measured_environments(run: RunDescription, given: Given) -> tuple[RunDescription, str]:
    """Return the run with its number of environments, as given or as measured, and a line about it."""
    _check_processes(run)
    if "n_envs" in given:
        check_size("--n-envs", run.n_envs)
        return run, ""
    if run.isolate:
        return run, "Stepping 1 environment, in a process of its own; --n-envs N --async-envs steps more at once."
    if run.async_envs:
        raise InvalidArgumentError("--async-envs needs --n-envs N, the number of environments.")
    n_envs = preset_for(run.env, run.algorithm).n_envs
    if n_envs == 1:
        return run, f"Stepping 1 environment, as {run.algorithm} learns from each step; --n-envs N steps more at once."
    chosen = choose_vectorisation(run.env, n_envs, env_kwargs=run.env_kwargs, wrappers=run.wrappers)
    as_told = f"--n-envs {chosen.n_envs}{' --async-envs' if chosen.async_envs else ''}"
    return (
        dataclasses.replace(run, n_envs=chosen.n_envs, async_envs=chosen.async_envs),
        f"Stepping {chosen}; {as_told} does the same without measuring.",
    )


def _check_processes(run: RunDescription) -> None:
    """Raise a typed error where what is said of an environment's process needs another one than it has."""
    if run.isolate and (run.n_envs > 1 or run.async_envs):
        raise InvalidArgumentError("--isolate is for one environment; several have their processes by --async-envs.")
    for name in ("step_timeout", "max_worker_rss"):
        if getattr(run, name) is not None and not (run.isolate or run.async_envs):
            raise InvalidArgumentError(
                f"{SETTINGS[name].flags[0]} needs an environment in a process of its own: --isolate, or --n-envs N "
                f"--async-envs."
            )


def _defaults(given: Given, preset: Preset) -> dict[str, object]:
    """Return the settings that hold where nobody gives another; those that nobody chooses have none."""
    plain = {one.name: one.default for one in SETTINGS.values() if one.default not in (None, {}, [])}
    base_interval = given.get("base_interval", preset.base_interval)
    return plain | {
        "window_size": preset.window_size,
        "normalize_observations": preset.normalize_observations,
        "normalize_rewards": preset.normalize_rewards,
        "base_interval": base_interval,
        # The library's cap of 100 windows would make CartPole's patience a thousand windows long.
        "max_interval": 2 * base_interval,
        "scaled_patience": not {"dormant_threshold", "max_interval"} & given.keys(),
    }


def _seed(given: Given) -> int:
    seed = given.get("seed")
    if seed is None:
        return secrets.randbelow(2**31)
    if seed < 0:
        raise InvalidArgumentError(f"--seed must not be negative, but got {seed}.")
    return seed


def _share(given: float) -> float | None:
    """Return the share of validation; None for 1, which is no bound."""
    if not 0.0 < given <= 1.0:
        raise InvalidArgumentError(f"--validation-share must be above 0, and at most 1 (no bound), but got {given}.")
    return None if given == 1.0 else given


def _refuse_of_others(by_set: Given, cell: str, algorithm: str) -> None:
    """Raise a typed error where something was given that only another algorithm has."""
    for other in ALGORITHMS:
        if other != algorithm and other in by_set:
            name = next(iter(by_set[other]), "...")
            raise InvalidArgumentError(f"--set {other}.{name}: this run trains {algorithm}, not {other}.")
    if cell != CELLS[0] and algorithm != "recurrent_ppo":
        raise InvalidArgumentError(
            f"--cell {cell} is the memory of recurrent PPO, but this run trains {algorithm}: give --algo recurrent_ppo."
        )
