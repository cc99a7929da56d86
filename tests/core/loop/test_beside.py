"""Validation beside training: who plays decides nothing, and a run that is cut anywhere ends as one that is not."""

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tests.helpers import NumpyAgent

WINDOWS = 9


class Balancer(NumpyAgent):
    """Leans against the fall as its weights say; while it explores, now and then not, by what it sees."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.2)
        self.weights = np.array([0.0, 0.0, -1.0, 0.1])

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        explored = 0.0 if deterministic else np.sin(1e4 * observations[:, 0]) > 0.7
        return ((observations @ self.weights > 0) != explored).astype(int)

    def act(self, observation: Any, deterministic: bool = False) -> int:
        return int(self.act_batch(np.asarray(observation)[None], deterministic=deterministic)[0])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        observations = np.asarray(episode_data.observations)
        self.weights = self.weights + self.params["learning_rate"] * np.abs(observations).mean(axis=0)
        return {"loss": 1.0}

    def save_weights(self, path: str) -> None:
        np.save(path + ".npy", self.weights)

    def load_weights(self, path: str) -> None:
        self.weights = np.load(path + ".npy")


class Somebody:
    """Plays in environments of its own."""

    def __init__(self) -> None:
        self.agent = Balancer()
        self.training = BatchPipeline("CartPole-v1", agent=self.agent, window_size=8, normalize_observations=True)
        self.training.setup()
        self.validation: Any = self.training.validation_pipeline(2, 0)
        self.validation.agent = GreedyAgent(self.agent)
        self.window: EpisodeData | None = None
        self.begun, self.played, self.is_closed = 0, 0, False

    def begin(
        self, agent: BaseAgent, statistics: Mapping[str, Any], seeds: Sequence[int], max_steps: int | None
    ) -> None:
        assert isinstance(agent, Balancer)
        self.begun += 1
        self.agent.weights = agent.weights.copy()
        self.training.load_state_dict(statistics)
        self.validation.bound(max_steps)
        self.window = self.validation.play(seeds)

    def result(self, is_stopped: Callable[[], bool]) -> EpisodeData | None:
        self.played += 1
        return self.window

    def close(self) -> None:
        self.is_closed = True


class Nobody(Somebody):
    """Is asked, and plays nothing."""

    def result(self, is_stopped: Callable[[], bool]) -> EpisodeData | None:
        super().result(is_stopped)
        return None


class KilledError(BaseException):
    """The process ends."""


class Fatal(Somebody):
    """Ends the process at one of its calls.

    Args:
        at: call of `begin` or `result`, counted together.
    """

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def begin(
        self, agent: BaseAgent, statistics: Mapping[str, Any], seeds: Sequence[int], max_steps: int | None
    ) -> None:
        self._count()
        super().begin(agent, statistics, seeds, max_steps)

    def result(self, is_stopped: Callable[[], bool]) -> EpisodeData | None:
        self._count()
        return super().result(is_stopped)

    def _count(self) -> None:
        if self.begun + self.played == self.at:
            raise KilledError


def optimizer_of(
    folder: Path, player: Any, *callbacks: LoopCallback, resume: bool = False, **bounds: Any
) -> RLOptimizer:
    return RLOptimizer(
        Balancer(),
        BatchPipeline("CartPole-v1", window_size=64, normalize_observations=True),
        checkpoint_dir=folder,
        seed=3,
        val_episodes=2,
        callbacks=callbacks,
        resume=resume,
        progress=False,
        player=player,
        **{"max_windows": WINDOWS, **bounds},
    )


def run(folder: Path, player: Any, **how: Any) -> TrainingReport:
    return optimizer_of(folder, player, **how).run()


def files(folder: Path) -> list[Any]:
    """Return what a run has left, but for the unscored policy that one which fails saves at its end."""
    registry = CheckpointRegistry(folder)
    scored = [one for one in registry.snapshots() if one.eval_metrics.has_evidence]
    found: list[Any] = [(one.eval_metrics, one.hyperparams, one.evidence) for one in scored]
    for one in scored:
        found += [(registry.path_of(one) / name).read_bytes() for name in ("weights/agent.npy", "companions.json")]
    return [(folder / "history.jsonl").read_bytes(), found]


@pytest.fixture(scope="module", autouse=True)
def short_tests() -> Generator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for name in (
            "FEWEST_EPISODES",
            "MOST_STEPS",
            "LONGEST",
            "SHORT_STEPS",
        ):  # the untrained policy plays next to nothing here
            patched.setattr(f"tensor_optix.core.loop.untrained.{name}", 1)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder, player = tmp_path_factory.mktemp("whole"), Somebody()
    run(folder, player)
    assert player.is_closed
    assert WINDOWS - 4 < player.begun == player.played < WINDOWS  # the first are timed, and after the last none follows
    return files(folder)


def test_who_plays_decides_nothing(tmp_path: Path, whole: list[Any]) -> None:
    run(tmp_path, Nobody())
    assert files(tmp_path) == whole


@pytest.mark.parametrize("at", [0, 1, 8])
def test_a_run_that_is_killed_around_an_evaluation_ends_as_one_that_is_not(
    tmp_path: Path, whole: list[Any], at: int
) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, Fatal(at))
    run(tmp_path, Somebody(), resume=True)
    assert files(tmp_path) == whole


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path: Path, whole: list[Any]) -> None:
    class Stopping(LoopCallback):
        stop: Callable[[], None]

        def on_window_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            if window_id == 5:
                self.stop()

    stopping = Stopping()
    optimizer = optimizer_of(tmp_path, Somebody(), stopping)
    stopping.stop = optimizer.stop
    assert optimizer.run().windows == 7  # the one that was collected by then is learned from
    run(tmp_path, Somebody(), resume=True)
    assert files(tmp_path)[0] == whole[0]


def test_a_run_that_ends_by_a_verdict_learns_from_no_further_window(tmp_path: Path) -> None:
    report = run(tmp_path, Somebody(), max_windows=None, plateau_threshold=1, dormant_threshold=6)
    records = (tmp_path / "history.jsonl").read_text().splitlines()
    assert report.reason in ("converged", "nothing_learned")
    assert report.windows == len(records)


def test_an_own_validation_pipeline_is_played_where_it_is(tmp_path: Path) -> None:
    player, own = Somebody(), BatchPipeline("CartPole-v1", window_size=64)
    run(tmp_path, player, val_pipeline=own, max_windows=3)
    assert player.begun == 0
