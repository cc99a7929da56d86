"""A wall clock that jumps: it names when a snapshot was made, and nothing depends on it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer
from tensor_optix.core import checkpoint_registry
from tests.soak.faults._resuming import fingerprint
from tests.test_resume import RememberingAgent

DECADE = timedelta(days=3652)


class Jumping:
    """Ten years ahead, ten years back, a little back, or stopped, at random."""

    def __init__(self) -> None:
        self._rng, self._now = np.random.default_rng(0), datetime(2026, 1, 1, tzinfo=UTC)
        self.asked = 0

    def __call__(self) -> datetime:
        self.asked += 1
        jumps = (DECADE, -DECADE, timedelta(seconds=-1), timedelta())
        self._now = min(max(self._now + jumps[self._rng.integers(4)], datetime(1970, 1, 2, tzinfo=UTC)), _LAST)
        return self._now


_LAST = datetime(2400, 1, 1, tzinfo=UTC)


def lived(folder: Path) -> str:
    agent = RememberingAgent()
    RLOptimizer(
        agent,
        BatchPipeline("CartPole-v1", window_size=20),
        checkpoint_dir=folder,
        max_episodes=60,
        seed=5,
        val_episodes=1,
        max_interval_episodes=1,
        dormant_threshold=60,
    ).run()
    return fingerprint(agent, folder)


def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = lived(tmp_path / "steady")
    clock = Jumping()
    monkeypatch.setattr(checkpoint_registry.CheckpointRegistry.__init__, "__kwdefaults__", _with(clock))
    assert lived(tmp_path / "jumping") == steady
    assert clock.asked > 3


def _with(clock: Jumping) -> dict[str, object]:
    return {**(checkpoint_registry.CheckpointRegistry.__init__.__kwdefaults__ or {}), "now": clock}
