"""The names of hyper-parameters: those of each built-in algorithm, and what other libraries call them."""

from collections.abc import Mapping

from tensor_optix.algorithms._dqn import DQN_HYPERPARAMS
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.algorithms._recurrent_ppo import RECURRENT_PPO_HYPERPARAMS
from tensor_optix.algorithms._sac import SAC_HYPERPARAMS
from tensor_optix.core.search_space import HyperparamTable
from tensor_optix.errors import ContractError, HyperparamError, did_you_mean

_TABLES = {
    "ppo": PPO_HYPERPARAMS,
    "recurrent_ppo": RECURRENT_PPO_HYPERPARAMS,
    "dqn": DQN_HYPERPARAMS,
    "sac": SAC_HYPERPARAMS,
}
_CALLED_ELSEWHERE = {
    "lr": "learning_rate",
    "discount": "gamma",
    "clip_range": "clip_ratio",
    "clip_eps": "clip_ratio",
    "clip_coef": "clip_ratio",
    "ent_coef": "entropy_coef",
    "value_coef": "vf_coef",
    "lam": "gae_lambda",
    "update_epochs": "n_epochs",
    "batch_size": "minibatch_size",
    "buffer_size": "replay_capacity",
    "target_update_interval": "target_update_freq",
    "exploration_final_eps": "epsilon_min",
    "polyak": "tau",
}
"""What other libraries call a hyper-parameter, and what it is called here."""


def hyperparam_table(algorithm: str) -> HyperparamTable:
    """Return the hyper-parameters of an algorithm: defaults, ranges and meanings."""
    return _TABLES[algorithm]


def refuse_unknown(params: object, algorithm: str, argument: str) -> None:
    """Refuse hyper-parameters that an algorithm does not have: they would be carried along and do nothing.

    Args:
        params: values by name.
        algorithm: the name of a built-in one.
        argument: where they were given, for the message.

    Raises:
        HyperparamError: a name that is not in the algorithm's table; the message suggests one that is.
        ContractError: no mapping.
    """
    if not isinstance(params, Mapping):
        raise ContractError(f"{argument} must map names to values, but got {params!r}.")
    known = hyperparam_table(algorithm)
    for name in params:
        if name not in known:
            meant = _CALLED_ELSEWHERE.get(name)
            hint = f" Did you mean {meant!r}?" if meant in known else did_you_mean(str(name), known)
            raise HyperparamError(
                f"{argument}: {algorithm} has no hyper-parameter {name!r}.{hint} It has: {', '.join(known)}."
            )
