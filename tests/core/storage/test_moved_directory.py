"""A run goes on from wherever its directory is, and opens it quickly."""

import shutil
import time
from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.resume_ring import ResumeRing
from tests.conftest import Goal
from tests.fakes.disk import BigAgent, content, save_big, write_agent
from tests.helpers import HANG_S

# --- directories that are moved about ---


@pytest.mark.parametrize("how", ["moved", "copied", "linked above", "linked", "renamed while open"])
def test_a_run_goes_on_from_any_path_and_nothing_is_deleted_or_quarantined(tmp_path: Path, how: str) -> None:
    home = tmp_path / "above" / "run"
    registry, ring = CheckpointRegistry(home), ResumeRing(home)
    for window_id in range(3):
        save_big(registry, float(window_id), window_id)
        ring.save(write_agent(window_id), {"n": window_id})
    before = content(home)
    if how != "renamed while open":
        registry.close()
    there = tmp_path / "elsewhere"
    if how in ("moved", "renamed while open"):
        home.rename(there)
    elif how == "copied":
        shutil.copytree(home, there)
    elif how == "linked":
        there.symlink_to(home)
    else:
        (tmp_path / "link").symlink_to(tmp_path / "above")
        there = tmp_path / "link" / "run"
    registry.close()
    again, ring = CheckpointRegistry(there), ResumeRing(there)
    again.open()
    assert content(there) == before
    agent = BigAgent()
    assert again.load_best(agent).window_id == 2
    point = ring.newest()
    assert point is not None
    assert point.state == {"n": 2}
    assert save_big(again, 9.0, 3).sequence == 3
    assert ring.save(write_agent(9.0), {"n": 3}) == 3
    again.close()


# --- how long it takes ---


@pytest.mark.slow
@pytest.mark.xdist_group("timing")
def test_a_directory_of_fifty_large_snapshots_is_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timing: Goal
) -> None:
    monkeypatch.setattr(BigAgent, "size", 1 << 17)  # 1 MiB
    registry = CheckpointRegistry(tmp_path, max_snapshots=50)
    for window_id in range(50):
        save_big(registry, float(window_id), window_id)
    registry.close()
    taken = []
    for _ in range(40):
        start = time.perf_counter()
        again = CheckpointRegistry(tmp_path, max_snapshots=50)
        again.open()
        assert again.load_best(BigAgent()).window_id == 49
        again.close()
        taken.append(time.perf_counter() - start)
    p95 = sorted(taken)[37]
    measured = f"p95 {1e3 * p95:.0f} ms, median {1e3 * sorted(taken)[20]:.0f} ms"
    timing("G10 reopen", "p95 <= 200 ms with 50 snapshots of 1 MiB", measured, p95 <= 0.2)
    assert max(taken) <= HANG_S
