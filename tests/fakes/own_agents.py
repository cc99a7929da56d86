"""Agents of the user's own kind that really learn: a table, a dict of parts, and a controller in the plant's units."""

from collections import defaultdict
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.support.trees import rows


class OwnAgent(BaseAgent):
    """Holds arrays by name, which are its weights."""

    weights: dict[str, np.ndarray]

    def __init__(self, seed: int = 0, **params: float) -> None:
        self.params, self.rng = params, np.random.default_rng(seed)

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        self.params = dict(hp.params)

    def save_weights(self, path: str) -> None:
        np.savez(path + ".npz", **self.weights)

    def load_weights(self, path: str) -> None:
        with np.load(path + ".npz") as saved:
            self.weights = {name: saved[name] for name in saved.files}


class QTable(OwnAgent):
    """Q-learning over a dictionary whose keys are the observations themselves: they must be whole numbers."""

    def __init__(self, n_actions: int = 4, seed: int = 0) -> None:
        super().__init__(seed, rate=0.5, epsilon=0.3, gamma=0.95)
        self.q: defaultdict[int, np.ndarray] = defaultdict(lambda: np.ones(n_actions))  # hopes, and so explores

    def act(self, observation: Any) -> int:
        values = self.q.get(observation)
        if values is None or self.rng.random() < self.params["epsilon"]:
            return int(self.rng.integers(4))
        return int(values.argmax())

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        if not deterministic:
            return super().act_batch(observations)
        return np.array([self.q[row].argmax() if row in self.q else 0 for row in observations])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        steps = (episode_data.observations, episode_data.actions, episode_data.rewards, episode_data.next_observations)
        for s, a, r, following, ends in zip(*steps, episode_data.terminated, strict=True):
            future = 0.0 if ends else self.params["gamma"] * self.q[following].max()
            self.q[s][a] += self.params["rate"] * (r + future - self.q[s][a])
        return {"states": float(len(self.q))}

    @property
    def weights(self) -> Any:
        return {"states": np.array(sorted(self.q)), "values": np.array([self.q[s] for s in sorted(self.q)])}

    @weights.setter
    def weights(self, saved: Any) -> None:
        self.q.clear()
        self.q.update(zip(saved["states"].tolist(), saved["values"].copy(), strict=True))


class Tank(gym.Env[Any, Any]):
    """A tank's level is to be held: {"level": (1,), "valve": which of two}; action {"flow": 0 to 100 %, "valve": 0, 1}.

    Only the valve that the observation names leads to the tank. The level falls by 10 % of a full flow each step.
    """

    observation_space = spaces.Dict({"level": spaces.Box(-10.0, 10.0, (1,), np.float32), "valve": spaces.Discrete(2)})
    action_space = spaces.Dict({"flow": spaces.Box(0.0, 100.0, (1,), np.float32), "valve": spaces.Discrete(2)})

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.level, self.steps, self.valve = float(self.np_random.uniform(-1, 1)), 0, int(self.np_random.integers(2))
        return self._seen(), {}

    def _seen(self) -> dict[str, Any]:
        return {"level": np.array([self.level], np.float32), "valve": self.valve}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        flow = float(action["flow"][0]) if int(action["valve"]) == self.valve else 0.0
        self.level = float(np.clip(self.level - 0.1 + flow / 1000.0 * 2.0, -10.0, 10.0))
        self.steps, self.valve = self.steps + 1, int(self.np_random.integers(2))
        return self._seen(), -abs(self.level), False, self.steps >= 20, {}


class TankKeeper(OwnAgent):
    """Opens the valve that it sees by 50 % and a learned gain of the level, in percent."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed, step=20.0)
        self.weights = {"gain": np.zeros(1), "kept": np.zeros(1), "score": np.array([-np.inf])}

    def act(self, observation: Any) -> dict[str, Any]:
        flow = np.clip(50.0 - self.weights["gain"] * observation["level"], 0.0, 100.0).astype(np.float32)
        return {"flow": flow, "valve": observation["valve"]}

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        w, score = self.weights, float(np.mean(episode_data.rewards))
        assert all(row["valve"] == action["valve"] for row, action in _pairs(episode_data))
        if score > w["score"][0]:
            w["kept"], w["score"] = w["gain"].copy(), np.array([score])
        w["gain"] = w["kept"] + self.params["step"] * self.rng.normal(size=1)
        return {"kept": float(w["kept"][0])}


def _pairs(window: EpisodeData) -> Any:
    return zip(rows(window.observations), rows(window.actions), strict=True)


class Torque(OwnAgent):
    """Damps a pendulum with a torque in the plant's own units, within ±2 N·m."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed, step=0.1)
        self.weights = {"gain": np.zeros(1)}

    def act(self, observation: Any) -> Any:
        return np.clip(1.5 - self.weights["gain"] * observation[2:], -2.0, 2.0).astype(np.float32)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        assert np.all(np.abs(episode_data.actions) <= 2.0)
        self.weights["gain"] = self.weights["gain"] + self.params["step"]
        return {"gain": float(self.weights["gain"][0])}
