"""Checks of the agent's contract, for your own agents.

from tensor_optix.testing import check_agent

check_agent(MyAgent(), "CartPole-v1")
"""

import copy
import inspect
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, BeginsEpisodes, can_be_greedy
from tensor_optix.core.types import Action, EpisodeData, HyperparamSet, Observation
from tensor_optix.errors import ContractError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.own_code import EnvLike
from tensor_optix.support.arguments import is_real
from tensor_optix.support.trees import is_tree, leaves, n_rows, rows, taken

_STEPS = 64


def check_agent(agent: BaseAgent, env: EnvLike) -> None:
    """Run every check of the agent's contract against an environment; the agent learns meanwhile.

    Args:
        agent: the agent; use one that you can throw away.
        env: an environment that it fits, its id, or a class or function that makes one.

    Raises:
        ContractError: what is broken, and what to do about it.
    """
    if not isinstance(agent, BaseAgent):
        raise ContractError(f"{type(agent).__name__} must derive from tensor_optix.BaseAgent.")
    for check in AGENT_CHECKS:
        check(agent, env)


def check_acts(agent: BaseAgent, env: EnvLike) -> None:
    """`act` gives actions that the environment takes, `act_batch` one per row, and both the same greedy ones."""
    window = _window(agent, env, _STEPS)
    for deterministic in (False, True):
        actions = agent.act_batch(taken(window.observations, slice(5)), deterministic=deterministic)
        n_actions = n_rows(actions) if is_tree(actions) else len(actions)
        _require(n_actions == 5, f"act_batch gave {n_actions} actions for 5 observations; give one per row.")
    if "deterministic" in inspect.signature(agent.act).parameters and can_be_greedy(agent):
        singly = [_first_greedy(agent, seen) for seen in rows(taken(window.observations, slice(5)))]
        together = rows(agent.act_batch(taken(window.observations, slice(5)), deterministic=True))
        _require(
            all(map(_are_close, singly, together)),
            "act(observation, deterministic=True) must give the action that act_batch(..., deterministic=True) gives.",
        )


def _first_greedy(agent: BaseAgent, observation: Observation) -> Action:
    """Return the greedy action for an observation, the first of an episode, as each row of `act_batch` is."""
    if isinstance(agent, BeginsEpisodes):
        agent.begin_episode()
    act: Any = agent.act
    return act(observation, deterministic=True)


def check_acting_leaves_no_trace(agent: BaseAgent, env: EnvLike) -> None:
    """`act` and `act_batch` change neither weights nor hyper-parameters."""
    window = _window(agent, env, _STEPS)
    before, params = _weight_files(agent), _params(agent)
    for observation in rows(window.observations):
        agent.act(observation)
    agent.act_batch(window.observations)
    _require(_weight_files(agent) == before, "act changed the weights; learning belongs in learn.")
    _require(_params(agent) == params, "act changed the hyper-parameters.")


def check_learns(agent: BaseAgent, env: EnvLike) -> None:
    """`learn` takes windows of any length, after any acting, and returns diagnostics by name."""
    for steps in (_STEPS, 1):
        window = _window(agent, env, steps)
        agent.act_batch(window.observations)
        diagnostics = agent.learn(window)
        _require(
            isinstance(diagnostics, dict) and all(isinstance(name, str) for name in diagnostics),
            f"learn must return a dict with string keys, but returned {diagnostics!r}.",
        )


def check_learn_keeps_names(agent: BaseAgent, env: EnvLike) -> None:
    """`learn` adds and removes no hyper-parameter."""
    before = set(_params(agent))
    agent.learn(_window(agent, env, _STEPS))
    after = set(_params(agent))
    _require(before == after, f"learn changed the names of the hyper-parameters: {sorted(before ^ after)}.")


def check_hyperparams_round_trip(agent: BaseAgent, env: EnvLike) -> None:
    """What `set_hyperparams` puts in force, `get_hyperparams` reads back exactly, as a copy."""
    original = HyperparamSet(_params(agent))
    changed = copy.deepcopy(original)
    for name, bound in agent.default_param_bounds.items():
        low, high = (bound.low, bound.high) if hasattr(bound, "low") else bound  # type: ignore[union-attr,misc]
        value = original.params[name]
        if is_real(value):
            other = low if value != low else high
            changed.params[name] = int(other) if isinstance(value, int) else other
    agent.set_hyperparams(copy.deepcopy(changed))
    read = _params(agent)
    _require(read == changed.params, f"set_hyperparams({changed.params}) reads back as {read}.")
    agent.get_hyperparams().params.clear()
    _require(_params(agent) == read, "get_hyperparams must return a copy; the caller changed yours.")
    agent.set_hyperparams(original)


def check_save_and_load(agent: BaseAgent, env: EnvLike) -> None:
    """`load_weights` brings back the policy that `save_weights` saved, and touches no hyper-parameter."""
    window = _window(agent, env, _STEPS)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights")
        agent.save_weights(path)
        _require(any(Path(folder).iterdir()), "save_weights(path) wrote no file at its path.")
        before, params = _weight_files(agent), _params(agent)
        greedy = _greedy(agent, window)
        for _ in range(3):
            agent.learn(window)
        agent.load_weights(path)
        _require(_weight_files(agent) == before, "load_weights does not bring back what save_weights saved.")
        if type(agent).act_batch is not BaseAgent.act_batch:
            is_same = all(map(np.array_equal, leaves(_greedy(agent, window)), leaves(greedy)))
            _require(is_same, "A loaded policy acts differently.")
        names = set(_params(agent))
        _require(names == set(params), "load_weights changed the hyper-parameters.")


def check_training_state(agent: BaseAgent, env: EnvLike) -> None:
    """After `load_training_state` the same window gives the same weights again."""
    if type(agent).save_training_state is BaseAgent.save_training_state:
        return
    window = _window(agent, env, _STEPS)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "state")
        agent.save_training_state(path)
        agent.learn(window)
        first = _weight_files(agent)
        agent.load_training_state(path)
        agent.learn(window)
        _require(_weight_files(agent) == first, "Learning after load_training_state differs from learning before it.")


AGENT_CHECKS: tuple[Callable[[BaseAgent, EnvLike], None], ...] = (
    check_acts,
    check_acting_leaves_no_trace,
    check_learn_keeps_names,  # before any other learning, which may be what adds a name
    check_learns,
    check_hyperparams_round_trip,
    check_save_and_load,
    check_training_state,
)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)


def _params(agent: BaseAgent) -> dict[str, object]:
    """Return a copy of the hyper-parameters, which stays what it is when the agent changes its own."""
    found = agent.get_hyperparams()
    _require(isinstance(found, HyperparamSet), "get_hyperparams must return a HyperparamSet.")
    return copy.deepcopy(found.params)


def _window(agent: BaseAgent, env: EnvLike, steps: int) -> EpisodeData:
    pipeline = BatchPipeline(env, agent, window_size=steps, seed=0)
    pipeline.setup()
    return next(iter(pipeline.episodes()))


def _are_close(one: object, other: object) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(np.allclose(np.asarray(a, float), np.asarray(b, float), atol=1e-5) for a, b in pairs)


def _greedy(agent: BaseAgent, window: EpisodeData) -> Action:
    return agent.act_batch(window.observations, deterministic=True)


def _weight_files(agent: BaseAgent) -> dict[str, bytes]:
    """Return what `save_weights` writes, by file name."""
    with tempfile.TemporaryDirectory() as folder:
        agent.save_weights(os.path.join(folder, "weights"))
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
