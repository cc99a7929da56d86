"""The policy of DQN: a random action with probability ε, else the one of the largest value.

`values` are the network's output (B, n), `masks` (B, n) bool what is allowed, None = everything.
"""

import numpy as np

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.algorithms._distributions import masked


def choose(values: np.ndarray, masks: np.ndarray | None, epsilon: float, rng: np.random.Generator) -> np.ndarray:
    """Return one allowed action per row, int64 (B,)."""
    greedy = mode(values, masks)
    if masks is None:
        drawn = rng.integers(values.shape[-1], size=greedy.shape)
    else:  # the largest of independent random numbers, among those allowed
        drawn = np.where(masks, rng.random(values.shape), -1.0).argmax(-1)
    return np.where(rng.random(greedy.shape) < epsilon, drawn, greedy)


def mode(values: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """Return the allowed action of the largest value per row, int64 (B,)."""
    return (values if masks is None else masked(NUMPY_OPS, values, masks)).argmax(-1)


def probabilities(values: np.ndarray, masks: np.ndarray | None, epsilon: float) -> np.ndarray:
    """Return π(a|s) (B, n): ε shared by the allowed actions, and 1 − ε for the greedy one."""
    allowed = np.ones(values.shape, bool) if masks is None else masks
    probs = epsilon * allowed / allowed.sum(-1, keepdims=True)
    probs[np.arange(len(probs)), mode(values, masks)] += 1.0 - epsilon
    return probs
