"""Random numbers that modules draw without a generator, as dropout does: from the agent's seed, part of its state."""

from collections.abc import Mapping, Sequence
from types import TracebackType

import numpy as np
import torch

from tensor_optix.errors import CheckpointMismatchError


class TorchRandomness:
    """Within `with`, the process's generators are where the agent left them; outside, where the program left them.

    The CPU's generator and those of the CUDA devices that the models are on.
    """

    def __init__(self) -> None:
        self._own: dict[torch.device, torch.Generator] = {torch.device("cpu"): torch.Generator()}
        self._outside: list[torch.Tensor] = []
        self._depth = 0

    def seed(self, models: Sequence[torch.nn.Module], seed: int | None) -> None:
        """Restart the generators of all devices that the models are on; None takes a seed from the system."""
        for device in {p.device for model in models for p in model.parameters()}:
            if device not in self._own and device.type == "cuda":
                self._own[device] = torch.Generator(device)
        for generator in self._own.values():
            if seed is None:
                generator.seed()
            else:
                generator.manual_seed(seed)

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth == 1:  # a loss of the user's own may ask the agent for actions
            self._outside = [_exchanged(_of_process(device), own.get_state()) for device, own in self._own.items()]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            for (device, own), outside in zip(self._own.items(), self._outside, strict=True):
                own.set_state(_exchanged(_of_process(device), outside))

    def state(self) -> dict[str, np.ndarray]:
        """Return the state of each device's generator, bytes by the device's name."""
        return {str(device): own.get_state().numpy().copy() for device, own in self._own.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state`; a device that it lacks keeps its own.

        Raises:
            CheckpointMismatchError: it is no state of a generator; nothing is changed then.
        """
        found = {device: state[str(device)] for device in self._own if str(device) in state}
        try:
            for device, bytes_of in found.items():
                torch.Generator(device).set_state(torch.from_numpy(bytes_of))
        except (RuntimeError, TypeError) as error:
            raise CheckpointMismatchError(f"The saved state of PyTorch's generator is none: {error}.") from error
        for device, bytes_of in found.items():
            self._own[device].set_state(torch.from_numpy(bytes_of))


def _exchanged(generator: torch.Generator, state: torch.Tensor) -> torch.Tensor:
    """Set a generator's state and return the one before."""
    before = generator.get_state()
    generator.set_state(state)
    return before


def _of_process(device: torch.device) -> torch.Generator:
    if device.type == "cpu":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]
