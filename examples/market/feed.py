"""What a trader hears of the market, and what it earns with what it does."""

import threading
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from examples.market.prices import FEATURES
from examples.market.server import PORT
from tensor_optix import WebSocketSource

POSITIONS = (0, 1, -1)
"""Flat, long, short: what the actions 0, 1, 2 mean."""

COST = 0.1
"""Per mille of what is bought or sold."""

OBSERVATION_SPACE = gym.spaces.Box(-np.inf, np.inf, (len(FEATURES) + 1,), np.float32)
ACTION_SPACE = gym.spaces.Discrete(len(POSITIONS))


class Account:
    """Trades on paper: the position p that was chosen at one tick earns the change c to the next.

    rₜ₊₁ = pₜ·cₜ₊₁ − cost·|pₜ − pₜ₋₁|, in per mille of the capital.
    """

    def __init__(self, cost: float = COST) -> None:
        self.position, self._cost, self._fee = 0, cost, 0.0

    def take(self, action: int) -> None:
        """Choose the position."""
        wanted = POSITIONS[action]
        self._fee = self._cost * abs(wanted - self.position)
        self.position = wanted

    def earn(self, change: float) -> float:
        """Return what the position has earned by a change of the price, in per mille."""
        earned, self._fee = self.position * change - self._fee, 0.0
        return earned

    def observation(self, features: Any) -> np.ndarray:
        """Return what the trader sees: the features of the market, and its own position."""
        return np.array([*features, self.position], np.float32)


class MarketFeed(WebSocketSource):
    """The ticks of a `PriceServer`, with what the last action has earned.

    The next tick is not looked at before the action for the last one is there: what is earned is earned by the action
    that the agent saw fit for what it saw, however long it had to learn in between.

    Args:
        url: of the server.
        cost: of trading.
    """

    is_lockstep = True

    def __init__(self, url: str = f"ws://127.0.0.1:{PORT}", cost: float = COST) -> None:
        super().__init__(
            url,
            to_item=self._item,
            is_replayable=True,
            sends_actions=False,
            observation_space=OBSERVATION_SPACE,
            action_space=ACTION_SPACE,
        )
        self._account = Account(cost)
        self._has_acted = threading.Event()
        self._is_closed = False

    def stream(self, after: int | None = None) -> Iterator[Any]:
        """Yield the ticks that follow number `after`, each when the one before it has been acted on."""
        self._is_closed = False
        self._has_acted.set()
        for item in super().stream(after):
            yield item
            self._has_acted.wait()
            if self._is_closed:
                return

    def apply(self, action: Any) -> None:
        """Choose the position until the next tick."""
        self._account.take(int(action))
        self._has_acted.set()

    def close(self) -> None:
        """End the stream in progress."""
        self._is_closed = True
        super().close()
        self._has_acted.set()

    def _item(self, frame: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._has_acted.clear()
        info = {**frame.info, "sequence": frame.sequence}
        reward = self._account.earn(info["change"])
        return self._account.observation(frame.observation), reward, False, False, info
