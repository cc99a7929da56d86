"""The contract of a pipeline: it yields windows of experience."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import EpisodeData
from tensor_optix.support.plain import SavedState


class BasePipeline(ABC):
    """Source of windows; the loop pulls one at a time, and the agent it holds acts in them."""

    agent: BaseAgent | None = None
    """The acting agent; the loop sets it where the user gave none."""
    is_live: bool = False
    """True for a feed that has no end: the loop then watches when the agent is trained, and does not stop."""
    reward_threshold: float | None = None
    """Mean return from which the task counts as solved; None = unknown. The loop reads it when it is wired."""
    max_return: float | None = None
    """Highest possible return of an episode; None = unknown. The loop reads it when it is wired."""

    def set_agent(self, agent: BaseAgent) -> None:
        """Let an agent act, the same as `pipeline.agent = agent`."""
        self.agent = agent

    def setup(self) -> None:  # noqa: B027 - an optional hook
        """Open what the pipeline needs, and check the agent against it; called once before the first window."""

    @abstractmethod
    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows. A later call continues where an earlier iterator stopped."""

    def interrupt(self) -> None:  # noqa: B027 - an optional hook
        """End `episodes` without waiting for the window in progress; called by a signal or a thread."""

    def teardown(self) -> None:  # noqa: B027 - an optional hook
        """Close everything; may be called more than once."""

    def state_dict(self) -> Mapping[str, object]:
        """Return the policy state, as plain JSON values; saved with each snapshot."""
        return {}

    def load_state_dict(self, state: SavedState) -> None:  # noqa: B027 - an optional hook
        """Restore the state that `state_dict` returned."""

    def stream_state(self) -> Mapping[str, object]:
        """Return the place in the stream, as plain JSON values; called between windows.

        It is saved with the run. A pipeline without one starts again when a run is resumed.
        """
        return {}

    def restore_stream(self, state: SavedState) -> None:  # noqa: B027 - an optional hook
        """Continue from what `stream_state` returned, in another process; called after `setup`, before `episodes`."""


@runtime_checkable
class Validates(Protocol):
    """A pipeline that can make a held-out one of its own kind."""

    def validation_pipeline(self, n_episodes: int, seed: int | None) -> BasePipeline | None:
        """Return a pipeline that plays `n_episodes` whole greedy episodes per window, None where it cannot be made."""


@runtime_checkable
class ResizesWindow(Protocol):
    """A pipeline that cuts its stream into windows of a size that may change between two of them."""

    window_size: int
    """Steps of a window, of each environment; what is set holds from the next window on."""

    @property
    def has_fixed_windows(self) -> bool:
        """True where every window has so many steps, whatever happens in it."""
        ...


@runtime_checkable
class PlaysSeeds(Protocol):
    """A validation pipeline whose episodes are fixed by seeds, so that policies can be compared on the same ones."""

    def fresh_seeds(self) -> list[int]:
        """Return seeds that no episode has had, for one window."""
        ...

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        """Play one whole greedy episode per seed and return them as a window."""
        ...


class PlaysAhead(Protocol):
    """Somebody who plays validation episodes while the run goes on; see `core.loop.beside`."""

    def begin(
        self, agent: BaseAgent, statistics: Mapping[str, object], seeds: Sequence[int], max_steps: int | None
    ) -> None:
        """Begin to play one greedy episode per seed.

        Args:
            agent: who acts, as it is now.
            statistics: of its training pipeline, which observations are normalised with.
            seeds: of the episodes.
            max_steps: after which an episode is cut; None = as usual.
        """
        ...

    def result(self, is_stopped: Callable[[], bool]) -> EpisodeData | None:
        """Wait for the episodes, and return them; None where they must be played otherwise.

        Args:
            is_stopped: asked while waiting; as soon as it returns True, None is returned.
        """
        ...

    def close(self) -> None:
        """Let whoever plays go; may be called more than once."""
        ...


@runtime_checkable
class CutsEpisodes(Protocol):
    """A validation pipeline that cuts episodes which do not end."""

    max_episode_steps: int
    """Steps after which an episode is cut; may be changed between windows."""


@runtime_checkable
class Boundable(Protocol):
    """A validation pipeline whose episodes can be bounded, and left between two steps."""

    def bound(self, max_steps: int | None, is_stopped: Callable[[], bool]) -> None:
        """Say how far the episodes to come are played.

        Args:
            max_steps: an episode is cut after so many steps and counts with its return so far; None = no such bound.
            is_stopped: asked between steps; as soon as it returns True, playing raises `PlayStoppedError`.
        """
        ...
