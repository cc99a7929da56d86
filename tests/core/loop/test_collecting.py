"""Windows come one after the other, from whoever learns."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.collecting import Collecting
from tensor_optix.core.loop.learner import Single
from tensor_optix.core.loop.learning import Learning
from tensor_optix.core.loop.run_progress import RunProgress
from tensor_optix.core.types import EpisodeData
from tensor_optix.support.undisturbed import UNDISTURBED
from tests.fakes.loops import FixedOptimizer
from tests.helpers import NumpyAgent, window_of


class Slow(BasePipeline):
    """Each window takes two seconds, and tells by its reward who opened the iterator."""

    def __init__(self, agent: NumpyAgent, clock: list[float]) -> None:
        self.agent, self.clock = agent, clock

    def episodes(self) -> Iterator[EpisodeData]:
        acting = self.agent
        assert isinstance(acting, NumpyAgent)
        for _ in range(2):
            self.clock[0] += 2.0
            yield window_of(acting.weight)


def test_a_new_learner_opens_an_iterator_of_its_own_and_the_seconds_are_those_of_one_window(tmp_path: Path) -> None:
    agent, clock = NumpyAgent(), [0.0]
    agent.weight = 1.0
    pipeline, progress = Slow(agent, clock), RunProgress(lambda: clock[0])
    slot = Single(agent, pipeline)
    learning = Learning(slot, CheckpointRegistry(tmp_path), FixedOptimizer(), progress.health)
    collecting = Collecting(pipeline, learning, progress)
    returns = []
    for window in collecting.windows():
        returns += [episode.total_return for episode in window.completed_episodes()]
        assert collecting.seconds == 2.0
        if len(returns) == 1:
            other = NumpyAgent()
            other.weight = 7.0
            slot.install(other)
    assert returns == [1.0, 7.0, 7.0]
    assert progress.seconds["collect"] == 6.0


class Looking(Slow):
    """Notes whether it is played undisturbed."""

    numbers: list[int] = []

    def episodes(self) -> Iterator[EpisodeData]:
        for window in super().episodes():
            self.numbers.append(UNDISTURBED.number)
            yield window


@pytest.mark.parametrize(
    ("module", "is_live", "is_undisturbed"),
    [
        ("tensor_optix.pipeline.batch_pipeline", False, True),
        ("tensor_optix.pipeline.x", True, False),
        ("u", False, False),
    ],
)
def test_only_pipelines_of_ours_that_are_not_live_are_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, is_live: bool, is_undisturbed: bool
) -> None:
    monkeypatch.setattr(Looking, "__module__", module)
    monkeypatch.setattr(Looking, "is_live", is_live)
    monkeypatch.setattr(Looking, "numbers", [])
    agent = NumpyAgent()
    pipeline, progress = Looking(agent, [0.0]), RunProgress(lambda: 0.0)
    learning = Learning(Single(agent, pipeline), CheckpointRegistry(tmp_path), FixedOptimizer(), progress.health)
    windows = list(Collecting(pipeline, learning, progress).windows())
    assert len(windows) == len(pipeline.numbers) == 2
    assert [number > 0 for number in pipeline.numbers] == [is_undisturbed] * 2
    assert UNDISTURBED.number == 0
