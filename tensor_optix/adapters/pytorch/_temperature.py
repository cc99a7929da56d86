"""log α, the temperature of soft actor-critic, as a model."""

import torch


class Temperature(torch.nn.Module):
    """log α, as a model of one weight: the parameter of an optimizer.

    Args:
        optimizer: it has one parameter, which this shares its memory with.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        group = optimizer.param_groups[0]
        given = group["params"][0]
        self.log_alpha = given if isinstance(given, torch.nn.Parameter) else torch.nn.Parameter(given.detach())
        if self.log_alpha is not given:  # a plain tensor cannot be a module's parameter
            group["params"][0] = self.log_alpha
            if given in optimizer.state:
                optimizer.state[self.log_alpha] = optimizer.state.pop(given)

    def forward(self, _: object) -> torch.Tensor:
        """Return log α as a scalar."""
        return self.log_alpha.reshape(())
