"""Recurrent PPO for PyTorch."""

from tensor_optix.adapters.pytorch._torch import torch
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms._distributions import Distribution
from tensor_optix.algorithms._recurrent_ppo import RecurrentPPOAgent
from tensor_optix.core.types import HyperparamSet


class TorchRecurrentPPOAgent(RecurrentPPOAgent):
    """Proximal Policy Optimization with a recurrent network of your own, or one of `make_agent`'s.

    The network is called with `(observations (B, T, ...), memory (B, S), begins (B, T) bool)` and returns
    `(outputs (B, T, P + 1), memory (B, S))`: the distribution's parameters and, last, the value; then what is
    remembered after the last step. Its attribute `memory_size` is S. Where `begins` is True it goes on from zeros.

    Args:
        network: such a module.
        optimizer: any PyTorch optimizer over its weights. Its own rate is the default of `learning_rate`.
        hyperparams: overrides of `RECURRENT_PPO_HYPERPARAMS`; keys not in that table are kept and ignored.
        distribution: `"categorical"` for Discrete actions, `"gaussian"` for Box actions, `MultiCategorical(nvec)` for
            MultiDiscrete and MultiBinary actions.
        seed: seed of exploration and minibatch order; None takes one from the system.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
        InvalidArgumentError: an unknown distribution.
        ContractError: no module or optimizer, one that does not train all weights, or no `memory_size`.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet,
        *,
        distribution: str | Distribution = "categorical",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            TorchBackend(), network, optimizer, hyperparams, distribution=distribution, seed=seed, compile=False
        )
