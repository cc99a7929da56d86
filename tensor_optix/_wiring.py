"""How the facade brings its parts together: defaults, seeds, and the refusal of what does not fit."""

import logging
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent, Seedable, can_be_greedy
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline, Validates
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.loop.scheduling import schedules_of
from tensor_optix.core.types import HyperparamSet, jsonable
from tensor_optix.errors import ContractError, HyperparamError, InvalidArgumentError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tensor_optix.support.arguments import Default, check_count
from tensor_optix.support.signatures import refused

logger = logging.getLogger(__name__)

_CALLED: Mapping[type, Mapping[str, Sequence[str]]] = {
    BaseAgent: {
        "act": ["observation"],
        "act_batch": ["observations", "deterministic="],
        "act_masked": ["observations", "action_masks", "deterministic="],
        "act_recurrent": ["observations", "memories", "action_masks=", "deterministic="],
        "begin_episode": [],
        "learn": ["episode_data"],
        "get_hyperparams": [],
        "set_hyperparams": ["hyperparams"],
        "save_weights": ["path"],
        "load_weights": ["path"],
        "save_training_state": ["path"],
        "load_training_state": ["path"],
    },
    BaseEvaluator: {
        "score": ["episode_data", "train_diagnostics"],
        "score_validation": ["episode_data"],
        "combine": ["train_metrics", "val_metrics"],
        "compare": ["candidate", "reference"],
    },
    BaseOptimizer: {
        "suggest": ["hyperparams", "metrics"],
        "on_improvement": ["metrics"],
        "on_plateau": ["metrics"],
        "on_degradation": ["metrics", "best"],
    },
}
"""How the methods of each contract are called; an argument that ends in `=` is passed by its name."""


def most_windows(max_windows: int | None, max_episodes: int | None) -> int | None:
    """Return the bound on windows, which has two names.

    Raises:
        InvalidArgumentError: it is below 1, or the names have different values.
    """
    for name, value in (("max_windows", max_windows), ("max_episodes", max_episodes)):
        if value is not None:
            check_count(name, value, 1)
    if max_windows is not None and max_episodes is not None and max_windows != max_episodes:
        raise InvalidArgumentError(
            f"max_windows and max_episodes are two names of one bound, but got {max_windows} and {max_episodes}. Give "
            f"one of them."
        )
    return max_episodes if max_windows is None else max_windows


def tuner(optimizer: BaseOptimizer | None, *, is_wanted: bool, seed: int | None) -> BaseOptimizer:
    """Return what tunes: the user's own, the usual one, or one that changes nothing.

    Raises:
        InvalidArgumentError: an optimizer where nothing is to be tuned.
    """
    if is_wanted:
        return optimizer if optimizer is not None else BackoffOptimizer(seed=seed)
    if optimizer is not None:
        raise InvalidArgumentError(
            f"tuning=False leaves the hyper-parameters as they are, but optimizer={type(optimizer).__name__} tunes "
            f"them. Give one of them."
        )
    return BackoffOptimizer({})


def refuse_schedules(
    agent: BaseAgent, max_windows: int | None, max_steps: int | None, space: Collection[str] | None = None
) -> None:
    """Raise `HyperparamError` where an agent's schedules have no length, or the optimizer would tune what follows one.

    Args:
        agent: the learner.
        max_windows: bound of the run; None = none.
        max_steps: bound of the run; None = none.
        space: the names that the optimizer may move.
    """
    schedules = schedules_of(agent)
    for name, schedule in schedules.items():
        if max_windows is None and max_steps is None:
            raise HyperparamError(
                f"{name}={schedule} falls to 0 over the length of the run, which has none: give --total-steps (in "
                f"Python max_steps) or --max-windows (max_windows)."
            )
        if name in (space or ()):
            raise HyperparamError(
                f"{name}={schedule} follows a schedule, so it cannot be tuned: leave it out of param_bounds, or give a "
                f"number."
            )


def prepare(agent: BaseAgent, pipeline: BasePipeline, agent_seed: int | None, pipeline_seed: int | None) -> None:
    """Seed both, refuse what cannot be saved now and not after the first window, and let the agent act."""
    hyperparams = agent.get_hyperparams()
    if not isinstance(hyperparams, HyperparamSet):
        raise ContractError(
            f"{type(agent).__name__}.get_hyperparams must return a HyperparamSet, but returned "
            f"{str(hyperparams)[:100]}. Return HyperparamSet(params={{...}}, episode_id=0), {{}} where there are none."
        )
    jsonable(hyperparams.params)
    for part, seed in ((agent, agent_seed), (pipeline, pipeline_seed)):
        if seed is not None and isinstance(part, Seedable) and callable(part.seed):
            part.seed(seed)
    _refuse_other_agent("pipeline", pipeline, agent)
    pipeline.agent = agent
    pipeline.setup()


def patience_of(
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


def resolve_validation(
    val_pipeline: BasePipeline | Literal["auto"] | None,
    pipeline: BasePipeline,
    agent: BaseAgent,
    val_episodes: int,
    seed: int | None,
) -> BasePipeline | None:
    """Return the pipeline that validates, made where `"auto"` asks for it and it can be; None = nothing is held out.

    It is said where validation explores.

    Raises:
        InvalidArgumentError, ContractError: no pipeline, one that trains, or one with another agent.
    """
    found = _validation_of(val_pipeline, pipeline, agent, val_episodes, seed)
    if found is not None and not can_be_greedy(agent):
        logger.warning(
            "Validation acts as training does, its exploration included: neither act nor act_batch of %s takes "
            "deterministic. Let act(observation, deterministic=False) return the greedy action where it is True.",
            type(agent).__name__,
        )
    return found


def _validation_of(
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
    prepare_held_out("val_pipeline", val_pipeline, {"pipeline": pipeline}, agent)
    return val_pipeline


def prepare_held_out(
    name: str, held_out: BasePipeline, others: dict[str, BasePipeline | None], agent: BaseAgent
) -> None:
    """Let the agent act greedily in a pipeline of held-out data, which also leaves its exploration as it is.

    Args:
        name: of the argument.
        held_out: the pipeline.
        others: those that it must have nothing in common with, by the names of their arguments.
        agent: the learner.

    Raises:
        ContractError: it is no pipeline, one of the others, steps an environment of theirs, or has another agent.
    """
    check_contracts(**{name: (held_out, BasePipeline)})
    for other_name, other in others.items():
        if held_out is other:
            raise ContractError(
                f"{name} must be another pipeline than {other_name}: held-out data is not trained on, and a test is on "
                f"what nothing was chosen by."
            )
        if _environment_of(held_out) is not None and _environment_of(held_out) is _environment_of(other):
            raise ContractError(
                f"{other_name} and {name} step the same environment, so that one would break off the episodes of the "
                f"other. Make one for each."
            )
    _refuse_other_agent(name, held_out, agent)
    held_out.agent = GreedyAgent(agent) if can_be_greedy(agent) else agent
    held_out.setup()


def _environment_of(pipeline: BasePipeline | None) -> object:
    env = getattr(pipeline, "env", None)
    return getattr(env, "unwrapped", env)


def _refuse_other_agent(name: str, pipeline: BasePipeline, agent: BaseAgent) -> None:
    acting = pipeline.agent.agent if isinstance(pipeline.agent, GreedyAgent) else pipeline.agent
    if acting is not None and acting is not agent:
        raise ContractError(
            f"{name} holds another agent ({type(acting).__name__}) than the one that learns ({type(agent).__name__}), "
            f"which would learn from somebody else's actions. Give both the same object, or leave the pipeline's out."
        )


def check_contracts(**parts: tuple[object, type]) -> None:
    """Raise `ContractError` unless each part, named by its argument, is of the kind that its role asks for.

    Its methods, too: one that cannot be called as it will be would end the run in the middle.
    """
    for name, (part, contract) in parts.items():
        if isinstance(part, contract):
            _check_methods(part, _CALLED.get(contract, {}))
            continue
        rule = f"{name} must be a {contract.__name__}, but got"
        if isinstance(part, type):
            raise ContractError(f"{rule} the class {part.__name__} itself. Make one of it: {part.__name__}(...).")
        remedy = "Subclass it."
        if contract is BasePipeline:
            remedy = f"Write {'Vector' if hasattr(part, 'num_envs') else ''}BatchPipeline(env, agent)."
        raise ContractError(f"{rule} {type(part).__name__}. {remedy}")


def _check_methods(part: object, called: Mapping[str, Sequence[str]]) -> None:
    for method, arguments in called.items():
        function = getattr(part, method, None)
        by_name = [argument[:-1] for argument in arguments if argument.endswith("=")]
        own = refused(function, len(arguments) - len(by_name), by_name) if callable(function) else None
        if own is not None:
            raise ContractError(
                f"{type(part).__name__}.{method} is called as {method}({', '.join(arguments)}), but takes {own}. Let "
                f"it take these, and give any other argument a default."
            )


def child_seeds(seed: int | None, n: int) -> list[int] | list[None]:
    """Return n independent seeds that follow from one; None for each where there is none."""
    if seed is None:
        return [None] * n
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(n)]


def seed_process(seed: int | None) -> None:
    """Seed the generators of the standard library and of numpy, which a user's environment may draw on; None: nothing.

    They are part of what a resumed run restores.
    """
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - theirs, not ours
