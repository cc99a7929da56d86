"""What `evaluate` finds beside what a run has reported, and how fresh episodes confirm a score."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_optix._evaluation import Evaluation
from tensor_optix._run_reports import read_report, write_report
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.intervals import mean_interval
from tensor_optix.core.loop.history import History
from tensor_optix.core.storage.line_log import REPORT
from tensor_optix.core.training_report import NOT_AHEAD
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError
from tests.fakes.histories import record
from tests.fakes.reports import report
from tests.helpers import NumpyAgent

RETURNS = [8.0, 10.0, 12.0]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[CheckpointRegistry]:
    registry = CheckpointRegistry(tmp_path)
    registry.save(NumpyAgent(), EvalMetrics(50.0, {"score_std_err": 2.0, "train_score": 11.0}), 30)
    yield registry
    registry.close()


def evaluation(registry: CheckpointRegistry, returns: list[float] = RETURNS) -> Evaluation:
    return Evaluation.of(registry.directory, registry, registry.snapshots()[0], returns)


def test_the_claim_of_the_snapshot_stands_beside_what_it_played(registry: CheckpointRegistry) -> None:
    found = evaluation(registry)
    assert (found.reported.score, found.reported.std_err, found.reported.confirmed) == (50.0, 2.0, False)
    assert found.interval.low <= 10.0 <= found.interval.high
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (plain["episodes"], plain["mean"], plain["min"], plain["max"], plain["reported"]) == (
        3,
        10.0,
        8.0,
        12.0,
        50.0,
    )
    assert plain["std_err"] == pytest.approx(2.0 / math.sqrt(3.0))


def test_a_single_episode_has_no_error_that_json_could_not_hold(registry: CheckpointRegistry) -> None:
    plain = evaluation(registry, [10.0]).to_dict()
    assert (plain["std_err"], plain["episodes"]) == (0.0, 1)


def test_the_interval_knows_what_the_run_has_seen(registry: CheckpointRegistry) -> None:
    narrow = evaluation(registry, [10.0] * 3).interval
    history = History(registry.directory / "history.jsonl")
    history.append(record(0, eval_metrics=EvalMetrics(-900.0, {}, 0)))
    history.close()
    wide = evaluation(registry, [10.0] * 3).interval
    assert wide.high - wide.low > narrow.high - narrow.low


class TestConfirm:
    def test_the_mean_of_fresh_episodes_becomes_the_score_of_the_report(self, registry: CheckpointRegistry) -> None:
        write_report(registry.directory, report(best_score=50.0))
        found = evaluation(registry)
        assert "Confirm it: " in str(found)
        assert found.confirm(7)
        assert "Confirm it: " not in str(found)
        written = read_report(registry.directory)
        assert written == found.report
        assert written is not None
        assert (written.best_score, written.best_window, written.confirmed) == (10.0, 30, True)
        assert written.generalization_gap == 1.0

    def test_a_confirmed_score_is_the_one_that_is_reported_from_then_on(self, registry: CheckpointRegistry) -> None:
        write_report(registry.directory, report(best_score=50.0))
        evaluation(registry).confirm(7)
        again = evaluation(registry, [0.0, 1.0]).reported
        assert (again.score, again.confirmed) == (10.0, True)

    def test_a_score_of_another_snapshot_confirms_nothing(self, registry: CheckpointRegistry) -> None:
        write_report(registry.directory, report(best_snapshot="run/snapshot_000099", confirmed=True))
        found = evaluation(registry).reported
        assert (found.score, found.confirmed) == (50.0, False)

    @pytest.mark.parametrize(
        ("reason", "start", "ahead"),
        [("interrupted", 1.0, True), ("interrupted", 9.8, False), ("nothing_learned", 1.0, False)],
    )
    def test_a_confirmed_score_may_be_ahead_of_the_untrained_policy_after_all(
        self, registry: CheckpointRegistry, reason: str, start: float, ahead: bool
    ) -> None:
        interval = mean_interval([start - 0.5, start + 0.5] * 10)
        fields = {"start_score": start, "start_interval": interval, "ahead_of_start": False, "advice": "Explore more."}
        write_report(registry.directory, report(reason=reason, **fields))
        found = evaluation(registry, RETURNS * 10)
        assert f"Untrained: {start:.2f}  {interval.text()}" in str(found).splitlines()
        assert NOT_AHEAD in str(found)
        assert (found.to_dict()["start_score"], found.to_dict()["ahead_of_start"]) == (start, False)
        assert found.confirm(7)
        written = read_report(registry.directory)
        assert written is not None
        assert (written.ahead_of_start, written.advice) == (ahead, "" if ahead else "Explore more.")
        assert (NOT_AHEAD not in str(found)) is ahead

    def test_without_a_report_nothing_is_written_and_the_score_stays_unconfirmed(
        self, registry: CheckpointRegistry
    ) -> None:
        found = evaluation(registry)
        assert not found.confirm(7)
        assert (found.reported.score, found.reported.confirmed) == (10.0, False)
        assert not (registry.directory / REPORT).exists()


@pytest.mark.parametrize("broken", [b"", b"[]", b'{"reason": 3}'])
def test_a_damaged_report_is_no_missing_one(registry: CheckpointRegistry, broken: Any) -> None:
    (registry.directory / REPORT).write_bytes(broken)
    with pytest.raises(CheckpointCorruptError):
        evaluation(registry)
