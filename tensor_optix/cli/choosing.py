"""What time decides of a run where nobody has given it: the algorithm, the threads, and whether updates overlap."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import gymnasium as gym

from tensor_optix._hyperparam_names import hyperparam_table
from tensor_optix.algorithms._costs import multiplications
from tensor_optix.cli.config import hyperparams_in
from tensor_optix.cli.flags import Given
from tensor_optix.core.decisions.overlap import Overlap
from tensor_optix.core.decisions.quickest import MOST_NUMBERS, MOST_NUMBERS_OF_KNOWN, quickest
from tensor_optix.core.decisions.schedules import taken_apart
from tensor_optix.core.storage.line_log import DESCRIPTION
from tensor_optix.errors import TensorOptixError
from tensor_optix.factory import resolve_algorithm
from tensor_optix.multirun.update_threads import free_now, measured_threads
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.pipeline.environment.own_code import code_of
from tensor_optix.pipeline.environment.wrapping import WrapperPlace
from tensor_optix.presets import has_preset, preset_for
from tensor_optix.runs import RunDescription
from tensor_optix.throughput import multiplications_per_second, step_cost, step_cost_in

_RIVALS = ("sac", "ppo")
"""Between which time decides, the default first."""
_OFF_POLICY = ("dqn", "sac")


def choose_algorithm(
    layers: Sequence[Given],
    given: Given,
    env: gym.Env,
    *,
    device: str,
    folder: Path | None = None,
    quiet: Callable[[], None] = lambda: None,
) -> tuple[str, str]:
    """Return the algorithm of a run, and a line about it where time has decided; see `decisions.quickest`.

    Time is measured only where spaces leave SAC or PPO, nothing that was given fits one of them alone, the environment
    has no preset of SAC and need not be in a process of its own, actions have few numbers, and a CPU computes, whose
    updates can be told from its arithmetic.

    Args:
        layers: settings, from the weakest to the strongest.
        given: all of them.
        env: what is to be learned.
        device: where the agent computes.
        folder: of the run; one that holds a run on the same environment keeps its algorithm, unless it is given.
        quiet: called before time is taken; returns when nothing of ours disturbs it.
    """
    name = given.get("algorithm", "auto")
    by_spaces = resolve_algorithm(name, env)
    if name != "auto" or by_spaces != _RIVALS[0]:
        return by_spaces, ""
    fitting = [one for one in _RIVALS if _fits(layers, one)]
    if len(fitting) != len(_RIVALS):
        return (fitting or _RIVALS)[0], ""
    numbers = math.prod(env.action_space.shape or ())
    is_apart = given.get("isolate", False) or given.get("async_envs", False)
    most = MOST_NUMBERS_OF_KNOWN if has_preset(given["env"], _RIVALS[1]) else MOST_NUMBERS
    if has_preset(given["env"], _RIVALS[0]) or numbers > most or device != "cpu" or is_apart:
        return by_spaces, ""
    known = _before(folder, given)
    if "algorithm" not in given and known is not None and known.algorithm in _RIVALS:
        return known.algorithm, f"Training with {known.algorithm}, as in {str(folder)!r}; --algo auto measures again."
    observations = math.prod(flat_observation_space(env.observation_space).shape)
    quiet()
    speed = multiplications_per_second()
    updates = {one: _work(one, observations, numbers, layers, given) / speed for one in _RIVALS}
    cost = step_cost(given["env"], env_kwargs=given.get("env_kwargs"), wrappers=given.get("wrappers", ()))
    found = quickest(cost, updates)
    return found.algorithm, str(found)


def with_measured_threads(
    run: RunDescription, given: Given, workers: int, folder: Path | None
) -> tuple[RunDescription, str]:
    """Return a run with the threads that make its updates fastest, and a line about them; see `update_threads`.

    Args:
        run: its threads are replaced.
        given: the settings that were given.
        workers: runs that train at once.
        folder: of the run; one that holds a run on the same environment keeps its threads.
    """
    known = _before(folder, given)
    if known is not None:
        about = f"Updating with --threads {known.threads}, as in {str(folder)!r}; --threads N sets others."
        return dataclasses.replace(run, threads=known.threads), about
    found = measured_threads(run, workers)
    return dataclasses.replace(run, threads=found.threads), str(found)


def with_learning_beside(
    run: RunDescription, given: Given, folder: Path | None, free: int | None = None
) -> tuple[RunDescription, str]:
    """Return a run with whether its updates are made beside collecting, and a line about it where time has decided.

    Time is measured where nobody has said it, DQN or SAC learn from vectors on a CPU, another core is free, and there
    is no preset: the environments of those take a small part of what an update takes.

    Args:
        run: a single one.
        given: the settings that were given.
        folder: of the run; one that holds a run on the same environment does as before.
        free: cores; None = those of this machine that nothing loads.
    """
    is_auto = given.get("learn_beside", "auto") == "auto"
    is_known = has_preset(run.env, run.algorithm) or run.algorithm not in _OFF_POLICY or run.device != "cpu"
    if not is_auto or is_known or (free_now() if free is None else free) <= run.threads:
        return run, ""
    env = run.environment()
    observations, actions = flat_observation_space(env.observation_space).shape, env.action_space
    env.close()
    if len(observations) != 1:
        return run, ""
    before = _before(folder, given)
    if before is not None:
        flag = f"--learn-beside {before.learn_beside}"
        return dataclasses.replace(
            run, learn_beside=before.learn_beside
        ), f"Training with {flag}, as in {str(folder)!r}."
    numbers = int(getattr(actions, "n", 0)) or math.prod(actions.shape or ())
    layers = [{"hyperparams": run.hyperparams}]
    work = _work(run.algorithm, observations[0], numbers, layers, {"env": run.env, "net_arch": run.net_arch})
    found = Overlap(step=step_cost_in(run.pipeline()).seconds, update=work / multiplications_per_second())
    return dataclasses.replace(run, learn_beside="on" if found.pays else "off"), str(found)


def _fits(layers: Sequence[Given], algorithm: str) -> bool:
    """Return whether an algorithm has all hyper-parameters that were given, and no other has a section of its own."""
    names = {name for layer in layers for name in layer.get("hyperparams", {})}
    sections = [one for one in _RIVALS if any(one in layer for layer in layers)]
    return names <= set(hyperparam_table(algorithm)) and (algorithm in sections or len(sections) != 1)


def _work(algorithm: str, observations: int, numbers: int, layers: Sequence[Given], given: Given) -> float:
    """Return the multiplications of the updates per step."""
    preset, table = preset_for(given["env"], algorithm), hyperparam_table(algorithm)
    params, _ = taken_apart({**preset.hyperparams, **hyperparams_in(layers, algorithm)}, table.owner)
    hidden = given.get("net_arch") or preset.net_arch
    return multiplications(algorithm, observations, numbers, hidden, table.resolve(params))


def _before(folder: Path | None, given: Given) -> RunDescription | None:
    """Return the run, or the first of several, of a folder; None where that is on another environment, or none."""
    if folder is None:
        return None
    wrappers = list(given.get("wrappers", ()))
    trusted = {code_of(given["env"]), *(WrapperPlace.of(text).code for text in wrappers)}
    modules = [module for module in trusted if module is not None]
    wanted = given["env"], given.get("env_kwargs", {}), wrappers
    for path in (folder / DESCRIPTION, *sorted(folder.glob(f"*/{DESCRIPTION}"))):
        with contextlib.suppress(TensorOptixError):  # what cannot be read is no reason not to begin
            known = RunDescription.read(path.parent, modules)
            return known if (known.env, known.env_kwargs, known.wrappers) == wanted else None
    return None
