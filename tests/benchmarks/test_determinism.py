import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import determinism
from benchmarks._determinism_runs import WORKLOADS, Follower, hash_weights
from benchmarks.determinism import RecordError, compare, differences, fingerprint, interruption, measure, record

CHEAP = "live with a drift"


def line(window_id: int, score: float = 1.0, **more: Any) -> str:
    decided = {"window_id": window_id, "env_steps": 8, "verdict": "flat", "state": "active", "interval": 1}
    nested = {"hyperparams": {"params": {"rate": 0.3}}, "eval_metrics": {"primary_score": score}}
    return json.dumps({**decided, "best_score": score, **nested, **more}) + "\n"


def measured(*lines: str, weights: str = "w") -> dict[str, Any]:
    return {run: fingerprint(lines, weights) for run in ("whole", "resumed")}


SAME = measured(line(0), line(2), line(3))


@pytest.mark.parametrize(
    ("found", "problems"),
    [
        (SAME, []),
        (measured(line(0), line(2), line(3), weights="v"), ["weights differ"]),
        (measured(line(0), line(2, note=1), line(3)), ["history differ from window 2 on"]),
        (
            measured(line(0), line(2), line(3, score=2.0)),
            ["history differ from window 3 on", "decisions differ from window 3 on"],
        ),
        (
            measured(line(0)),
            [f"{kind} differ after window 0, where one of them ends" for kind in ("history", "decisions")],
        ),
    ],
    ids=["same", "weights", "another format", "another score", "shorter"],
)
def test_what_differs_is_named_with_its_window(found: dict[str, Any], problems: list[str]) -> None:
    assert differences(SAME, found) == [f"{run}: {problem}" for run in ("whole", "resumed") for problem in problems]
    assert interruption(found) == []


def test_a_run_that_was_resumed_as_another_is_told() -> None:
    found = {"whole": SAME["whole"], "resumed": measured(line(0), line(2), line(3), weights="v")["resumed"]}
    assert interruption(found) == ["resumed is not as whole: weights differ"]


def test_recording_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked: list[str] = []

    def interrupted(name: str) -> dict[str, Any]:
        if asked:
            raise KeyboardInterrupt
        asked.append(name)
        return SAME

    with pytest.raises(KeyboardInterrupt):
        record(tmp_path / "file.json", ["one", "two"], interrupted)
    assert record(tmp_path / "file.json", ["one", "two"], lambda name: asked.append(name) or SAME) == 0
    assert asked == ["one", "two"]
    assert list(tmp_path.iterdir()) == [tmp_path / "file.json"]


def test_a_comparison_fails_for_what_differs_and_for_what_was_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.json"
    record(file, ["one"], lambda name: SAME)
    assert compare(file, ["one"], lambda name: SAME) == 0
    assert compare(file, ["one"], lambda name: measured(line(0))) == 1
    assert compare(file, ["one", "two"], lambda name: SAME) == 1
    assert "two: " in capsys.readouterr().out


def test_a_record_of_other_code_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "file.json", ["one"], lambda name: SAME)
    monkeypatch.setattr(determinism, "code", lambda: "another")
    with pytest.raises(RecordError, match="other code"):
        record(tmp_path / "file.json", ["two"], lambda name: SAME)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_what_is_no_record_is_refused(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RecordError, match="--record"):
        compare(file, ["one"], lambda name: SAME)
    assert determinism.main(["--compare", str(file), "--only", CHEAP]) == 2


def test_the_hash_of_weights_is_that_of_their_values(tmp_path: Path) -> None:
    def hashed(name: str, level: np.ndarray) -> str:
        agent = Follower()
        agent.level = level
        return hash_weights(agent, tmp_path / name)

    first = hashed("a", np.ones(2))
    assert hashed("b", np.ones(2)) == first
    others = [np.zeros(2), np.ones(2, np.float32), np.ones((2, 1))]
    assert len({first, *(hashed(str(n), level) for n, level in enumerate(others))}) == 4


def test_weights_in_an_unknown_file_are_not_passed_over(tmp_path: Path) -> None:
    class Other(Follower):
        def save_weights(self, path: str) -> None:
            Path(path + ".bin").write_bytes(b"")

    with pytest.raises(ValueError, match=r"weights\.bin"):
        hash_weights(Other(), tmp_path / "final")


def test_a_killed_run_that_is_resumed_comes_out_the_same() -> None:
    found = measure(CHEAP)
    assert interruption(found) == []
    assert found["whole"]["lines"][-1][0] < WORKLOADS[CHEAP].windows
