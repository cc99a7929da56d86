"""What a worker plays for a run that validates beside training: greedy episodes of the policy that it is sent."""

import tempfile
from pathlib import Path

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent, can_be_greedy
from tensor_optix.core.faults import CUT_EPISODES, EPISODE_LIMIT
from tensor_optix.core.types import EpisodeData
from tensor_optix.executors import Context, Payload
from tensor_optix.factory import set_threads
from tensor_optix.multirun.files import write_files
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.runs import RunDescription
from tensor_optix.support.arrays import encoded
from tensor_optix.support.plain import SavedState

_players: dict[str, "Player"] = {}
"""The newest, by the settings of its run: what it is made of takes longer to make than a window to play."""


class Player:
    """The agent of a run, which takes the weights that it is given, and the environments in which it plays.

    Args:
        run: the settings of the run, by name.
    """

    def __init__(self, run: SavedState) -> None:
        described = RunDescription(**run)
        set_threads(described.framework, described.threads)
        self.agent: BaseAgent = described.agent()
        self.training: BatchPipeline | VectorBatchPipeline = described.pipeline()
        self.training.agent = self.agent
        self.training.setup()
        self.validation: ValidationPipeline | None = self.training.validation_pipeline(described.val_episodes, 0)
        if self.validation is not None:
            self.validation.agent = GreedyAgent(self.agent) if can_be_greedy(self.agent) else self.agent
            self.validation.setup()

    def close(self) -> None:
        """Close the environments."""
        self.training.teardown()
        if self.validation is not None:
            self.validation.teardown()


def play_window(item: Payload, context: Context) -> Payload:
    """Play a window of greedy episodes.

    Args:
        item: values `run`, its settings; `statistics` of its pipeline; `seeds`, one per episode; `max_steps` after
            which they are cut; the tensors are the files of the weights.
        context: of the job.

    Returns:
        The window as plain values; None where it cannot be sent, or played.
    """
    values = item.values
    player = _player_of(values["run"])
    if player.validation is None:
        return Payload(None)
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), item.tensors)
        player.agent.load_weights(str(Path(folder, "agent")))
    player.training.load_state_dict(values["statistics"])
    player.validation.bound(values["max_steps"])
    return Payload(_sent(player.validation.play(values["seeds"])))


def _player_of(run: SavedState) -> Player:
    key = repr(run)
    if key not in _players:
        while _players:
            _players.popitem()[1].close()
        _players[key] = Player(run)
    return _players[key]


def _sent(window: EpisodeData) -> dict[str, object] | None:
    """Return what a window is scored by, and told from others, as plain values; None where JSON has no form of it."""
    try:
        arrays = {
            name: encoded(getattr(window, name))
            for name in ("observations", "actions", "rewards", "terminated", "truncated")
        }
    except TypeError:  # text in graphs, sequences: what is played by few is played where the run is
        return None
    completed = [[one.total_return, one.length, one.success] for one in window.completed_episodes()]
    bounds = {name: window.metadata[name] for name in (EPISODE_LIMIT, CUT_EPISODES) if name in window.metadata}
    return {**arrays, "completed": completed, "bounds": bounds}
