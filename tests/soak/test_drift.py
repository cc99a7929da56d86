"""The watch on the market feed: it wakes when the market changes its ways, and sleeps while it does not."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.market.feed import ACTION_SPACE, OBSERVATION_SPACE, Account
from examples.market.prices import Market
from examples.market.scoring import SharpeEvaluator, earned
from tensor_optix.core.decisions.drift import PageHinkley
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tests.helpers import Momentum

Goal = Callable[[str, str, str, bool], None]
Draw = Callable[[np.random.Generator, int], np.ndarray]
TICKS, CALM, WITHIN = 64, 60, 10
SLOW = pytest.mark.slow


def correlated(rho: float) -> Draw:
    """Return what draws normal scores of which each depends on the one before."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        scores = rng.normal(size=n)
        for i in range(1, n):
            scores[i] = rho * scores[i - 1] + math.sqrt(1 - rho**2) * scores[i]
        return scores

    return draw


def lower(draw: Draw, fall: float) -> Draw:
    return lambda rng, n: draw(rng, n) - fall


NORMAL: Draw = lambda rng, n: rng.normal(size=n)  # noqa: E731
TAILS: Draw = lambda rng, n: rng.standard_t(3, n)  # noqa: E731
SCORES: dict[str, tuple[Draw, Draw, float]] = {
    "normal, a fall by 3 deviations": (NORMAL, lower(NORMAL, 3.0), 0.2),
    "normal, by 10": (NORMAL, lower(NORMAL, 10.0), 0.2),
    "heavy tails, by 5": (TAILS, lower(TAILS, 5 * math.sqrt(3.0)), 0.2),
    "success of 5 episodes, 0.9 to 0.2": (
        lambda rng, n: rng.binomial(5, 0.9, n) / 5,
        lambda rng, n: rng.binomial(5, 0.2, n) / 5,
        0.2,
    ),
    "bounded, 444 to 56 of 500": (
        lambda rng, n: 500 * rng.beta(8, 1, n),
        lambda rng, n: 500 * rng.beta(1, 8, n),
        0.2,
    ),
    "correlation 0.2, by 5": (correlated(0.2), lower(correlated(0.2), 5.0), 0.2),
    "correlation 0.3, by 5": (correlated(0.3), lower(correlated(0.3), 5.0), 0.3),
}
"""Of a calm watch, of a broken one, and the correlation that the detector is told."""
POSITIONS = (1, 2, 5, 10, 30, 100)
"""Windows of the watch after which the world breaks."""
PLATEAU, FEW = 36, 18
"""Windows before the watch without a rise: with usual thresholds, and with short ones."""


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


def watched(
    folder: Path, seed: int, windows: int, changes: int = CALM, callbacks: Sequence[LoopCallback] = ()
) -> tuple[list[tuple[int, str]], float]:
    """Return the events on watch, and what the agent believes in at the end."""
    agent = Momentum()
    pipeline = LivePipeline(
        Floor(Market(seed, change_at=changes * TICKS)), episode_boundary_fn=LivePipeline.every_n_steps(TICKS)
    )
    RLOptimizer(
        agent,
        pipeline,
        evaluator=SharpeEvaluator(),
        checkpoint_dir=folder,
        plateau_threshold=3,
        dormant_threshold=6,
        max_episodes=windows,
        callbacks=callbacks,
    ).run()
    history = read_history(folder / "history.jsonl")
    return [(record.window_id, record.event) for record in history if record.event is not None], agent.weight


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [2, pytest.param(100, marks=SLOW)])
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


class DormantAt(LoopCallback):
    """Remembers the window in which the loop first became DORMANT."""

    window: int | None = None

    def on_dormant(self, window_id: int) -> None:
        self.window = window_id if self.window is None else self.window


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seeds", [1, pytest.param(100, marks=SLOW)])
def test_it_wakes_when_the_market_changes_right_after_it_became_dormant(seeds: int, tmp_path: Path, goal: Goal) -> None:
    in_time = dict.fromkeys((1, 2, 5, 10), 0)
    for seed in range(seeds):
        dormant = DormantAt()
        watched(tmp_path / str(seed), seed, CALM, callbacks=[dormant])
        assert dormant.window is not None
        for after in in_time:
            changes = dormant.window + 1 + after
            events, _ = watched(tmp_path / f"{seed}-{after}", seed, changes + WITHIN, changes)
            in_time[after] += [window >= changes for window, event in events if event == "drift"] == [True]
    for after, found in in_time.items():
        promised = f"awake within {WITHIN} windows of a change in window {after} of the watch in 95 of 100 seeds"
        goal("drift", promised, f"{found} of {seeds}", found >= 0.95 * seeds)


def alarms(detector: PageHinkley, known: Callable[[], np.ndarray], scores: Sequence[float]) -> list[int]:
    """Return the windows with an alarm; after each the watch starts over, as in the loop."""
    found = []
    detector.reset()
    detector.expect(known().tolist())
    for n, score in enumerate(scores):
        if detector.update(float(score)):
            found.append(n)
            detector.reset()
            detector.expect(known().tolist())
    return found


@pytest.mark.parametrize("plateau", [FEW, pytest.param(PLATEAU, marks=SLOW)])
@pytest.mark.parametrize("name", SCORES)
def test_a_fall_in_any_window_of_the_watch_is_seen_whatever_the_scores(name: str, plateau: int, goal: Goal) -> None:
    calm, broken, correlation = SCORES[name]
    in_time = []
    for after in POSITIONS:
        found = 0
        for seed in range(100):
            rng = np.random.default_rng([seed, after])
            scores = [*calm(rng, after), *broken(rng, WITHIN)]
            # An alarm before the fall is a false one, which the next test counts.
            detector = PageHinkley(correlation=correlation)
            found += any(n >= after for n in alarms(detector, partial(calm, rng, plateau), scores))
        in_time.append(found)
    promised = (
        f"awake within {WITHIN} windows of a break after {POSITIONS} in 95 of 100 seeds, {plateau} scores known: {name}"
    )
    goal("drift", promised, f"{in_time} of 100", min(in_time) >= 95)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("plateau", [0, FEW, pytest.param(PLATEAU, marks=SLOW)])
def test_a_calm_watch_is_rarely_woken_whatever_the_scores(plateau: int, name: str, goal: Goal) -> None:
    calm, _, correlation = SCORES[name]
    rng, detector = np.random.default_rng(11), PageHinkley(correlation=correlation)
    found = sum(len(alarms(detector, partial(calm, rng, plateau), calm(rng, 500).tolist())) for _ in range(60))
    promised = f"at most 1 false alarm in 1,000 windows, {plateau} scores known: {name}"
    goal("drift", promised, f"{found} in 30,000 windows", found <= 30)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("markets", "windows"), [(4, 250), pytest.param(60, 500, marks=SLOW)])
def test_it_sleeps_while_the_market_does_not_change(markets: int, windows: int, goal: Goal) -> None:
    def trend(observations: np.ndarray) -> np.ndarray:
        return np.where(observations[:, 0] > 0, 1, 2)

    never = 10**9
    rewards = earned(trend, [Market(1000 + seed, change_at=never) for seed in range(markets)], TICKS * windows + 1)
    by_window = rewards.reshape(windows, TICKS, markets)
    scores = by_window.mean(axis=1) / (by_window.std(axis=1) + 1e-8)
    found = sum(len(alarms(PageHinkley(), partial(np.zeros, 0), scores[:, n].tolist())) for n in range(markets))
    looked_at = markets * windows
    measured = f"{found} in {looked_at:,} windows"
    goal("drift", "at most 1 false alarm in 1,000 windows", measured, found <= looked_at / 1000)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [1, pytest.param(20, marks=SLOW)])
def test_it_learns_the_new_ways_and_they_are_promoted(seeds: int, tmp_path: Path, goal: Goal) -> None:
    promoted = 0
    for seed in range(seeds):
        events, weight = watched(tmp_path / str(seed), seed, CALM + 80)
        promoted += any(event.startswith("promoted") for _, event in events) and weight < 0
    promised = "what was learned after the change is promoted within 80 windows in 9 of 10 seeds"
    goal("drift", promised, f"{promoted} of {seeds}", promoted >= 0.9 * seeds)
