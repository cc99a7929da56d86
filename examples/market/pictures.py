"""Measures the examples over several seeds, and draws their pictures: `python -m examples.market.pictures`.

The same seeds give the same figures and pictures on the same machine.
"""

import argparse
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from examples import _svg
from examples.market import forecast, trade, watch
from examples.market.prices import Market, Tick
from examples.market.scoring import by_the_law, earned

FOLDER = Path(__file__).parent.parent.parent / "docs" / "pictures"
REGIME_COLORS = {"trending": _svg.GREEN, "ranging": _svg.ORANGE, "volatile": _svg.YELLOW}
_SHOWN_TICKS = 3000


def draw_trading(seeds: Sequence[int], folder: Path, windows: int = 60) -> None:
    """Trade once for each seed; draw the market, the learning, and what it earned; print the figures."""
    outcomes, curves = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as run:
            outcomes.append(trade.trade(seed=seed, windows=windows, checkpoint_dir=run))
            history = (Path(run) / "history.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in history]
        scores = [record["eval_metrics"]["primary_score"] for record in records]
        curves.append(([record["window_id"] for record in records], scores))
        print(f"seed {seed}: {outcomes[-1].sharpes}", flush=True)
    for name in outcomes[0].sharpes:
        print(f"{name:<12} {_spread([outcome.sharpes[name] for outcome in outcomes])}")
    print(f"ticks per second: {_spread([outcome.report.steps_per_second for outcome in outcomes])}")
    _print_feed(outcomes)

    learning = _svg.Panel("Sharpe ratio per window while learning", (0, windows), (-0.2, 0.5), "window")
    for numbers, scores in curves:
        learning.line(numbers, scores, _svg.BLUE, f"{len(curves)} seeds", thin=True)
    learning.level(0.0, _svg.GREY, "always flat")
    learning.level(outcomes[0].sharpes["by the law"], _svg.GREEN, "by the law, on other markets")
    market = Market(trade.HELD_OUT[0])
    ticks = list(itertools.islice(market.items(), _SHOWN_TICKS))
    policies = {
        "by the law": (by_the_law, _svg.GREEN),
        "after": (trade.greedy(outcomes[0].agent), _svg.BLUE),
        "before": (trade.greedy(trade.make_trader(seeds[0])), _svg.GREY),
    }
    sums = {
        name: np.cumsum(earned(policy, [market], _SHOWN_TICKS)[:, 0]) / 10 for name, (policy, _) in policies.items()
    }
    top, bottom = (float(bound(list(map(bound, sums.values())))) for bound in (max, min))
    earnings = _svg.Panel("Earned on a market it has never seen, in %", (0, _SHOWN_TICKS), (bottom, top), "tick")
    for name, (_, color) in policies.items():
        earnings.line(range(1, _SHOWN_TICKS), sums[name], color, name)
    _svg.write(folder / "market.svg", [_prices(ticks), learning, earnings])


def draw_forecasting(seeds: Sequence[int], folder: Path, windows: int = 100) -> None:
    """Forecast once for each seed, with and without one change of regime; draw the skill, and print the figures."""
    with tempfile.TemporaryDirectory() as run:
        outcomes = [forecast.forecast(seed=seed, windows=windows, checkpoint_dir=run) for seed in seeds]
        changed = [
            forecast.forecast(seed=seed, windows=windows, checkpoint_dir=run, change_at=windows * 100) for seed in seeds
        ]
    print(f"skill           {_spread([outcome.skills.skill() for outcome in outcomes])}")
    print(f"told the regime {_spread([outcome.best_possible for outcome in outcomes])}")
    _print_feed(outcomes)

    panels = []
    for title, runs, lowest in (
        ("Skill per window of 200 ticks", outcomes, -0.2),
        ("One change of regime in the middle", changed, -1.0),
    ):
        skills = np.array([1 - np.array(run.skills.mse) / np.array(run.skills.mse_last) for run in runs])
        low, middle, high = np.quantile(skills, [0.1, 0.5, 0.9], axis=0)
        panel = _svg.Panel(title, (0, windows), (lowest, 0.5), "window")
        panel.band(range(windows), low, high, _svg.BLUE, f"median, 10 % to 90 % of {len(runs)} seeds")
        panel.line(range(windows), middle, _svg.BLUE)
        panel.level(float(np.mean([run.best_possible for run in runs])), _svg.GREEN, "told the regime")
        panel.level(0.0, _svg.GREY, "last value")
        if runs is changed:
            panel.shade(windows / 2, windows, REGIME_COLORS["ranging"], "ranging")
            after = skills[:, windows // 2 :].mean(axis=0)
            print(f"mean skill in the windows after the change: {np.round(after[:5], 3).tolist()}")
        panels.append(panel)
    ticks = list(itertools.islice(Market(trade.HELD_OUT[0]).items(), 1000, 1120))
    expected = [outcomes[0].agent.act(tick.features) for tick in ticks[:-1]]
    numbers = [tick.sequence for tick in ticks[1:]]
    ahead = _svg.Panel("Change of the price, in per mille", (numbers[0], numbers[-1]), (-5, 5), "tick")
    ahead.line(numbers, [tick.change for tick in ticks[1:]], _svg.GREY, "came")
    ahead.line(numbers, expected, _svg.ORANGE, "forecast a tick before")
    _svg.write(folder / "forecast.svg", [*panels, ahead])


def draw_watch(seeds: Sequence[int], folder: Path, windows: int = 240) -> None:
    """Watch over a trader once for each seed; print when it slept and woke, and draw the first of the runs."""
    runs = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as run:
            runs.append(watch.watch(seed=seed, windows=windows, change_at=windows // 3, checkpoint_dir=run))
        print(f"seed {seed}: asleep {runs[-1].asleep}, awake {runs[-1].awake}, {runs[-1].report.watch}", flush=True)

    found, change = runs[0], windows // 3
    panel = _svg.Panel(
        "Sharpe ratio per window, before and after the market changes", (0, windows), (-0.8, 0.6), "window"
    )
    trial = sorted(found.shadow)
    for start, end in zip([0, *found.awake], [*found.asleep, windows], strict=False):
        panel.shade(start, end, _svg.GREY, "learning")
    panel.mark(change, _svg.RED, "market changes")
    for woken in found.awake:
        panel.mark(woken, _svg.GREEN, "awake")
    if trial:
        panel.shade(trial[0], trial[-1], _svg.YELLOW, "trial")
        if found.report.watch.get("promotions"):
            panel.mark(trial[-1], "#333333", "promoted")
    for scores, color, label in ((found.acted, _svg.BLUE, "acting policy"), (found.shadow, _svg.ORANGE, "challenger")):
        numbers = sorted(scores)
        if numbers:
            panel.line(numbers, [scores[n] for n in numbers], color, label)
    panel.level(0.0, _svg.GREY)
    _svg.write(folder / "watch.svg", [panel])


def _print_feed(outcomes: Sequence[trade.Outcome] | Sequence[forecast.Outcome]) -> None:
    total = Counter[str]()
    for outcome in outcomes:
        total.update(outcome.feed)
    print(f"ticks of all runs: {dict(total)}; the server broke off {sum(o.drops for o in outcomes)} times")


def _prices(ticks: Sequence[Tick]) -> _svg.Panel:
    prices = [tick.price for tick in ticks]
    panel = _svg.Panel("The price, and the regime that nobody is told", (0, len(ticks)), _around(prices), "tick")
    for regime, stretch in itertools.groupby(ticks, lambda tick: tick.regime):
        numbers = [tick.sequence for tick in stretch]
        panel.shade(numbers[0], numbers[-1] + 1, REGIME_COLORS[regime], regime)
    panel.line(range(len(prices)), prices, "#333333")
    return panel


def _around(values: Sequence[float]) -> tuple[float, float]:
    return float(np.floor(min(values))), float(np.ceil(max(values)))


def _spread(values: Sequence[float]) -> str:
    return f"mean {np.mean(values):.3f}, from {min(values):.3f} to {max(values):.3f} over {len(values)} seeds"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and draw what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m examples.market.pictures", description="Measures and draws.")
    parser.add_argument("--only", choices=["trading", "forecasting", "watch"], help="all where not given")
    parser.add_argument(
        "--seeds", type=int, help="how many; 5 of trading, 10 of forecasting, 3 of the watch where not given"
    )
    parser.add_argument("--windows", type=int, help="of each run")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    windows = {} if args.windows is None else {"windows": args.windows}
    for name, draw, seeds in (
        ("trading", draw_trading, 5),
        ("forecasting", draw_forecasting, 10),
        ("watch", draw_watch, 3),
    ):
        if args.only in (None, name):
            draw(range(args.seeds or seeds), args.folder, **windows)


if __name__ == "__main__":
    main()
