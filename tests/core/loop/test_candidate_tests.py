"""When a candidate is tested against the best, and the best alone; what a storage that fails leaves."""

from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.loop.selection import CLOSE_SHARE, TEST_SHARE, TEST_WINDOWS
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointStorageError
from tests.fakes.damage import flip_a_byte_of_the_weights
from tests.fakes.scoring import ScoringRig


def test_a_candidate_is_tested_against_the_best_on_fresh_episodes(tmp_path: Path) -> None:
    rig = ScoringRig(tmp_path, is_seeded=True)
    best = rig.save(1.0, weight=1.0)
    rig.agent.weight = 3.0
    scored = rig.score(9.0, best, env_steps=10_000)
    assert (scored.is_best, scored.metrics.primary_score) == (True, 3.0)
    assert scored.metrics.metrics["train_score"] == 9.0
    assert len(scored.evidence) == TEST_WINDOWS
    assert scored.incumbent is not None
    assert scored.incumbent.metrics.primary_score == 1.0
    assert scored.test_steps == 2 * 2 * TEST_WINDOWS  # both, two steps a window
    assert rig.agent.weight == 3.0  # the best was only loaded for the test
    rig.registry.close()


def test_one_that_is_behind_is_not_tested(tmp_path: Path) -> None:
    rig = ScoringRig(tmp_path, is_seeded=True)
    best = rig.save(8.0, weight=8.0)
    rig.agent.weight = 3.0
    scored = rig.score(9.0, best, best_tested_in=4)
    assert (scored.is_best, scored.test_steps, scored.incumbent) == (False, 0, None)
    rig.registry.close()


@pytest.mark.parametrize(
    ("tested_in", "steps", "is_tested"), [(-1, 0, True), (3, 0, False), (-1, 1 + CLOSE_SHARE * 1000, False)]
)
def test_meanwhile_the_best_is_tested_again_where_that_is_due_and_affordable(
    tmp_path: Path, tested_in: int, steps: float, is_tested: bool
) -> None:
    rig = ScoringRig(tmp_path, is_seeded=True)
    best = rig.save(8.0, weight=5.0)
    rig.agent.weight = 3.0
    scored = rig.score(9.0, best, best_tested_in=tested_in, env_steps=1000, test_steps=int(steps))
    assert (scored.metrics.primary_score, scored.is_best, rig.agent.weight) == (3.0, False, 3.0)
    assert scored.test_steps == is_tested * 2 * TEST_WINDOWS
    assert (scored.incumbent is not None) is is_tested
    if scored.incumbent is not None:
        assert scored.incumbent.metrics.primary_score == 5.0
    rig.registry.close()


def test_a_candidate_behind_by_no_more_than_the_error_is_tested(tmp_path: Path) -> None:
    rig = ScoringRig(tmp_path, is_seeded=True)
    rig.agent.weight = 2.5
    best = rig.registry.save(rig.agent, EvalMetrics(8.0, {"score_std_err": 6.0}))
    rig.agent.weight = 3.0
    scored = rig.score(9.0, best, best_tested_in=4, env_steps=1000)
    assert (scored.is_best, scored.test_steps) == (True, 2 * 2 * TEST_WINDOWS)
    dear = rig.score(9.0, best, best_tested_in=4, env_steps=1000, test_steps=int(1 + CLOSE_SHARE * 1000))
    assert (dear.is_best, dear.test_steps) == (False, 0)
    rig.registry.close()


def test_tests_that_have_cost_their_share_are_short(tmp_path: Path) -> None:
    rig = ScoringRig(tmp_path, is_seeded=True)
    best = rig.save(1.0, weight=1.0)
    rig.agent.weight = 3.0
    share = int(1000 * TEST_SHARE)
    thorough = rig.score(9.0, best, env_steps=1000, test_steps=share)
    short = rig.score(9.0, best, env_steps=1000, test_steps=share + 1)
    assert short.test_steps < thorough.test_steps
    rig.registry.close()


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_where_the_best_is_damaged_the_candidate_takes_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, weight: float
) -> None:
    rig = ScoringRig(tmp_path, is_seeded=True)
    best = rig.save(1.0, weight=1.0)
    flip_a_byte_of_the_weights(rig.registry.path_of(best))
    rig.agent.weight = weight
    scored = rig.score(9.0, best, env_steps=10_000)
    assert (scored.is_best, scored.metrics.primary_score, scored.incumbent) == (True, weight, None)
    assert rig.agent.weight == weight
    assert "The best policy is damaged, and that of window 4 takes its place" in caplog.text
    rig.registry.close()


def test_where_the_best_cannot_be_read_the_candidate_only_has_its_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = ScoringRig(tmp_path, is_seeded=True)
    best = rig.save(1.0, weight=1.0)
    rig.agent.weight = 3.0

    def unreadable(*_: object) -> Any:
        raise CheckpointStorageError("Input/output error")

    monkeypatch.setattr(rig.registry, "loaded", unreadable)
    scored = rig.score(9.0, best, env_steps=10_000)
    assert (scored.is_best, scored.metrics.primary_score) == (False, 3.0)
    assert rig.faults == {"storage": 1}
    rig.registry.close()
