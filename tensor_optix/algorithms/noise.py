"""Exploration noise: independent from step to step, or correlated in time."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tensor_optix.errors import CheckpointMismatchError, InvalidArgumentError
from tensor_optix.support.plain import Json, SavedState

KINDS = ("white", "pink")
_HORIZON = 1024
"""Steps of a pink sequence that are made at a time: longer than that, it is not correlated."""


class Noise(Protocol):
    """Standard normal noise for N streams at once, one value per step and dimension."""

    def draw(self, n_streams: int, rng: np.random.Generator) -> np.ndarray:
        """Return the next values (N, A) float32, each with mean 0 and variance 1."""
        ...

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """Return what `restore` goes on from: arrays by name, and plain JSON values."""
        ...

    def check_saved(self, arrays: Mapping[str, Any], values: object) -> None:
        """Raise `CheckpointMismatchError` unless `restore` can go on from arrays of such shapes, and these values."""
        ...

    def restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, object]) -> None:
        """Go on from `state`."""
        ...


class WhiteNoise:
    """Independent values.

    Args:
        size: A, number of action dimensions.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def draw(self, n_streams: int, rng: np.random.Generator) -> np.ndarray:
        """Return (N, A) float32."""
        return rng.standard_normal((n_streams, self._size), np.float32)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """Return nothing: there is no memory."""
        return {}, {}

    def check_saved(self, arrays: Mapping[str, Any], values: object) -> None:
        """Refuse anything: there is no memory."""
        if arrays or values != {}:
            raise CheckpointMismatchError("The training state has exploration noise, but white noise has no state.")

    def restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, object]) -> None:
        """Take nothing."""


class PinkNoise:
    """Values whose power falls as 1/f: between white noise, which goes nowhere, and a random walk, which runs away.

    Each stream and dimension has a sequence of its own, `_HORIZON` steps long, and a new one after that.
    Source: Pink Noise Is All You Need: Colored Noise Exploration in Deep Reinforcement Learning (Eberhard et al.,
    2023); On generating power law noise (Timmer and König, 1995).

    Args:
        size: A, number of action dimensions.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._sequences = np.empty((0, size, _HORIZON), np.float32)
        self._position = 0

    def draw(self, n_streams: int, rng: np.random.Generator) -> np.ndarray:
        """Return (N, A) float32."""
        if len(self._sequences) < n_streams or self._position == _HORIZON:
            n_kept = max(n_streams, len(self._sequences))
            self._sequences, self._position = pink_sequences((n_kept, self._size), _HORIZON, rng), 0
        self._position += 1
        return self._sequences[:n_streams, :, self._position - 1]

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """Return the sequences and the position in them."""
        return {"sequences": self._sequences.copy()}, {"position": self._position}

    def check_saved(self, arrays: Mapping[str, Any], values: object) -> None:
        """Raise `CheckpointMismatchError` unless they are sequences of this size and a position in them."""
        position = values.get("position") if isinstance(values, Mapping) else None
        shape = arrays["sequences"].shape if arrays.keys() == {"sequences"} else ()
        fits = len(shape) == 3 and shape[1:] == (self._size, _HORIZON) and arrays["sequences"].dtype == np.float32
        if not fits or type(position) is not int or not 0 <= position <= _HORIZON:
            raise CheckpointMismatchError(
                f"The saved pink noise has shape {shape} at {position!r}, not (N, {self._size}, {_HORIZON}) within."
            )

    def restore(self, arrays: Mapping[str, np.ndarray], values: SavedState) -> None:
        """Go on within the same sequences."""
        sequences = np.array(arrays["sequences"], np.float32).reshape(-1, self._size, _HORIZON)
        self._sequences, self._position = sequences, int(values["position"])


def noise_named(kind: str, size: int) -> Noise:
    """Return the noise of that kind.

    Raises:
        InvalidArgumentError: an unknown kind.
    """
    if kind not in KINDS:
        raise InvalidArgumentError(f"exploration_noise must be one of {KINDS}, but got {kind!r}.")
    return WhiteNoise(size) if kind == "white" else PinkNoise(size)


def pink_sequences(shape: tuple[int, ...], length: int, rng: np.random.Generator) -> np.ndarray:
    """Return sequences (*shape, length) float32 of mean 0 and variance 1 whose power spectrum falls as 1/f.

    Each frequency has a random phase and a normal amplitude with deviation f^(−1/2); there is no constant part.

    Args:
        shape: of the independent sequences.
        length: steps of each.
        rng: where they come from.
    """
    frequencies = np.fft.rfftfreq(length)
    scale = np.zeros_like(frequencies)
    scale[1:] = frequencies[1:] ** -0.5
    spectrum = (rng.standard_normal((*shape, scale.size)) + 1j * rng.standard_normal((*shape, scale.size))) * scale
    if length % 2 == 0:  # the highest frequency has one real degree of freedom
        spectrum[..., -1] = spectrum[..., -1].real * np.sqrt(2.0)
    variance = np.square(scale[1:-1]).sum() * 4 + np.square(scale[-1]) * (2 if length % 2 == 0 else 4)
    return (np.fft.irfft(spectrum, n=length, axis=-1) * (length / np.sqrt(variance))).astype(np.float32)
