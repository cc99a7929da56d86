"""What the loop decides on scripted scores is what it has always decided: no processor changes it, no redesign may.

`python -m tests.core.test_scripted_decisions` rewrites the file, where a decision is to change on purpose.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import RLOptimizer
from tests.fakes.scripts import DECIDED, SCRIPTS, WINDOWS
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline

GOLDEN = Path(__file__).with_name("scripted_decisions.json")
OPTIONS: dict[str, dict[str, Any]] = {"collapse": {"rollback_on_degradation": True}}


def decisions(name: str, folder: Path) -> list[list[Any]]:
    RLOptimizer(
        NumpyAgent(),
        ScriptedPipeline(SCRIPTS[name]),
        val_pipeline=None,
        evaluator=ScoreEvaluator(),
        checkpoint_dir=folder,
        max_episodes=WINDOWS,
        max_interval_episodes=4,
        plateau_threshold=4,
        dormant_threshold=10,
        on_converged="watch",
        seed=6,
        **OPTIONS.get(name, {}),
    ).run()
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [[record[field] for field in DECIDED] for record in map(json.loads, lines)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_decisions_on_scripted_scores_are_those_on_record(name: str, tmp_path: Path) -> None:
    found, expected = decisions(name, tmp_path), json.loads(GOLDEN.read_text())[name]
    first = next((n for n, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), None)
    assert first is None, f"evaluation {first}: {found[first]}, but on record: {expected[first]} ({DECIDED})"
    assert len(found) == len(expected)


def test_the_record_holds_every_verdict_and_every_state() -> None:
    rows = [row for script in json.loads(GOLDEN.read_text()).values() for row in script]
    assert {row[1] for row in rows} >= {"improved", "flat", "degraded"}
    assert {row[2] for row in rows} >= {"active", "cooling", "watchdog"}
    assert {row[4] for row in rows} == {True, False}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: decisions(name, Path(folder, name)) for name in SCRIPTS}
    scripts = [
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]" for name, rows in found.items()
    ]
    GOLDEN.write_text("{\n" + ",\n".join(scripts) + "\n}\n")


if __name__ == "__main__":
    main()
