"""Running statistics of a stream, and the scaling of observations and rewards by them. Numpy only.

Source: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (Chan, Golub, LeVeque, 1979).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tensor_optix.errors import BadDataError, CheckpointMismatchError, InvalidArgumentError
from tensor_optix.support.arguments import is_real
from tensor_optix.support.plain import SavedState

_EPSILON = 1e-8


@dataclass(frozen=True)
class Scaling:
    """clip((x − mean)/std, ±clip), as float32: what a normaliser does, for those who compute it elsewhere."""

    mean: np.ndarray
    std: np.ndarray
    clip: float


class RunningMeanStd:
    """Mean and variance of all that was seen so far, in float64, whatever the batches it came in.

    n = n_a + n_b;  δ = mean_b − mean_a
    mean = mean_a + δ·n_b/n
    M₂ = M₂_a + M₂_b + δ²·n_a·n_b/n,  var = M₂/n

    Before anything was seen the mean is 0 and the variance 1.

    Args:
        shape: of one sample.
    """

    def __init__(self, shape: int | tuple[int, ...] = ()) -> None:
        self.mean = np.zeros(shape)
        self.shape = self.mean.shape
        self.var = np.ones(self.shape)
        self.count = 0

    @property
    def std(self) -> np.ndarray:
        """√var, in the shape of one sample."""
        return np.sqrt(self.var)

    def update(self, batch: object) -> None:
        """Take in samples (B, *shape).

        Raises:
            BadDataError: another shape, or values that are not finite; nothing is taken in.
        """
        batch = np.asarray(batch, np.float64)
        if batch.ndim == 0 or batch.shape[1:] != self.shape:
            raise BadDataError(f"The statistics are of samples {self.shape}, but got a batch {batch.shape}.")
        if not np.isfinite(batch).all():
            raise BadDataError(
                "Statistics cannot be taken of observations or rewards that are not finite; look where the environment "
                "makes them."
            )
        if not len(batch):
            return
        mean, var, n = batch.mean(axis=0), batch.var(axis=0), len(batch)
        total = self.count + n
        if not self.count:
            self.mean, self.var, self.count = mean, var, n
            return
        delta = mean - self.mean
        spread = self.var * self.count + var * n + np.square(delta) * (self.count * n / total)
        self.mean, self.var, self.count = self.mean + delta * (n / total), spread / total, total

    def state_dict(self) -> dict[str, object]:
        """Return the statistics as plain JSON values."""
        return {"mean": self.mean.tolist(), "var": self.var.tolist(), "count": self.count}

    def load_state_dict(self, state: SavedState) -> None:
        """Take statistics that `state_dict` returned.

        Raises:
            CheckpointMismatchError: of samples of another shape, or none at all; nothing is changed.
        """
        try:
            mean, var = (np.array(state[name], np.float64) for name in ("mean", "var"))
            count = int(state["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointMismatchError(f"Saved statistics need mean, var and count, but: {error!r}.") from error
        is_sound = np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all() and count >= 0
        if not mean.shape == var.shape == self.shape or not is_sound:
            raise CheckpointMismatchError(
                f"The statistics are of samples {self.shape}, but the saved ones are of {mean.shape}"
                f"{'' if is_sound else ' and not finite'}."
            )
        self.mean, self.var, self.count = mean, var, count


class ObsNormalizer:
    """Scales observations to mean 0 and variance 1: clip((o − mean)/√(var + ε), ±clip), as float32.

    Args:
        obs_shape: of one observation.
        clip: bound on what comes out.
    """

    def __init__(self, obs_shape: int | tuple[int, ...], clip: float = 10.0) -> None:
        self.clip = _checked_clip(clip)
        self.stats = RunningMeanStd(obs_shape)

    def update(self, batch: object) -> None:
        """Take observations (B, *obs_shape) into the statistics; one observation (*obs_shape) is a batch of one."""
        batch = np.asarray(batch)
        self.stats.update(batch[None] if batch.shape == self.stats.shape else batch)

    def normalize(self, obs: object) -> np.ndarray:
        """Return one observation, or any batch of them, normalised; the statistics stay as they are."""
        scaled = (np.asarray(obs) - self.stats.mean) / np.sqrt(self.stats.var + _EPSILON)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    @property
    def scaling(self) -> Scaling:
        """What `normalize` computes, by the statistics of now."""
        return Scaling(self.stats.mean, np.sqrt(self.stats.var + _EPSILON), self.clip)

    def state_dict(self) -> dict[str, object]:
        """Return the statistics and the bound as plain JSON values."""
        return {**self.stats.state_dict(), "clip": self.clip}

    def load_state_dict(self, state: SavedState) -> None:
        """Take what `state_dict` returned; the bound stays where an earlier version has saved none.

        Raises:
            CheckpointMismatchError: statistics of observations of another shape, or none at all; nothing is changed.
        """
        clip = state.get("clip", self.clip)
        if not (is_real(clip) and clip > 0):
            raise CheckpointMismatchError(f"The saved bound of normalised observations is none: {clip!r}.")
        self.stats.load_state_dict(state)
        self.clip = float(clip)

    @classmethod
    def from_state(cls, state: SavedState) -> Self:
        """Return a normaliser with what `state_dict` returned, whatever the shape of its observations.

        Raises:
            CheckpointMismatchError: there are no statistics in it.
        """
        try:
            shape = np.shape(state["mean"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointMismatchError(f"Saved statistics need mean, var and count, but: {error!r}.") from error
        normalizer = cls(shape)
        normalizer.load_state_dict(state)
        return normalizer


@dataclass(frozen=True)
class RawWindow:
    """What a normalised window was before, for those who remember it for longer than its statistics hold.

    It is in the window's `metadata` under `RAW`.
    """

    observations: np.ndarray
    """(T, ...)."""
    next_observations: np.ndarray
    """(T, ...)."""
    rewards: np.ndarray
    """(T,)."""
    observation_normalizer: ObsNormalizer | None
    """With the statistics that the window's policy acted on, as long as it is learned from."""
    reward_normalizer: "RewardNormalizer | None"

    def with_own_statistics(self) -> Self:
        """Return the same with copies of the normalisers, which stay as they are when the pipeline's move on."""
        return replace(
            self,
            observation_normalizer=copy.deepcopy(self.observation_normalizer),
            reward_normalizer=copy.deepcopy(self.reward_normalizer),
        )

    def normalized(self, batches: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return raw `observations`, `next_observations` and `rewards` of any shape normalised, the rest as it is."""
        result = dict(batches)
        if self.observation_normalizer is not None:
            for name in ("observations", "next_observations"):
                result[name] = self.observation_normalizer.normalize(batches[name])
        if self.reward_normalizer is not None:
            result["rewards"] = self.reward_normalizer.normalize(batches["rewards"])
        return result

    @property
    def scalings(self) -> dict[str, Scaling]:
        """What `normalized` computes, by name."""
        normalizers = {
            "observations": self.observation_normalizer,
            "next_observations": self.observation_normalizer,
            "rewards": self.reward_normalizer,
        }
        return {name: normalizer.scaling for name, normalizer in normalizers.items() if normalizer is not None}


RAW = "raw"


class RewardNormalizer:
    """Divides rewards by the standard deviation of the running discounted return: clip(r/√(var(R) + ε), ±clip).

    Rₜ = γ·Rₜ₋₁ + rₜ, from 0 in each episode. The mean is not subtracted: it would change what is worth doing.
    Source: Implementation Matters in Deep Policy Gradients (Engstrom et al., 2020).

    Args:
        gamma: γ, discount per step, in [0, 1].
        clip: bound on what comes out.
    """

    def __init__(self, gamma: float = 0.99, clip: float = 10.0) -> None:
        if not 0.0 <= gamma <= 1.0:
            raise InvalidArgumentError(f"gamma must be in [0, 1], but got {gamma!r}.")
        self.gamma = gamma
        self.clip = _checked_clip(clip)
        self.stats = RunningMeanStd()
        self._returns = np.zeros(1)

    def step(self, reward: float, ends: bool = False) -> None:
        """Take one reward into the statistics; `ends` where it is the last of its episode."""
        self.update(np.array([[reward]]), np.array([[ends]]))

    def update(self, rewards: object, ends: object) -> None:
        """Take a window of N environments' rewards into the statistics.

        Args:
            rewards: (N, T), each row goes on where the same row of the last window ended.
            ends: (N, T) bool, an episode ended here.
        """
        rewards = np.asarray(rewards, np.float64)
        if len(self._returns) != len(rewards):
            self._returns = np.zeros(len(rewards))
        goes_on = self.gamma * ~np.asarray(ends, bool)
        returns, discounted = np.empty_like(rewards), self._returns
        for t in range(rewards.shape[1]):
            returns[:, t] = discounted + rewards[:, t]
            discounted = returns[:, t] * goes_on[:, t]
        self.stats.update(returns.ravel())
        self._returns = discounted

    @property
    def returns_in_progress(self) -> list[float]:
        """Rₜ of each environment's episode in progress; part of the stream, not of the statistics."""
        return self._returns.tolist()

    @returns_in_progress.setter
    def returns_in_progress(self, returns: Sequence[float]) -> None:
        self._returns = np.array(returns, np.float64)

    def reset(self) -> None:
        """Forget the episodes in progress: what comes next begins new ones. The statistics stay as they are."""
        self._returns = np.zeros(1)

    def normalize(self, rewards: object) -> np.ndarray:
        """Return rewards of any shape scaled, as float32; the statistics stay as they are."""
        scaled = np.asarray(rewards, np.float64) / np.sqrt(self.stats.var + _EPSILON)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)

    @property
    def scaling(self) -> Scaling:
        """What `normalize` computes, by the statistics of now."""
        return Scaling(np.zeros(()), np.sqrt(self.stats.var + _EPSILON), self.clip)

    def state_dict(self) -> dict[str, object]:
        """Return the statistics as plain JSON values; the returns in progress belong to the stream, not to them."""
        return self.stats.state_dict()

    def load_state_dict(self, state: SavedState) -> None:
        """Take statistics that `state_dict` returned."""
        self.stats.load_state_dict(state)


def _checked_clip(clip: float) -> float:
    if not clip > 0:
        raise InvalidArgumentError(f"clip must be above 0, but got {clip!r}.")
    return float(clip)
