"""An actor and a critic on one trunk, as one module that runs the trunk once."""

import torch
from torch import nn

from tensor_optix.adapters._trunk import trunk_length
from tensor_optix.adapters.pytorch._arrays import may_work_in_place


class JointModel(nn.Module):
    """Observations → [actor's output ‖ critic's].

    Args:
        trunk: the layers that both begin with.
        actor: what follows them in the actor.
        critic: what follows them in the critic.
    """

    def __init__(self, trunk: nn.Module, actor: nn.Module, critic: nn.Module) -> None:
        super().__init__()
        self.trunk, self.actor, self.critic = trunk, actor, critic
        self._copies = may_work_in_place(actor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return both outputs, one behind the other (B, P + 1)."""
        features = self.trunk(x)
        of_actor = self.actor(features.clone() if self._copies else features)
        return torch.cat([of_actor, self.critic(features)], -1)


def joint_model(actor: nn.Module, critic: nn.Module) -> nn.Module | None:
    """See `Backend.joint_model`: both must be an `nn.Sequential`."""
    ours, theirs = _layers_of(actor), _layers_of(critic)
    n = trunk_length(ours, theirs)
    trunk = nn.Sequential(*ours[:n])
    if next(trunk.parameters(), None) is None:
        return None
    return JointModel(trunk, nn.Sequential(*ours[n:]), nn.Sequential(*theirs[n:]))


def _layers_of(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a stack; none where a model does anything but call them one after the other."""
    if type(model) is not nn.Sequential or "forward" in vars(model):
        return []
    has_hooks = bool(model._forward_hooks or model._forward_pre_hooks or model._backward_hooks)
    return [] if has_hooks else [*model]
