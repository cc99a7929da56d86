"""Steps in, windows out: the only place that knows where episodes begin and end."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData, EpisodeSummary


class RolloutBuilder:
    """Gathers the steps of one environment into windows.

    Returns and lengths of episodes run on across windows; everything else starts anew with each window.
    """

    def __init__(self) -> None:
        self._episode_return = 0.0
        self._episode_length = 0
        self._observations: list[Any] = []
        self._actions: list[Any] = []
        self._rewards: list[float] = []
        self._terminated: list[bool] = []
        self._truncated: list[bool] = []
        self._infos: list[Mapping[str, Any]] = []
        self._final_observations: dict[int, Any] = {}
        self._completed: list[tuple[int, EpisodeSummary]] = []

    def __len__(self) -> int:
        return len(self._rewards)

    @property
    def episodes_completed(self) -> int:
        """Episodes that ended in the window so far."""
        return len(self._completed)

    def add(
        self,
        observation: Any,
        action: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, Any],
        next_observation: Any,
    ) -> None:
        """Add one step, as `env.step` returned it.

        `observation` is kept as it is: an environment may hand out one array that it goes on changing, so the caller
        copies it before the step.
        """
        self._observations.append(observation)
        self._actions.append(action)
        self._rewards.append(reward)
        self._terminated.append(terminated)
        self._truncated.append(truncated)
        self._infos.append(info)
        self._episode_return += reward
        self._episode_length += 1
        if terminated or truncated:
            self._final_observations[len(self._rewards) - 1] = np.array(next_observation)
            self._completed.append((len(self._rewards) - 1, EpisodeSummary(self._episode_return, self._episode_length)))
            self._episode_return, self._episode_length = 0.0, 0

    def build(self, window_id: int, next_observation: Any, size: int | None = None) -> EpisodeData:
        """Return the window and begin the next.

        Args:
            window_id: its number.
            next_observation: what follows the last step added, where no episode ended there.
            size: how many of the steps belong to this window; the others begin the next one. None = all.
        """
        size = len(self) if size is None else size
        if size < len(self):
            next_observation = self._observations[size]
        observations = np.array(self._observations[:size])
        next_observations = np.empty_like(observations)
        next_observations[:-1] = observations[1:]
        next_observations[-1] = next_observation
        for row, final in self._final_observations.items():
            if row < size:
                next_observations[row] = final
        data = EpisodeData(
            observations=observations,
            actions=np.array(self._actions[:size]),
            rewards=np.array(self._rewards[:size], np.float32),
            terminated=np.array(self._terminated[:size], bool),
            truncated=np.array(self._truncated[:size], bool),
            infos=self._infos[:size],
            episode_id=window_id,
            next_observations=next_observations,
            completed=tuple(summary for row, summary in self._completed if row < size),
        )
        self._keep_from(size)
        return data

    def _keep_from(self, size: int) -> None:
        """Drop the first `size` steps."""
        for steps in (
            self._observations,
            self._actions,
            self._rewards,
            self._terminated,
            self._truncated,
            self._infos,
        ):
            del steps[:size]
        self._final_observations = {row - size: o for row, o in self._final_observations.items() if row >= size}
        self._completed = [(row - size, summary) for row, summary in self._completed if row >= size]
