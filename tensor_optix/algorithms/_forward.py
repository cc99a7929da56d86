"""Forward passes over a whole window, in bounded memory."""

import math

import numpy as np

from tensor_optix.adapters.backend import Predictor

CHUNK_BYTES = 64 << 20
"""Most that one forward pass holds of observations, in float32; what the layers make of them is a multiple of it."""


def in_chunks(predict: Predictor, observations: np.ndarray) -> np.ndarray:
    """Return the model's output (B, ...) for observations (B, ...), in as few passes as `CHUNK_BYTES` allows."""
    row_bytes = 4 * math.prod(observations.shape[1:])
    size = max(1, CHUNK_BYTES // row_bytes)
    if len(observations) <= size:
        return predict(observations)
    return np.concatenate([predict(observations[i : i + size]) for i in range(0, len(observations), size)])
