"""Folders of runs, as a loop leaves them, with whatever text in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensor_optix.core.training_report import TrainingReport

NUMBERS = {"explained_var": 0.5, "approx_kl": 0.01, "clip_fraction": 0.4, "entropy": 0.6, "policy_loss": 0.1}


LAST_TEST = {"event": "last_test", "window_id": 9, "env_steps": 1000}


def played(window: int, outcome: str, *returns: float) -> dict[str, Any]:
    score = sum(returns) / len(returns)
    return {
        "snapshot": f"{window:06d}",
        "found_in": window,
        "returns": returns,
        "score": score,
        "std_err": 0.5,
        "outcome": outcome,
    }


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def history_line(window: int, score: float, **more: Any) -> dict[str, Any]:
    return {
        "window_id": window,
        "env_steps": 100 * (window + 1),
        "verdict": "improved",
        "state": "active" if window < 6 else "cooling",
        "interval": 1,
        "best_score": score,
        "probed_param": None,
        "hyperparams": {"params": {"learning_rate": 0.001}, "episode_id": 0},
        "eval_metrics": {
            "primary_score": score,
            "metrics": {"val_score": score, "score_std_err": 0.5},
            "episode_id": window,
            "has_evidence": True,
        },
        **more,
    }


def tuned(name: str = "learning_rate", decision: str = "kept") -> dict[str, Any]:
    return {
        "name": name,
        "kind": "commit",
        "before": 0.001,
        "requested": 0.002,
        "effective": 0.002,
        "score_before": 1.0,
        "score_before_std_err": 0.1,
        "score_after": 2.0,
        "score_after_std_err": 0.1,
        "decision": decision,
    }


def report_of(run_dir: Path, **more: Any) -> TrainingReport:
    values: dict[str, Any] = {
        "reason": "converged",
        "best_score": 9.0,
        "best_std_err": 0.2,
        "best_window": 7,
        "best_snapshot": str(run_dir / "snapshot_000007"),
        "train_score": 8.0,
        "val_score": 9.0,
        "generalization_gap": -1.0,
        "windows": 10,
        "evaluations": 10,
        "env_steps": 1000,
        "seconds": {"total": 10.0, "collect": 4.0, "learn": 4.0, "validate": 1.0, "loop": 1.0},
        "hyperparams": {"learning_rate": 0.001},
        "checkpoint_dir": str(run_dir),
        "confirmed": True,
        "stopped_because": "quiet for 500 of 400 steps; 7 % chance of a further rise",
    }
    return TrainingReport(**{**values, **more})


def write_run(run_dir: Path, text: str = "plain", windows: int = 10, **report: Any) -> Path:
    """Write a run whose free texts are all `text`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    history = [history_line(n, float(n), is_best=n % 3 == 0) for n in range(windows)]
    history[-1] |= {"tuning": [tuned(text, text)], "fault": None}
    write_lines(run_dir / "history.jsonl", history)
    diagnostics = {**NUMBERS, text: 1.0}
    write_lines(
        run_dir / "windows.jsonl",
        [
            {
                "window_id": n,
                "env_steps": 100 * (n + 1),
                "episodes": 2,
                "mean_return": float(n),
                "mean_length": 50.0,
                "success_rate": n / windows,
                "diagnostics": diagnostics,
            }
            for n in range(windows)
        ],
    )
    write_lines(
        run_dir / "timings.jsonl",
        [{"window_id": n, "time": "2030-01-01T00:00:00+00:00", "seconds": {"collect": 36.0}} for n in range(windows)],
    )
    test = {"against": "000001", "seeds": [1, 2], "returns": [3.0, 4.0], "incumbent_returns": [1.0, 2.0]}
    race = [played(7, "stays", 8.0, 9.0), played(4, "out", 3.0, 4.0)]
    confirmed = [played(7, "best", 9.0, 9.0)]
    write_lines(
        run_dir / "events.jsonl",
        [
            {"event": "start", "window_id": -1, "env_steps": 0},
            {"event": "test", "window_id": 3, "env_steps": 400, **test, "score": 3.5, "outcome": "crowned"},
            {"event": "state", "window_id": 6, "env_steps": 700, "before": "active", "after": text},
            {"event": "fault", "window_id": 8, "env_steps": 900, "fault": "divergence", "text": text},
            {**LAST_TEST, "part": "race", "round": 1, "seeds": [3, 4], "policies": race},
            {**LAST_TEST, "part": "confirmation", "seeds": [5, 6], "policies": confirmed},
        ],
    )
    (run_dir / "run.json").write_text(json.dumps({"env": text, "algorithm": "ppo", "note": text}))
    (run_dir / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"numpy": text}}))
    if report.get("ended", True):
        report.pop("ended", None)
        (run_dir / "report.json").write_text(json.dumps(report_of(run_dir, **report).to_dict()))
    return run_dir
