import itertools
import threading
import time
from typing import Any

import numpy as np
import pytest

from examples.market.feed import COST, POSITIONS, Account, MarketFeed
from examples.market.prices import Market
from examples.market.scoring import SharpeEvaluator, by_the_law, earned, sharpe
from examples.market.server import PriceServer
from tensor_optix import EpisodeData, LivePipeline, ScoresActions
from tests.helpers import NumpyAgent


class Chance(NumpyAgent):
    def act(self, observation: Any) -> int:
        return int(self.rng.integers(len(POSITIONS)))


def test_an_account_earns_what_its_position_does() -> None:
    account = Account(cost=0.5)
    assert account.earn(3.0) == 0.0
    account.take(1)
    assert account.earn(3.0) == 2.5
    assert account.earn(-1.0) == -1.0
    account.take(2)
    assert account.earn(-2.0) == 1.0
    assert account.observation((1.0, 2.0)).tolist() == [1.0, 2.0, -1.0]


def collected(drop: float, count: int = 4, pause: float = 0.0) -> tuple[list[EpisodeData], int]:
    with PriceServer(Market(5), drop=drop, seed=2) as server:
        pipeline = LivePipeline(
            MarketFeed(server.url), Chance(seed=1), LivePipeline.every_n_steps(250), backoff=(0.001, 0.01)
        )
        windows = []
        for window in itertools.islice(pipeline.episodes(), count):
            windows.append(window)
            time.sleep(pause)
        pipeline.teardown()
        return windows, server.drops


def test_what_other_actions_would_have_earned_is_known() -> None:
    windows, _ = collected(drop=0.0)
    evaluator = SharpeEvaluator()
    assert isinstance(evaluator, ScoresActions)
    for window in windows:
        collected_score, told = evaluator.score(window, {}), evaluator.score_actions(window, window.actions)
        assert told.primary_score == pytest.approx(collected_score.primary_score, rel=1e-5)
        assert told.metrics == pytest.approx(collected_score.metrics, rel=1e-5)
    long = evaluator.score_actions(windows[1], np.ones(windows[1].length, int))
    changes = np.array([info["change"] for info in windows[1].infos])
    changes[0] -= COST * abs(1 - windows[1].observations[0, -1])  # bought once, and held
    assert long.primary_score == pytest.approx(sharpe(changes))


def test_what_is_earned_is_earned_by_the_action_for_what_was_seen() -> None:
    windows, drops = collected(drop=0.02, pause=0.02)
    ticks = list(itertools.islice(Market(5).items(), 1001))
    positions = np.array([POSITIONS[action] for window in windows for action in window.actions])
    held_before = np.concatenate([[0], positions[:-1]])
    seen = np.concatenate([window.observations for window in windows])
    np.testing.assert_allclose(seen[:, :-1], [tick.features for tick in ticks[:-1]], rtol=1e-6)
    np.testing.assert_array_equal(seen[:, -1], held_before)
    changes = np.array([tick.change for tick in ticks[1:]])
    paid = COST * np.abs(positions - held_before)
    np.testing.assert_allclose([r for window in windows for r in window.rewards], positions * changes - paid, rtol=1e-5)
    assert drops > 5
    assert windows[-1].metadata["reconnects"] > 5
    assert windows[-1].metadata["gaps"] == windows[-1].metadata["dropped"] == windows[-1].metadata["duplicates"] == 0


def test_a_line_that_breaks_off_changes_nothing() -> None:
    (calm, _), (stormy, drops) = collected(drop=0.0), collected(drop=0.05)
    assert drops > 20
    for one, other in zip(calm, stormy, strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        assert list(one.rewards) == list(other.rewards)


def test_a_feed_that_waits_for_an_action_can_be_left() -> None:
    with PriceServer(Market(5)) as server:
        pipeline = LivePipeline(MarketFeed(server.url), Chance(), LivePipeline.every_n_steps(5))
        next(iter(pipeline.episodes()))
        pipeline.teardown()
        assert "tensor-optix-feed" not in {thread.name for thread in threading.enumerate()}


def test_who_knows_the_law_earns_and_chance_pays() -> None:
    markets = [Market(seed) for seed in range(4)]
    rng = np.random.default_rng(0)
    knows = earned(by_the_law, markets, 2000)
    assert knows.shape == (1999, 4)
    assert sharpe(knows) > 0.2
    assert sharpe(earned(lambda seen: rng.integers(3, size=len(seen)), markets, 2000)) < 0.0
    assert sharpe(earned(lambda seen: np.zeros(len(seen), int), markets, 100)) == 0.0


@pytest.mark.parametrize("action", [0, 1, 2])
def test_every_action_is_a_position(action: int) -> None:
    assert MarketFeed().action_space.contains(action)
