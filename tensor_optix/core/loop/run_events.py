"""What a turn tells: the events of `events.jsonl`, drawn from the state before, the state after, and the outcome.

| event | its facts |
|---|---|
| `test` | `against` a snapshot or none, `seeds`, `returns` and those of the incumbent, `score`, `outcome` |
| `retest` | the same of an incumbent that was tested alone |
| `fault` | `fault`: its kind, and `text` |
| `state` | `before`, `after`, `evaluations_without_rise` |
| `degradation` | `score`, `best_score` |
| `watch`, `escape` | `text`: what happened |
| `last_test` | `part`: `race` (with its `round`) or `confirmation`; `seeds`, and the `policies` that played them |

Of each policy: `snapshot`, `found_in` (its window), `returns`, `score`, `outcome`: `stays` in the race or is `out`; is
the `best` that was confirmed, or `behind` it.
"""

from collections.abc import Iterator, Mapping, Sequence

from tensor_optix.core.decisions.trend import Verdict
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.types import EvalMetrics, PlayedWindow, PolicySnapshot


def events_of(before: RunState, after: RunState, outcome: Outcome) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the events of a turn, each with its facts, in the order in which they came about.

    Args:
        before: where the run stood.
        after: where it stands.
        outcome: what the window came to.
    """
    if outcome.fault is not None:
        yield "fault", {"fault": outcome.fault.kind, "text": outcome.fault.text}
        if after.escapes == before.escapes:  # else it has ended one
            return
    elif outcome.metrics is None:
        return
    else:
        yield from _judged(before, after, outcome, outcome.metrics)
    if after.event is not None:
        yield ("watch" if before.is_on_watch else "escape"), {"text": after.event}
    if after.position.state is not before.position.state:
        yield (
            "state",
            {
                "before": before.position.state.value,
                "after": after.position.state.value,
                "evaluations_without_rise": after.position.no_improvement,
            },
        )


def _judged(
    before: RunState, after: RunState, outcome: Outcome, metrics: EvalMetrics
) -> Iterator[tuple[str, dict[str, object]]]:
    if outcome.evidence or outcome.incumbent is not None:
        yield _test(before, outcome, metrics)
    if after.verdict is Verdict.DEGRADED:
        yield "degradation", {"score": metrics.primary_score, "best_score": before.best_score}


def _test(before: RunState, outcome: Outcome, metrics: EvalMetrics) -> tuple[str, dict[str, object]]:
    incumbent = outcome.incumbent
    against: dict[str, object] = {
        "against": before.best.snapshot_id if before.best is not None else None,
        "incumbent_score": before.best_score if incumbent is None else incumbent.metrics.primary_score,
        "incumbent_returns": [] if incumbent is None else _returns(incumbent.played),
    }
    if not outcome.evidence and incumbent is not None:
        return "retest", {**against, "seeds": _seeds(incumbent.played)}
    return (
        "test",
        {
            **against,
            "seeds": _seeds(outcome.evidence),
            "returns": _returns(outcome.evidence),
            "score": metrics.primary_score,
            "std_err": metrics.std_err,
            "outcome": "crowned" if outcome.is_best else "refused",
        },
    )


def played_facts(
    snapshot: PolicySnapshot, windows: Sequence[PlayedWindow], outcome: str, **more: object
) -> dict[str, object]:
    """Return the facts of one policy in a last test.

    Args:
        snapshot: the policy.
        windows: what it played.
        outcome: what came of it.
        more: other facts.
    """
    return {
        "snapshot": snapshot.snapshot_id,
        "found_in": snapshot.window_id,
        "returns": _returns(windows),
        **more,
        "outcome": outcome,
    }


def last_test_facts(
    part: str, windows: Sequence[Sequence[PlayedWindow]], policies: Sequence[Mapping[str, object]], **more: object
) -> dict[str, object]:
    """Return the facts of a last test.

    Args:
        part: `race` or `confirmation`.
        windows: what each policy played; those that played longest have all the seeds.
        policies: the facts of each.
        more: other facts.
    """
    seeds: list[int] = max(map(_seeds, windows), key=len) if windows else []
    return {"part": part, **more, "seeds": seeds, "policies": policies}


def _seeds(windows: Sequence[PlayedWindow]) -> list[int]:
    return [seed for window in windows for seed in window.seeds]


def _returns(windows: Sequence[PlayedWindow]) -> list[float]:
    return [found for window in windows for found in window.returns]
