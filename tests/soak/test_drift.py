"""The watch on the market feed: it wakes when the market changes its ways, and sleeps while it does not."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.market.feed import ACTION_SPACE, OBSERVATION_SPACE, Account
from examples.market.prices import Market
from examples.market.scoring import SharpeEvaluator, earned
from tensor_optix.core.decisions.drift import PageHinkley
from tensor_optix.core.loop.history import read_history
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.helpers import Momentum

Goal = Callable[[str, str, str, bool], None]
TICKS, CALM, WITHIN = 64, 60, 10
SLOW = pytest.mark.slow


class Floor:
    """The market in this process, one tick at a time: the next is not made before the last was acted on."""

    observation_space, action_space, is_lockstep = OBSERVATION_SPACE, ACTION_SPACE, True

    def __init__(self, market: Market) -> None:
        self._market, self._account = market, Account()
        self._has_acted, self._is_closed = threading.Semaphore(1), False

    def stream(self) -> Iterator[Any]:
        for tick in self._market.items():
            self._has_acted.acquire()
            if self._is_closed:
                return
            reward = self._account.earn(tick.change)
            yield self._account.observation(tick.features), reward, False, False, {"change": tick.change}

    def apply(self, action: Any) -> None:
        self._account.take(int(action))
        self._has_acted.release()

    def close(self) -> None:
        self._is_closed = True
        self._has_acted.release()


def watched(folder: Path, seed: int, windows: int) -> tuple[list[tuple[int, str]], float]:
    """Return the events on watch, and what the agent believes in at the end."""
    agent = Momentum()
    pipeline = LivePipeline(
        Floor(Market(seed, change_at=CALM * TICKS)), episode_boundary_fn=LivePipeline.every_n_steps(TICKS)
    )
    RLOptimizer(
        agent,
        pipeline,
        evaluator=SharpeEvaluator(),
        checkpoint_dir=folder,
        plateau_threshold=3,
        dormant_threshold=6,
        max_episodes=windows,
    ).run()
    history = read_history(folder / "history.jsonl")
    return [(record.window_id, record.event) for record in history if record.event is not None], agent.weight


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [4, pytest.param(100, marks=SLOW)])
def test_it_wakes_when_the_market_changes(seeds: int, tmp_path: Path, goal: Goal) -> None:
    delays = []
    for seed in range(seeds):
        events, _ = watched(tmp_path / str(seed), seed, CALM + WITHIN)
        first = next((window for window, event in events if event == "drift"), None)
        delays.append(None if first is None else first - CALM + 1)
    in_time = [delay for delay in delays if delay is not None and 1 <= delay <= WITHIN]
    promised = f"awake within {WITHIN} windows of a change of the market in 95 of 100 seeds"
    median = float(np.median(in_time)) if in_time else float("nan")
    measured = f"{len(in_time)} of {seeds}, after {median:.0f} windows (median)"
    goal("drift", promised, measured, len(in_time) >= 0.95 * seeds)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("markets", "windows"), [(4, 250), pytest.param(60, 500, marks=SLOW)])
def test_it_sleeps_while_the_market_does_not_change(markets: int, windows: int, goal: Goal) -> None:
    def trend(observations: np.ndarray) -> np.ndarray:
        return np.where(observations[:, 0] > 0, 1, 2)

    never = 10**9
    rewards = earned(trend, [Market(1000 + seed, change_at=never) for seed in range(markets)], TICKS * windows + 1)
    by_window = rewards.reshape(windows, TICKS, markets)
    scores = by_window.mean(axis=1) / (by_window.std(axis=1) + 1e-8)
    alarms = 0
    for market in range(markets):
        detector = PageHinkley()
        for score in scores[:, market]:
            if detector.update(float(score)):
                alarms += 1
                detector.reset()
    looked_at = markets * windows
    measured = f"{alarms} in {looked_at:,} windows"
    goal("drift", "at most 1 false alarm in 1,000 windows", measured, alarms <= looked_at / 1000)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [1, pytest.param(20, marks=SLOW)])
def test_it_learns_the_new_ways_and_they_are_promoted(seeds: int, tmp_path: Path, goal: Goal) -> None:
    promoted = 0
    for seed in range(seeds):
        events, weight = watched(tmp_path / str(seed), seed, CALM + 80)
        promoted += any(event.startswith("promoted") for _, event in events) and weight < 0
    promised = "what was learned after the change is promoted within 80 windows in 9 of 10 seeds"
    goal("drift", promised, f"{promoted} of {seeds}", promoted >= 0.9 * seeds)
