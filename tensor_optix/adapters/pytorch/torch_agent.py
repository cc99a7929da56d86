"""The generic agent for PyTorch."""

from collections.abc import Callable

from tensor_optix.adapters._policy_gradient import PolicyGradientAgent
from tensor_optix.adapters.pytorch._torch import torch
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.core.types import EpisodeData, HyperparamSet


class TorchAgent(PolicyGradientAgent):
    """REINFORCE, or A2C where windows carry `values`, over any module that returns logits.

        model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
        agent = TorchAgent(model, torch.optim.Adam(model.parameters()), HyperparamSet(params={"learning_rate": 1e-2}))

    Args:
        model: observations (B, ...) → logits (B, n).
        optimizer: any PyTorch optimizer over the model's weights.
        hyperparams: `learning_rate`, `gamma`, `entropy_coef`; other keys are kept and ignored.
        compute_loss_fn: `(model, episode_data) -> scalar loss tensor`, in place of the policy gradient.
        seed: seed of exploration; None takes one from the system.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet,
        compute_loss_fn: Callable[[torch.nn.Module, EpisodeData], torch.Tensor] | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(TorchBackend(), model, optimizer, hyperparams, compute_loss_fn, seed)
