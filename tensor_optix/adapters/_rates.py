"""The learning rates of an agent's optimizers: one number in force, and the ratios that the user gave them."""

from collections.abc import Mapping

from tensor_optix.adapters.backend import Backend


class LearningRates:
    """Puts one `learning_rate` in force in all parameter groups of all optimizers, at the ratios they were made with.

    The base is the first rate above 0. A group of base·r works with learning_rate·r; one of 0 stays at 0.

    Args:
        backend: the framework.
        optimizers: by name, as the user made them.
    """

    def __init__(self, backend: Backend, optimizers: Mapping[str, object]) -> None:
        self._backend, self._optimizers = backend, optimizers
        self._given = {name: backend.learning_rates(optimizer) for name, optimizer in optimizers.items()}
        self.own = _base([rate for rates in self._given.values() for rate in rates])
        """The base: what `learning_rate` is where nobody names it."""
        self.are_shared = False
        """True where optimizers of different rates get one and the same, each at the ratios of its own groups."""

    def put_in_force(self, learning_rate: float) -> None:
        """Set the rates of all groups."""
        for name, optimizer in self._optimizers.items():
            self._backend.set_learning_rates(optimizer, [learning_rate * ratio for ratio in self._ratios(name)])

    def in_force(self, asked: float) -> float:
        """Return the learning rate that the optimizers really work with, the farthest from `asked`."""
        found = [asked]
        for name, optimizer in self._optimizers.items():
            rates = self._backend.learning_rates(optimizer)
            found += [rate / ratio for rate, ratio in zip(rates, self._ratios(name), strict=True) if ratio]
        return max(found, key=lambda rate: abs(rate - asked))

    def _ratios(self, name: str) -> list[float]:
        given = self._given[name]
        base = _base(given) if self.are_shared else self.own
        return [rate / base for rate in given] if base else [1.0] * len(given)


def _base(rates: list[float]) -> float:
    return next((rate for rate in rates if rate), 0.0)
