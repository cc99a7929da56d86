"""Validation episodes in a process of their own: the driver's end of `multirun.playing`."""

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.faults import SEEDS
from tensor_optix.core.types import EpisodeData, EpisodeSummary
from tensor_optix.errors import CheckpointError, ExecutorError
from tensor_optix.executors import Executor, Payload
from tensor_optix.executors.executor import Outcome
from tensor_optix.executors.processes import one_process
from tensor_optix.multirun.files import files_in
from tensor_optix.support.arrays import decoded
from tensor_optix.support.plain import Json, SavedState, jsonable

logger = logging.getLogger(__name__)

PLAY = "tensor_optix.multirun.playing:play_window"
_POLL_SECONDS = 0.1


class PlayedBeside:
    """Plays the validation episodes of a run in another process, which is started with the first ones.

    A policy goes there as files of weights; no agent and no environment is sent. Where that process cannot be started,
    or fails, a warning says so, and nothing is played there any more.

    Args:
        run: the settings of the run, by name.
        make_executor: makes what plays.
    """

    def __init__(self, run: Mapping[str, object], make_executor: Callable[[int], Executor] | None = None) -> None:
        self._run: Json = jsonable(run)
        threads = run["threads"]
        self._threads = threads if isinstance(threads, int) else 1
        self._make = make_executor or one_process
        self._thread = ThreadPoolExecutor(1)
        self._executor: Executor | None = None
        self._asked: Future[Outcome] | None = None
        self._seeds: Sequence[int] = ()
        self._has_failed = False

    def begin(
        self, agent: BaseAgent, statistics: Mapping[str, object], seeds: Sequence[int], max_steps: int | None
    ) -> None:
        """Begin to play one greedy episode per seed; see `PlaysAhead`."""
        if self._has_failed:
            return
        about = {"run": self._run, "statistics": jsonable(statistics), "seeds": list(seeds), "max_steps": max_steps}
        item = Payload(about, weights_of(agent))
        self._seeds, self._asked = seeds, self._thread.submit(self._play, item)

    def _play(self, item: Payload) -> Outcome:
        if self._executor is None:
            self._executor = self._make(self._threads)
        (outcome,) = self._executor.outcomes(PLAY, [item])
        return outcome

    def result(self, is_stopped: Callable[[], bool]) -> EpisodeData | None:
        """Wait for the episodes, and return them; None where there are none."""
        asked, self._asked = self._asked, None
        if asked is None:
            return None
        while not wait([asked], _POLL_SECONDS).done:
            if is_stopped():
                return None
        try:
            outcome = asked.result()
        except (ExecutorError, CheckpointError, OSError) as error:
            outcome = error
        if isinstance(outcome, Payload):
            return None if outcome.values is None else window_of(outcome.values, self._seeds)
        self._has_failed = True
        logger.warning("From now on validation is played in the run's own process, as another one failed: %s", outcome)
        return None

    def close(self) -> None:
        """Let the process go."""
        if self._executor is not None:
            self._executor.cancel()
        self._thread.shutdown()
        if self._executor is not None:
            self._executor.close()
            self._executor = None


def weights_of(agent: BaseAgent) -> dict[str, bytes]:
    """Return the files that an agent saves its weights in, by name."""
    with tempfile.TemporaryDirectory() as folder:
        agent.save_weights(str(Path(folder, "agent")))
        return files_in(Path(folder))


def window_of(values: SavedState, seeds: Sequence[int]) -> EpisodeData:
    """Return the window that `multirun.playing` has made plain values of."""
    arrays = {name: decoded(values[name]) for name in ("observations", "actions", "rewards", "terminated", "truncated")}
    completed = tuple(EpisodeSummary(*one) for one in values["completed"])
    return EpisodeData(**arrays, completed=completed, metadata={SEEDS: tuple(seeds), **values["bounds"]})
