"""The policy of SAC: a Gaussian squashed by tanh, a = tanh(μ + σ·ε), actions in (−1, 1).

`params` are the actor's output [mean ‖ log_std] (B, 2A). Acting works on numpy arrays, the loss on the backend's
tensors.
"""

import math

import numpy as np

from tensor_optix.adapters.backend import Ops, Tensor
from tensor_optix.algorithms._distributions import LOG_STD_MAX, LOG_STD_MIN

_INSIDE = np.float32(1.0 - 2.0**-24)
"""Largest float32 below 1: tanh rounds to 1 far out, and actions are in the open interval."""


def sample(params: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return a = tanh(μ + σ·ε) as float32 (..., A), for ε of the same shape."""
    mean, log_std = np.split(params, 2, axis=-1)
    u = mean + np.exp(np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)) * noise
    return np.clip(np.tanh(u).astype(np.float32), -_INSIDE, _INSIDE)


def mode(params: np.ndarray) -> np.ndarray:
    """Return tanh(μ) as float32 (..., A)."""
    mean = np.split(params, 2, axis=-1)[0]
    return np.clip(np.tanh(mean).astype(np.float32), -_INSIDE, _INSIDE)


def sample_with_log_prob(ops: Ops, params: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return actions (B, A), differentiable in `params`, and log π(a|s) (B,).

    log π(a|s) = log N(u; μ, σ) − Σᵢ log(1 − tanh²(uᵢ)),  log(1 − tanh² u) = 2·(log 2 − u − softplus(−2u))

    The second form is exact where tanh² rounds to 1.
    Source: Soft Actor-Critic (Haarnoja et al., 2018), appendix C.
    """
    size = params.shape[-1] // 2
    mean, log_std = params[..., :size], ops.clip(params[..., size:], LOG_STD_MIN, LOG_STD_MAX)
    u = mean + ops.exp(log_std) * noise
    normal = -0.5 * ops.sum(ops.square(noise)) - ops.sum(log_std) - 0.5 * size * math.log(2.0 * math.pi)
    correction = ops.sum(2.0 * (math.log(2.0) - u - ops.softplus(-2.0 * u)))
    return ops.tanh(u), normal - correction
