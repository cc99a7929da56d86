"""Draws how a real run was decided: `python -m docs.decided` trains Acrobot-v1, and takes its pictures from it.

`pictures/decided.svg` is the curve with its states, the candidates for the best, and how far the patience was used up;
`pictures/tested.svg` has the episodes of the tests of candidates, and of the race at the end.
"""

import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from examples import _svg
from tensor_optix import RLOptimizer, TrainingReport, VectorBatchPipeline, make_agent
from tensor_optix.core.decisions.patience_verdict import PatienceVerdict, short
from tensor_optix.core.loop.decider import patience_with
from tensor_optix.core.loop.history import HistoryRecord
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.run_state import read_history

PICTURES = Path(__file__).parent / "pictures"
ENV = "Acrobot-v1"
STATES = {"active": _svg.GREEN, "cooling": _svg.YELLOW, "dormant": _svg.RED}
MOST_TESTS = 9
"""That are drawn, the newest."""
LONG = 3
"""Evaluations from which on it is told how long is waited for, and why."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A run that has ended by itself, and how far its patience was used up after each evaluation."""

    report: TrainingReport
    history: Sequence[HistoryRecord]
    windows: Sequence[dict[str, Any]]
    events: Sequence[dict[str, Any]]
    patience: Sequence[tuple[int, PatienceVerdict]]
    """Steps, and the verdict by then."""


class _Noted(LoopCallback):
    """Notes the patience after each evaluation."""

    def __init__(self, run: Callable[[], RLOptimizer]) -> None:
        self.patience: list[tuple[int, PatienceVerdict]] = []
        self._run = run

    def on_window_end(self, window_id: int, eval_metrics: Any) -> None:
        if eval_metrics is not None:
            hands = self._run()._controller._run
            self.patience.append((hands.state.env_steps, patience_with(hands.state, hands.config)))


def train(run_dir: Path) -> Decided:
    """Train until the loop decides that it is trained."""
    agent = make_agent(ENV, "ppo", seed=0)
    pipeline = VectorBatchPipeline((ENV, 8), window_size=256)
    runs = list[RLOptimizer]()
    noted = _Noted(lambda: runs[0])
    runs.append(RLOptimizer(agent, pipeline, checkpoint_dir=run_dir, seed=0, callbacks=[noted]))
    return Decided(
        report=runs[0].run(),
        history=list(read_history(run_dir / "history.jsonl")),
        windows=_lines(run_dir / "windows.jsonl"),
        events=_lines(run_dir / "events.jsonl"),
        patience=noted.patience,
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def draw(run: Decided, folder: Path) -> None:
    """Write both pictures."""
    _svg.write(folder / "decided.svg", [_curve(run), _used(run)])
    _svg.write(folder / "tested.svg", [_tests(run), _race(run)])


def _curve(run: Decided) -> _svg.Panel:
    """Return the scores with their errors, the states behind them, and who became the best."""
    scored = [record for record in run.history if record.eval_metrics.is_usable]
    steps, scores = [r.env_steps for r in scored], [r.eval_metrics.primary_score for r in scored]
    errors = [r.eval_metrics.std_err for r in scored]
    returns = [(w["env_steps"], w["mean_return"]) for w in run.windows if w["mean_return"] is not None]
    title = f"PPO on {ENV}: the score of each evaluation, and its standard error"
    panel = _svg.Panel(title, (0, run.report.env_steps), _around([*scores, *(y for _, y in returns)]), "steps")
    _shade(panel, run)
    panel.line([x for x, _ in returns], [y for _, y in returns], _svg.GREY, "training")
    panel.dots(steps, scores, _svg.BLUE, "held-out", errors=errors)
    crowned = [n for n, record in enumerate(scored) if record.is_best]
    panel.dots([steps[n] for n in crowned], [scores[n] for n in crowned], _svg.ORANGE, "becomes the best")
    return panel


def _shade(panel: _svg.Panel, run: Decided) -> None:
    stretches = [(state, next(own).env_steps) for state, own in itertools.groupby(run.history, lambda r: r.state)]
    ends = [*(begun for _, begun in stretches[1:]), run.report.env_steps]
    for n, ((state, begun), ended) in enumerate(zip(stretches, ends, strict=True)):
        panel.shade(begun if n else 0, ended, STATES[state], state if ended > begun else "")
    panel.mark(run.report.env_steps, STATES["dormant"], "dormant: stops")


def _used(run: Decided) -> _svg.Panel:
    """Return how far the patience was used up, and how long it was where that stayed the same for a while."""
    title = "How much of the patience is used up, in %: its steps and its evaluations must both be over"
    panel = _svg.Panel(title, (0, run.report.env_steps), (0, 112), "steps")
    steps, shares = [at for at, _ in run.patience], [100 * used(verdict) for _, verdict in run.patience]
    panel.level(100, _svg.GREY)
    panel.line(steps, shares, _svg.BLUE)
    panel.dots(steps, shares, _svg.BLUE)
    height = 24.0
    for reason, stretch in itertools.groupby(run.patience, lambda noted: noted[1].reason):
        first, *others = stretch
        if len(others) >= LONG - 1:
            is_last = bool(others) and others[-1] == run.patience[-1]
            waits = f"waits for {short(others[-1][1].allowed_steps)} steps: {reason}"
            panel.note(first[0], 0.0 if is_last else height, waits)
            height += 14
    panel.note(steps[-1], 101, f"stops: {run.report.stopped_because}", anchor="end")
    return panel


def used(verdict: PatienceVerdict) -> float:
    """Return the share of a patience that is used up: of its steps, or of its evaluations, where those are further."""
    shares = (
        (verdict.quiet_steps, verdict.allowed_steps),
        (verdict.quiet_evaluations, verdict.allowed_evaluations),
    )
    return min(1.0, *(quiet / allowed if allowed else 1.0 for quiet, allowed in shares))


def _tests(run: Decided) -> _svg.Panel:
    """Return the tests of candidates, and those of the best alone."""
    title = f"PPO on {ENV}, tests of candidates on fresh episodes: each return, and their mean"
    return _strips(title, [test for test in map(_shown, run.events) if test is not None][-MOST_TESTS:])


def _race(run: Decided) -> _svg.Panel:
    """Return the first round of the race at the end, and the test of its winner."""
    last = [event for event in run.events if event["event"] == "last_test"]
    racers = [_racer(one) for event in last if event.get("round") == 1 for one in event["policies"]]
    (best,) = [one for event in last for one in event["policies"] if one["outcome"] == "best"]
    again = replace(_racer(best), name=f"{best['found_in']} again", outcome="confirmed", color=_svg.GREEN)
    title = "The race at the end, by the window in which a policy was found: the same episodes for all"
    return _strips(title, [*sorted(racers, key=lambda racer: int(racer.name)), again])


def _racer(policy: dict[str, Any]) -> "_Test":
    color = _svg.GREY if policy["outcome"] == "out" else _svg.BLUE
    return _Test(name=str(policy["found_in"]), returns=policy["returns"], outcome=policy["outcome"], color=color)


def _strips(title: str, tests: "Sequence[_Test]") -> _svg.Panel:
    everything = [value for test in tests for value in test.returns]
    low, high = _around([value for value in everything if value >= np.quantile(everything, 0.03, method="lower")])
    panel = _svg.Panel(title, (0.4, len(tests) + 0.6), (low, high), "", [test.name for test in tests])
    for n, test in enumerate(tests, 1):
        panel.dots([n] * len(test.returns), test.returns, test.color, is_open=True)
        panel.dots([n + 0.15], [float(np.mean(test.returns))], test.color, test.outcome)
        lower = [f"{value:g}" for value in sorted(test.returns) if value < low]
        panel.note(n, low, ", ".join(lower), anchor="end")
        if test.best_by_then is not None and test.best_by_then >= low:
            panel.line([n - 0.3, n + 0.3], [test.best_by_then] * 2, _svg.BLUE, "score of the best by then")
    return panel


@dataclass(frozen=True, kw_only=True)
class _Test:
    name: str
    returns: Sequence[float]
    outcome: str
    color: str
    best_by_then: float | None = None


def _shown(event: dict[str, Any]) -> _Test | None:
    """Return the test that an event tells of; None for other events."""
    if event["event"] == "test":
        is_best = event["outcome"] == "crowned"
        return _Test(
            name=f"window {event['window_id']}",
            returns=event["returns"],
            outcome="becomes the best" if is_best else "refused",
            color=_svg.ORANGE if is_best else _svg.GREY,
            best_by_then=event.get("incumbent_score"),
        )
    if event["event"] == "retest":
        returns = event["incumbent_returns"]
        return _Test(name="retest", returns=returns, outcome="the best again", color=_svg.GREEN)
    return None


def _around(values: Sequence[float]) -> tuple[float, float]:
    room = 0.05 * (max(values) - min(values))
    return min(values) - room, max(values) + room


def main() -> None:
    """Train, and draw."""
    with tempfile.TemporaryDirectory() as folder:
        draw(train(Path(folder) / "run"), PICTURES)


if __name__ == "__main__":
    main()
