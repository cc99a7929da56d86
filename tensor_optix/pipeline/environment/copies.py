"""Copies of an environment for held-out episodes: the same environment, or none and the reason why."""

import contextlib
import copy
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.async_vector_env import AsyncState

from tensor_optix.errors import ContractError
from tensor_optix.pipeline.environment.atari import AtariGames
from tensor_optix.pipeline.environment.changes import (
    WATCHING_WRAPPERS,
    EnvFn,
    Fresh,
    Path,
    apply_changes,
    attributes_of,
    layers_of,
    vector_changes,
)
from tensor_optix.pipeline.environment.env_pool import EnvPoolVectorEnv
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv

logger = logging.getLogger(__name__)

_OF_THE_VECTOR = ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers")
"""What `gym.make_vec` keeps among the arguments of the environments."""
_SHARED = "its function returns the same environment each time, and not a new one"
_WATCHING_VECTOR_WRAPPERS = (*WATCHING_WRAPPERS, "RecordEpisodeStatistics")


def rebuild(env: gym.Env) -> EnvFn:
    """Return a function that makes copies of `env` from its spec, with what was changed on it since.

    Raises:
        ValueError: there is no copy that is the same environment; the message says why.
    """
    if env.spec is None:
        raise ValueError("the environment has no spec")
    spec = copy.deepcopy(env.spec)
    render_mode = spec.kwargs.pop("render_mode", None)  # validation is not watched
    spec.additional_wrappers = tuple(w for w in spec.additional_wrappers if w.name not in WATCHING_WRAPPERS)
    layers = len(layers_of(env))
    try:
        fresh = _fresh(lambda: _without_outer(gym.make(spec), layers), "from its spec")
    except ValueError:
        if render_mode in (None, "human"):
            raise
        spec.kwargs["render_mode"] = render_mode  # some observe what is drawn
        fresh = _fresh(lambda: _without_outer(gym.make(spec), layers), "from its spec")
    try:
        if [type(layer) for layer in layers_of(fresh.env)] != [type(layer) for layer in layers_of(env)]:
            raise ValueError("the environment made again from its spec has other wrappers")
        _check_same(fresh, env.observation_space, env.action_space)
        return _with_changes(fresh, attributes_of(env))
    finally:
        fresh.env.close()


def copies_by(make: EnvFn, env: gym.Env) -> EnvFn:
    """Return a function that makes copies of `env`, which `make` has made, with what was changed on it since.

    Raises:
        ValueError: there is no copy that is the same environment; the message says why.
    """
    fresh = _fresh(partial(_without_watchers, make), "by its function")
    if fresh.env.unwrapped is env.unwrapped:
        raise ValueError(_SHARED)
    try:
        _check_same(fresh, env.observation_space, env.action_space)
        return _with_changes(fresh, attributes_of(env))
    finally:
        fresh.env.close()


def vector_copies(vector: VectorEnv, makers: Sequence[EnvFn] | None) -> list[EnvFn]:
    """Return functions that make single environments as they are in a vector, in their order.

    Args:
        vector: the vector.
        makers: what it was made of; None where it says so itself.

    Raises:
        ValueError: there are none that are the same environments; the message says why.
    """
    inner = vector
    while isinstance(inner, VectorWrapper):
        if type(inner).__name__ not in _WATCHING_VECTOR_WRAPPERS:
            raise ValueError(
                f"{type(inner).__name__} is around the vector as a whole, and not around each environment in it"
            )
        inner = inner.env
    if isinstance(inner, AtariGames):
        return list(inner.env_fns)
    if isinstance(inner, EnvPoolVectorEnv):
        return [inner.single()]
    if not isinstance(inner, AsyncVectorEnv | SyncVectorEnv | WorkerVectorEnv):
        return [_single_of(inner)]
    makers = list(inner.env_fns if makers is None else makers)
    ours = {id(env.unwrapped) for env in inner.envs} if isinstance(inner, SyncVectorEnv) else set()
    fresh: dict[EnvFn, Fresh] = {}
    try:
        for make in makers:
            if make not in fresh:
                fresh[make] = _fresh(partial(_without_watchers, make), "by its function")
                if id(fresh[make].env.unwrapped) in ours:
                    raise ValueError(_SHARED)
                _check_same(fresh[make], inner.single_observation_space, inner.single_action_space)
        attributes = _attributes_in(inner, list(fresh.values()))
        return [_with_changes(fresh[make], found) for make, found in zip(makers, attributes, strict=True)]
    finally:
        for one in fresh.values():
            if id(one.env.unwrapped) not in ours:
                one.env.close()


def _single_of(vector: VectorEnv) -> EnvFn:
    """Return what makes a single environment of the kind of a vector that steps all of them in one go."""
    if vector.spec is None:
        raise ValueError("the vector environment has no spec")
    spec = copy.deepcopy(vector.spec)
    try:
        changed = vector_changes(vector, lambda: gym.make_vec(copy.deepcopy(spec)))
    except Exception as error:
        raise ValueError(f"the vector environment cannot be made again from its spec: {error}") from error
    if changed:
        raise ValueError(
            f"its attribute {changed[0]!r} was changed after it was made, which single environments would not have"
        )
    single = copy.deepcopy(spec)
    single.kwargs = {name: value for name, value in spec.kwargs.items() if name not in _OF_THE_VECTOR}
    single.max_episode_steps = single.kwargs.pop("max_episode_steps", spec.max_episode_steps)
    fresh = _fresh(lambda: gym.make(single), "as a single one")
    fresh.env.close()
    _check_same(fresh, vector.single_observation_space, vector.single_action_space)
    return fresh.make


def _attributes_in(
    vector: AsyncVectorEnv | SyncVectorEnv | WorkerVectorEnv, fresh: Sequence[Fresh]
) -> list[Mapping[Path, object]]:
    """Return the attributes of each environment of a vector; of those in other processes the plain ones."""
    if isinstance(vector, SyncVectorEnv):
        return [attributes_of(env.env if isinstance(env, SeededEpisodes) else env) for env in vector.envs]
    found: list[dict[Path, object]] = [{} for _ in range(vector.num_envs)]
    if vector.closed or (isinstance(vector, AsyncVectorEnv) and vector._state is not AsyncState.DEFAULT):
        return list(found)
    for path in set.intersection(*(_askable(one) for one in fresh)):
        with contextlib.suppress(ContractError):  # it has become an object that its process does not hand out
            for i, value in enumerate(vector.get_attr(str(path[-1]))):
                found[i][path] = value
    return list(found)


def _askable(fresh: Fresh) -> set[Path]:
    """Return the plain attributes of which the name alone tells whose they are."""
    names = Counter(path[1] for path in fresh.attributes)
    return {
        path
        for path, value in fresh.attributes.items()
        if len(path) == 2 and names[path[1]] == 1 and isinstance(value, bool | int | float | str | None)
    }


def _fresh(make: EnvFn, how: str) -> Fresh:
    try:
        return Fresh(make)
    except Exception as error:
        raise ValueError(f"the environment cannot be made again {how}: {error}") from error


def _check_same(fresh: Fresh, observation_space: object, action_space: object) -> None:
    if fresh.env.observation_space != observation_space or fresh.env.action_space != action_space:
        raise ValueError("the environment made again has other spaces")
    if fresh.statistics is not None:
        raise ValueError(
            f"its wrapper {fresh.statistics} has statistics of its own, which a copy would not share. Let the pipeline "
            f"normalise (normalize_observations=True, normalize_rewards=True): validation shares its statistics, and "
            f"they are saved with the policy"
        )


def _with_changes(fresh: Fresh, attributes: Mapping[Path, object]) -> EnvFn:
    """Return a function that makes copies with what differs in `attributes`."""
    changes = fresh.changes(attributes)
    if not changes:
        return fresh.make
    logger.warning(
        "Validation plays copies of the environment with what was changed on it after it was made: %s.",
        ", ".join(sorted({str(path[-1]) for path in changes})),
    )
    return lambda: apply_changes(fresh.make(), changes)


def _without_watchers(make: EnvFn) -> gym.Env:
    env = make()
    while isinstance(env, gym.Wrapper) and type(env).__name__ in WATCHING_WRAPPERS:
        env = env.env
    return env


def _without_outer(env: gym.Env, layers: int) -> gym.Env:
    """Return an environment without its outermost wrappers, so that so many layers are left."""
    while isinstance(env, gym.Wrapper) and len(layers_of(env)) > layers:
        env = env.env
    return env
