"""PPO for PyTorch."""

from tensor_optix.adapters.pytorch._torch import torch
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms._distributions import Distribution
from tensor_optix.algorithms._ppo import PPOAgent
from tensor_optix.core.types import HyperparamSet


class TorchPPOAgent(PPOAgent):
    """Proximal Policy Optimization with your own PyTorch modules.

        actor = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
        critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
        agent = TorchPPOAgent(
            actor=actor,
            critic=critic,
            optimizer=torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4),
            hyperparams=HyperparamSet(params={"learning_rate": 3e-4, "clip_ratio": 0.2}),
        )

    Args:
        actor: observations (B, ...) → logits (B, n) or (B, Σ nvec), or [mean ‖ log_std] (B, 2A) for a Gaussian policy.
        critic: observations (B, ...) → value (B, 1).
        optimizer: any PyTorch optimizer over the weights of both. Its own rate is the default of `learning_rate`, and
            its groups keep their ratios.
        hyperparams: overrides of `PPO_HYPERPARAMS`; keys not in that table are kept and ignored.
        distribution: `"categorical"` for Discrete actions, `"gaussian"` for Box actions, `MultiCategorical(nvec)` for
            MultiDiscrete and MultiBinary actions.
        seed: seed of exploration and minibatch order; None takes one from the system.
        compile: True compiles the update step with `torch.compile`. Else dense stacks are trained in numpy; other
            models are compiled by None once a run proves to be long and a C++ compiler is present, by False never.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
        InvalidArgumentError: an unknown distribution.
        ContractError: no module or optimizer, or an optimizer that does not train all weights of both models.
    """

    def __init__(
        self,
        actor: torch.nn.Module,
        critic: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet,
        *,
        distribution: str | Distribution = "categorical",
        seed: int | None = None,
        compile: bool | None = None,
    ) -> None:
        super().__init__(
            TorchBackend(),
            {"actor": actor, "critic": critic},
            optimizer,
            hyperparams,
            distribution=distribution,
            seed=seed,
            compile=compile,
        )
