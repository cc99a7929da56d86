"""Records of a history, as the loop writes them."""

from typing import Any

from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.loop.tuning import TuningRecord
from tensor_optix.core.types import EvalMetrics, HyperparamSet


def record(window_id: int = 0, **fields: Any) -> HistoryRecord:
    values: dict[str, Any] = {
        "window_id": window_id,
        "env_steps": 200 * (window_id + 1),
        "verdict": "improved",
        "state": "active",
        "interval": 1,
        "best_score": 1.5,
        "probed_param": "learning_rate",
        "hyperparams": HyperparamSet({"learning_rate": 0.1, "activation": "tanh"}, window_id),
        "eval_metrics": EvalMetrics(1.5, {"episodes": 2.0}, window_id),
    }
    return HistoryRecord(**(values | fields))


COMMIT = TuningRecord(
    name="learning_rate",
    kind="commit",
    before=0.1,
    requested=0.09,
    effective=0.09,
    score_before=5.0,
    score_before_std_err=0.5,
    score_after=1.0,
    score_after_std_err=0.25,
    decision="reversed",
)
