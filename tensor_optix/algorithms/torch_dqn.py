"""DQN for PyTorch."""

from tensor_optix.adapters.pytorch._torch import torch
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms._dqn import DQNAgent
from tensor_optix.core.types import HyperparamSet


class TorchDQNAgent(DQNAgent):
    """Deep Q-Network with your own PyTorch module.

        q_network = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
        agent = TorchDQNAgent(
            q_network=q_network,
            n_actions=2,
            optimizer=torch.optim.Adam(q_network.parameters(), lr=1e-3),
            hyperparams=HyperparamSet(params={"learning_rate": 1e-3, "batch_size": 64}),
        )

    Args:
        q_network: any module: observations (B, ...) → values of all actions (B, n).
        n_actions: n, the number of actions.
        optimizer: any PyTorch optimizer over its weights; `learning_rate` is put in force in it.
        hyperparams: overrides of `DQN_HYPERPARAMS`; keys not in that table are kept and ignored.
        seed: seed of exploration and of the choice of transitions; None takes one from the system.
        compile: True compiles the update step with `torch.compile`. Else dense stacks are trained in numpy; other
            models are compiled by None once a run proves to be long and a C++ compiler is present, by False never.
        save_replay: False leaves the replay memory out of `save_training_state`.

    Raises:
        HyperparamError: an unknown key that looks misspelt, a value out of its range, or `batch_size` above
            `replay_capacity`.
        ContractError: no module or optimizer, or an optimizer that does not train all its weights.
    """

    def __init__(
        self,
        q_network: torch.nn.Module,
        n_actions: int,
        optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet,
        *,
        seed: int | None = None,
        compile: bool | None = None,
        save_replay: bool = True,
    ) -> None:
        super().__init__(
            TorchBackend(),
            q_network,
            n_actions,
            optimizer,
            hyperparams,
            seed=seed,
            compile=compile,
            save_replay=save_replay,
        )
