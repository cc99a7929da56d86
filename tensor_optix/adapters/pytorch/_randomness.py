"""Random numbers that modules draw without a generator, as dropout does: from the agent's seed, part of its state."""

from collections.abc import Mapping, Sequence
from types import TracebackType

import numpy as np
import torch

from tensor_optix.errors import CheckpointMismatchError


class TorchRandomness:
    """Within `with`, the process's generators are where the agent left them; outside, where the program left them.

    The CPU's generator and those of the CUDA devices that the models are on. Generators that modules hold in attributes
    are their own anyway; they are seeded and saved with these.
    """

    def __init__(self) -> None:
        self._own: dict[torch.device, torch.Generator] = {torch.device("cpu"): torch.Generator()}
        self._of_modules: dict[str, torch.Generator] = {}
        """Those that modules hold, by where they are."""
        self._outside: list[torch.Tensor] = []
        self._depth = 0

    def seed(self, models: Sequence[torch.nn.Module], seed: int | None) -> None:
        """Restart the generators of all devices that the models are on, and those that their modules hold.

        None takes a seed from the system, and leaves those of the modules as they are.
        """
        for device in {p.device for model in models for p in model.parameters()}:
            if device not in self._own and device.type == "cuda":
                self._own[device] = torch.Generator(device)
        for generator in self._own.values():
            if seed is None:
                generator.seed()
            else:
                generator.manual_seed(seed)
        self._of_modules = _held_by(models)
        for number, generator in enumerate(self._of_modules.values(), start=1):
            if seed is not None:
                generator.manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))

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
        """Return the state of each generator, bytes by the device's name or by where a module holds it."""
        return {name: own.get_state().numpy().copy() for name, own in self._named().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state`; a generator that it lacks keeps its own.

        Raises:
            CheckpointMismatchError: it is no state of a generator; nothing is changed then.
        """
        found = [(own, state[name]) for name, own in self._named().items() if name in state]
        try:
            for own, bytes_of in found:
                torch.Generator(own.device).set_state(torch.from_numpy(bytes_of))
        except (RuntimeError, TypeError) as error:
            raise CheckpointMismatchError(f"The saved state of PyTorch's generator is none: {error}.") from error
        for own, bytes_of in found:
            own.set_state(torch.from_numpy(bytes_of))

    def _named(self) -> dict[str, torch.Generator]:
        return {**{str(device): own for device, own in self._own.items()}, **self._of_modules}


def _held_by(models: Sequence[torch.nn.Module]) -> dict[str, torch.Generator]:
    """Return the generators in attributes of modules, each once."""
    held = {
        f"{number}.{path}.{name}": value
        for number, model in enumerate(models)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Generator)
    }
    return {name: value for value, name in {value: name for name, value in reversed(held.items())}.items()}


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
