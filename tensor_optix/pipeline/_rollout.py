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
        self._clear()

    def __len__(self) -> int:
        return len(self._rewards)

    def _clear(self) -> None:
        self._observations: list[Any] = []
        self._actions: list[Any] = []
        self._rewards: list[float] = []
        self._terminated: list[bool] = []
        self._truncated: list[bool] = []
        self._infos: list[Mapping[str, Any]] = []
        self._final_observations: dict[int, Any] = {}
        self._completed: list[EpisodeSummary] = []

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
            self._completed.append(EpisodeSummary(self._episode_return, self._episode_length))
            self._episode_return, self._episode_length = 0.0, 0

    def build(self, window_id: int, next_observation: Any) -> EpisodeData:
        """Return the window and begin the next.

        Args:
            window_id: its number.
            next_observation: what follows its last step, where no episode ended there.
        """
        observations = np.array(self._observations)
        next_observations = np.empty_like(observations)
        next_observations[:-1] = observations[1:]
        next_observations[-1] = next_observation
        for row, final in self._final_observations.items():
            next_observations[row] = final
        data = EpisodeData(
            observations=observations,
            actions=np.array(self._actions),
            rewards=np.array(self._rewards, np.float32),
            terminated=np.array(self._terminated, bool),
            truncated=np.array(self._truncated, bool),
            infos=self._infos,
            episode_id=window_id,
            next_observations=next_observations,
            completed=tuple(self._completed),
        )
        self._clear()
        return data
