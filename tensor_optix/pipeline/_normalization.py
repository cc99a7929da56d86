"""How a training pipeline normalises: with statistics that stand still while a window is collected."""

import logging
from dataclasses import replace

import numpy as np
from gymnasium import spaces

from tensor_optix.core.base_agent import BaseAgent, SavesNormalization
from tensor_optix.core.normalizers import RAW, ObsNormalizer, RawWindow, RewardNormalizer
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import CheckpointMismatchError, ContractError, SpaceError
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.support.arrays import decoded, encoded
from tensor_optix.support.plain import SavedState

logger = logging.getLogger(__name__)


class Normalization:
    """Acts with, applies and updates the normalisers of one training pipeline; both may be absent.

    Observations: one window is collected, built, learned from, judged and saved with the same statistics, so that it is
    of one policy; they take the window in when the next one begins. Rewards: the statistics take the window in before
    it is scaled, as no action depends on rewards.

    Args:
        observations: True, False, or a normaliser of the user's own.
        rewards: the same.
        space: of the environment's observations.

    Raises:
        SpaceError: observations that cannot be normalised.
        ContractError: an argument is none of these.
    """

    def __init__(
        self, observations: bool | ObsNormalizer, rewards: bool | RewardNormalizer, space: spaces.Space[object]
    ) -> None:
        self.observations: ObsNormalizer | None = None
        self.rewards: RewardNormalizer | None = None
        if observations is not False:
            try:
                space = flat_observation_space(space)
            except SpaceError as error:
                raise SpaceError(f"normalize_observations needs observations that are arrays. {error}") from None
            self.observations = ObsNormalizer(space.shape) if observations is True else observations
            _check_is("normalize_observations", self.observations, ObsNormalizer)
            if self.observations.stats.shape != space.shape:
                raise SpaceError(
                    f"normalize_observations has statistics of shape {self.observations.stats.shape}, but observations "
                    f"have {space.shape}. Make it with ObsNormalizer({space.shape})."
                )
            if space.dtype == np.uint8 and len(space.shape) == 3:
                raise SpaceError("normalize_observations is not for images: the networks scale their bytes themselves.")
        if rewards is not False:
            self.rewards = RewardNormalizer() if rewards is True else rewards
            _check_is("normalize_rewards", self.rewards, RewardNormalizer)
        self._unseen: np.ndarray | None = None
        self._has_warned = False

    def share_with(self, agent: BaseAgent) -> None:
        """Let the agent save the statistics with its weights; say so where it relies on some and gets raw observations.

        Args:
            agent: the one that acts.
        """
        if not isinstance(agent, SavesNormalization):
            return
        if self.observations is not None:
            agent.set_observation_normalizer(self.observations)
            return
        trained_with: object = getattr(agent, "observation_normalizer", None)
        if isinstance(trained_with, ObsNormalizer) and trained_with.stats.count and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s was trained on normalised observations, but this pipeline gives it raw ones. Pass "
                "normalize_observations=agent.observation_normalizer, or play it with tensor_optix.load_policy.",
                type(agent).__name__,
            )

    def space_of(self, space: spaces.Space[object]) -> spaces.Space[object]:
        """Return the space of what the agent sees, given that of what is normalised.

        Raises:
            SpaceError: observations are to be normalised, and the agent takes them in a form that cannot be.
        """
        if self.observations is None:
            return space
        if not isinstance(space, spaces.Box):
            raise SpaceError(
                f"normalize_observations needs arrays, but the agent takes observations of {space} as they are. Leave "
                f"it out, or let the agent declare takes_flat_observations = True."
            )
        bound = self.observations.clip
        return spaces.Box(-bound, bound, space.shape, np.float32)

    def begin_window(self) -> None:
        """Take the last window's observations into the statistics."""
        if self.observations is not None and self._unseen is not None:
            self.observations.update(self._unseen)
            self._unseen = None

    def end_stream(self) -> None:
        """Forget the episodes in progress: the environment is closed."""
        if self.rewards is not None:
            self.rewards.reset()

    def end_episode(self, i: int) -> None:
        """Forget the episode in progress of environment i, where it ended without a step in a window to come."""
        if self.rewards is not None:
            returns = self.rewards.returns_in_progress
            if i < len(returns):
                self.rewards.returns_in_progress = [*returns[:i], 0.0, *returns[i + 1 :]]

    def apply(self, window: EpisodeData) -> EpisodeData:
        """Return the raw window as the agent saw it, its rewards scaled."""
        raw = RawWindow(window.observations, window.next_observations, window.rewards, self.observations, self.rewards)
        if self._parts():
            window = replace(window, metadata={**window.metadata, RAW: raw})
        if self.observations is not None:
            self._unseen = window.observations
            window = replace(
                window,
                observations=self.observations.normalize(window.observations),
                next_observations=self.observations.normalize(window.next_observations),
            )
        if self.rewards is not None:
            by_env = (window.n_envs, -1)
            self.rewards.update(window.rewards.reshape(by_env), window.dones.reshape(by_env))
            window = replace(window, rewards=self.rewards.normalize(window.rewards))
        return window

    def state_dict(self) -> dict[str, object]:
        """Return the statistics in force as plain JSON values; empty where nothing is normalised."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: SavedState) -> None:
        """Take statistics that `state_dict` returned.

        Raises:
            CheckpointMismatchError: they are of other normalisers than there are here.
        """
        parts = self._parts()
        if state.keys() != parts.keys():
            raise CheckpointMismatchError(
                f"The saved statistics are of {sorted(state) or 'nothing'}, but the pipeline normalises "
                f"{sorted(parts) or 'nothing'}. Make it with the normalize_... arguments that the snapshot had."
            )
        for name, part in parts.items():
            part.load_state_dict(state[name])

    def stream_state(self) -> dict[str, object]:
        """Return, between two windows, what the next one goes on from besides `state_dict`, as JSON values."""
        return {
            "unseen": None if self._unseen is None else encoded(self._unseen),
            "returns": None if self.rewards is None else self.rewards.returns_in_progress,
        }

    def restore_stream(self, state: SavedState) -> None:
        """Go on from `stream_state`."""
        self._unseen = None if state["unseen"] is None else decoded(state["unseen"])
        if self.rewards is not None and state["returns"] is not None:
            self.rewards.returns_in_progress = state["returns"]

    def _parts(self) -> dict[str, ObsNormalizer | RewardNormalizer]:
        named = {"observations": self.observations, "rewards": self.rewards}
        return {name: part for name, part in named.items() if part is not None}


def _check_is(argument: str, part: object, kind: type) -> None:
    if not isinstance(part, kind):
        raise ContractError(f"{argument} must be True, False or a {kind.__name__}, but got {part!r}.")
