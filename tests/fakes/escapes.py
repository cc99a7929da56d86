"""Records of escapes."""

from typing import Any

from tensor_optix.core.decisions.escape_records import EscapeOutcome, EscapeRecord


def record(name: str = "restart", **more: Any) -> EscapeRecord:
    values: dict[str, Any] = {
        "began_window": 10,
        "began_step": 1000,
        "began_evaluation": 10,
        "share": 200,
        "score_before": 5.0,
    }
    return EscapeRecord(name=name, **(values | more))


def over(name: str, steps: int, outcome: EscapeOutcome = EscapeOutcome.GIVEN_UP) -> EscapeRecord:
    return record(name).ended(outcome, window_id=12, env_steps=1000 + steps, score=5.0)
