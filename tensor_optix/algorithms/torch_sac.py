"""SAC for PyTorch."""

from tensor_optix.adapters.pytorch._torch import torch
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms._sac import SACAgent
from tensor_optix.core.types import HyperparamSet


class TorchSACAgent(SACAgent):
    """Soft Actor-Critic with your own PyTorch modules.

        actor = nn.Sequential(nn.Linear(3, 256), nn.ReLU(), nn.Linear(256, 2 * 1))
        critic1 = nn.Sequential(nn.Linear(3 + 1, 256), nn.ReLU(), nn.Linear(256, 1))
        critic2 = nn.Sequential(nn.Linear(3 + 1, 256), nn.ReLU(), nn.Linear(256, 1))
        agent = TorchSACAgent(
            actor=actor, critic1=critic1, critic2=critic2, action_dim=1,
            actor_optimizer=torch.optim.Adam(actor.parameters()),
            critic_optimizer=torch.optim.Adam([*critic1.parameters(), *critic2.parameters()]),
            alpha_optimizer=torch.optim.Adam([torch.zeros(1, requires_grad=True)]),
            hyperparams=HyperparamSet(params={"learning_rate": 3e-4}),
        )

    Args:
        actor: any module: observations (B, ...) → [mean ‖ log_std] (B, 2A).
        critic1: any module: [observations ‖ actions] (B, O + A), or both as two inputs in this order, → value
            (B, 1).
        critic2: the same with weights of its own.
        action_dim: A, the number of action dimensions.
        actor_optimizer: any PyTorch optimizer over the actor's weights.
        critic_optimizer: any PyTorch optimizer over the weights of both critics.
        alpha_optimizer: any PyTorch optimizer over one tensor of one number, which becomes log α.
        hyperparams: overrides of `SAC_HYPERPARAMS`; keys not in that table are kept and ignored. `learning_rate` is put
            in force in all three optimizers.
        exploration_noise: `"white"`, or `"pink"`: correlated in time, which explores farther.
        seed: seed of exploration, of the choice of transitions and of the updates; None takes one from the system.
        compile: True compiles the update step with `torch.compile`. Else dense stacks are trained in numpy; other
            models are compiled by None once a run proves to be long and a C++ compiler is present, by False never.
        save_replay: False leaves the replay memory out of `save_training_state`.

    Raises:
        HyperparamError: an unknown key that looks misspelt, a value out of its range, or `batch_size` above
            `replay_capacity`.
        ContractError: no module or optimizer, or an optimizer that does not train what it should.
    """

    def __init__(
        self,
        actor: torch.nn.Module,
        critic1: torch.nn.Module,
        critic2: torch.nn.Module,
        action_dim: int,
        actor_optimizer: torch.optim.Optimizer,
        critic_optimizer: torch.optim.Optimizer,
        alpha_optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet,
        *,
        exploration_noise: str = "white",
        seed: int | None = None,
        compile: bool | None = None,
        save_replay: bool = True,
    ) -> None:
        super().__init__(
            TorchBackend(),
            {"actor": actor, "critic1": critic1, "critic2": critic2},
            action_dim,
            {
                "actor_optimizer": actor_optimizer,
                "critic_optimizer": critic_optimizer,
                "alpha_optimizer": alpha_optimizer,
            },
            hyperparams,
            exploration_noise=exploration_noise,
            seed=seed,
            compile=compile,
            save_replay=save_replay,
        )
