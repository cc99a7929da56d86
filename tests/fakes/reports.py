"""Reports of runs, as the loop makes them."""

import math
from typing import Any

from tensor_optix.core.training_report import TrainingReport

NAN = math.nan


def report(**fields: Any) -> TrainingReport:
    values: dict[str, Any] = {
        "reason": "converged",
        "best_score": 498.25,
        "best_std_err": 1.5,
        "best_window": 12,
        "best_snapshot": "run/snapshot_000003",
        "train_score": 480.0,
        "val_score": 470.0,
        "generalization_gap": 10.0,
        "windows": 40,
        "evaluations": 25,
        "env_steps": 81920,
        "seconds": {"total": 20.0, "collect": 12.0, "learn": 8.0},
        "hyperparams": {"learning_rate": 3e-4, "n_epochs": 10},
        "checkpoint_dir": "run",
        "start_score": 21.5,
        "start_std_err": 1.25,
    }
    return TrainingReport(**(values | fields))


EVOLVED: dict[str, Any] = {
    "tuning": {"probes": 4.0, "commits": 3.0, "changes": 2.0, "probing_seconds": 2.5},
    "evolution": {
        "best_score": 9.0,
        "val_score": 9.0,
        "generalization_gap": None,
        "spawns_used": 2,
        "max_spawns": None,
        "failed_spawns": 1,
        "pruned": 0,
        "ensemble_size": 2,
        "regime": "ranging",
        "agents": [{"index": 0, "weight": 1.0, "mean_score": None}],
        "lineage": [
            {
                "number": 1,
                "parent": "000004",
                "parent_score": 5.0,
                "score": 9.0,
                "windows": 12,
                "outcome": "new best",
                "changes": {"learning_rate": [3e-4, 5.5e-4], "n_epochs": [10, 9]},
            }
        ],
    },
}
