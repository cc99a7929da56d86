"""One slice of recorded data, played from its first row to its last."""

import sys
from collections.abc import Callable, Iterator

import gymnasium as gym

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.normalizers import ObsNormalizer
from tensor_optix.core.types import EpisodeData
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.support.arguments import check_count
from tensor_optix.support.plain import SavedState


class SlicePipeline(BasePipeline):
    """Plays whole greedy episodes over a slice of data, for validation or test: nothing is learned, no episode is cut.

    Its episodes are no draws of chance. Where the environment begins at the first row they are the same each time, so
    that a policy's score is one number, and the loop asks for no further ones.

    Args:
        make_env: returns the environment over the slice.
        agent: the acting policy; `RLOptimizer` fills it in.
        n_episodes: per window; one pass says all where the environment has no chance.
        seed: of the episodes, where the environment has some.
        observation_normalizer: what the agent's observations are normalised with; it is not updated here.

    Raises:
        InvalidArgumentError: `n_episodes` below 1.
        SpaceError: observations that can be neither passed nor flattened.
    """

    def __init__(
        self,
        make_env: Callable[[], gym.Env],
        agent: BaseAgent | None = None,
        *,
        n_episodes: int = 1,
        seed: int | None = None,
        observation_normalizer: ObsNormalizer | None = None,
    ) -> None:
        check_count("n_episodes", n_episodes, 1)
        self.agent = agent
        self._episodes = ValidationPipeline(
            [make_env] * int(n_episodes), seed=seed, observation_normalizer=observation_normalizer
        )
        self.bound(None, lambda: False)

    def setup(self) -> None:
        """Check that the agent fits the environment."""
        self._episodes.agent = self.agent
        self._episodes.setup()

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows of `n_episodes` whole episodes, without end."""
        while True:
            self._episodes.agent = self.agent
            yield self._episodes.play(self._episodes.fresh_seeds())

    def bound(self, max_steps: int | None, is_stopped: Callable[[], bool]) -> None:
        """Ask `is_stopped` between steps; the data itself bounds an episode."""
        self._episodes.bound(None, is_stopped)
        self._episodes.max_episode_steps = sys.maxsize

    def teardown(self) -> None:
        """Close the environments."""
        self._episodes.teardown()

    def stream_state(self) -> dict[str, object]:
        """Return where the episodes' seeds stand."""
        return self._episodes.stream_state()

    def restore_stream(self, state: SavedState) -> None:
        """Restore the position in the sequence of episode seeds."""
        self._episodes.restore_stream(state)
