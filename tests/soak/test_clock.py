"""A wall clock that jumps: it says when a snapshot was made, and nothing depends on it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics
from tests.fakes.agents import RememberingAgent
from tests.helpers import NumpyAgent
from tests.soak.faults._resuming import fingerprint

JUMPS = [timedelta(days=3652), timedelta(days=-3652), timedelta(seconds=-1), timedelta()] * 50
"""Ten years ahead, ten years back, a little back, and stopped, 50 times each."""


class Jumping:
    """A clock that is somewhere else whenever it is asked."""

    def __init__(self) -> None:
        self._jumps, self._now = list(np.random.default_rng(0).permutation(np.array(JUMPS))), datetime.now(UTC)
        self.told: list[datetime] = []

    def __call__(self) -> datetime:
        self._now += self._jumps[len(self.told)]
        self.told.append(self._now)
        return self._now


def kept(folder: Path, **clock: Jumping) -> list[tuple[str, float]]:
    """Save as often as the clock jumps, and return what is kept."""
    registry, scores = CheckpointRegistry(folder, 5, **clock), np.random.default_rng(1).normal(size=len(JUMPS))
    for window_id, score in enumerate(scores):
        registry.save(NumpyAgent(), EvalMetrics(float(score)), window_id)
    registry.close()
    return [(snapshot.snapshot_id, snapshot.eval_metrics.primary_score) for snapshot in registry.snapshots()]


@pytest.mark.slow
def test_what_is_kept_does_not_depend_on_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    clock = Jumping()
    assert kept(tmp_path / "jumping", now=clock) == kept(tmp_path / "steady")
    assert len(clock.told) == len(JUMPS)
    assert clock.told != sorted(clock.told)


def run_in(folder: Path) -> str:
    agent = RememberingAgent()
    pipeline = BatchPipeline("CartPole-v1", window_size=20)
    RLOptimizer(agent, pipeline, checkpoint_dir=folder, max_episodes=60, seed=5, dormant_threshold=60).run()
    return fingerprint(agent, folder)


@pytest.mark.slow
def test_a_run_does_not_depend_on_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady, clock = run_in(tmp_path / "steady"), Jumping()
    init = CheckpointRegistry.__init__
    monkeypatch.setattr(init, "__kwdefaults__", {**(init.__kwdefaults__ or {}), "now": clock})
    assert run_in(tmp_path / "jumping") == steady
    assert clock.told
