import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import determinism


def hashes(history: str, lines: list[str], decisions: str = "d", weights: str = "w") -> dict[str, Any]:
    return {"history": history, "decisions": decisions, "weights": weights, "lines": lines}


def test_equal_hashes_are_no_difference() -> None:
    found = {"whole": hashes("h", ["a", "b"])}
    assert determinism.differences(found, found) == []


def test_the_first_evaluation_that_differs_is_named() -> None:
    recorded = {"whole": hashes("h", ["a", "b", "c"])}
    found = {"whole": hashes("i", ["a", "x", "y"], decisions="e")}
    assert determinism.differences(recorded, found) == [
        "whole: history differs, the history from evaluation 1 on",
        "whole: decisions differs, the history from evaluation 1 on",
    ]


def test_a_live_run_with_a_drift_repeats_itself_also_when_it_is_killed_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.json"
    only = ["--only", "live with a drift"]
    assert determinism.main([*only, "--record", str(record)]) == 0
    assert determinism.main([*only, "--compare", str(record)]) == 0
    assert capsys.readouterr().out.splitlines() == ["live with a drift: the same"] * 2
    saved = json.loads(record.read_text())
    saved["workloads"]["live with a drift"]["whole"]["weights"] = "other"
    record.write_text(json.dumps(saved))
    assert determinism.main([*only, "--compare", str(record)]) == 1
    assert "weights differs" in capsys.readouterr().out
