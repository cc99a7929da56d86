"""Files of learning curves, as others and we write them."""

from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.loop.history import History, HistoryRecord
from tensor_optix.core.types import EvalMetrics, HyperparamSet

RETURNS = [10.0 * min(n / 400, 1.0) + 0.1 * (n % 3) for n in range(6_000)]


LENGTH = 100
"""Steps of each of these episodes."""


STEPS = LENGTH * np.arange(1, len(RETURNS) + 1)


def monitor(path: Path, header: str = '#{"t_start": 1.0, "env_id": "None"}\n', columns: str = "r,l,t") -> Path:
    fields = [{"r": f"{value}", "l": f"{LENGTH}", "t": f"{n}.5"} for n, value in enumerate(RETURNS)]
    lines = [",".join(row[name] for name in columns.split(",")) for row in fields]
    path.write_text(f"{header}{columns}\n" + "\n".join(lines) + "\n")
    return path


def arrays(path: Path, **runs: Any) -> Path:
    np.savez(path, **runs)
    return path


def history(path: Path) -> Path:
    made = History(path)
    for window in range(400):
        made.append(
            HistoryRecord(
                window_id=window,
                env_steps=2_048 * (window + 1),
                verdict="flat",
                state="active",
                interval=1,
                best_score=None,
                probed_param=None,
                hyperparams=HyperparamSet({}),
                eval_metrics=EvalMetrics(min(window, 50.0), {"score_std_err": 0.1}, window),
            )
        )
    made.close()
    return path
