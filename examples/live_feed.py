"""Learn from a feed that does not wait: `python -m examples.live_feed`.

A room is read a hundred times a second, whether or not anybody has an answer, and the line breaks off now and then. The
pipeline reconnects, learns nothing across a gap, and accounts for every reading.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from tensor_optix import LivePipeline, RLOptimizer, TrainingReport, make_agent
from tensor_optix.errors import FeedError

Item = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class Room:
    """A thermometer with a heater; 20 degrees are wanted.

    Args:
        pause: seconds between two readings.
        breaks: readings after which the line breaks off.
        seed: of the weather.
    """

    observation_space, action_space = Box(-5.0, 5.0, (2,), np.float32), Discrete(2)

    def __init__(self, pause: float = 0.01, breaks: int = 300, seed: int = 0) -> None:
        self.pause, self.breaks, self.rng = pause, breaks, np.random.default_rng(seed)
        self.degrees, self.outside, self.heats, self.read = 18.0, 5.0, 0, -1

    def stream(self) -> Iterator[Item]:
        """Yield readings until the line breaks off; called again for each connection."""
        while True:
            time.sleep(self.pause)
            self.read += 1
            self.outside += float(self.rng.normal(0.0, 0.05))
            self.degrees += 0.3 * self.heats - 0.01 * (self.degrees - self.outside)
            seen = np.array([(self.degrees - 20.0) / 5.0, (self.outside - 5.0) / 5.0], np.float32)
            yield seen, -abs(self.degrees - 20.0), False, False, {"sequence": self.read}
            if self.read % self.breaks == self.breaks - 1:
                raise FeedError("The line broke off.")

    def apply(self, action: int) -> None:
        """Switch the heater."""
        self.heats = int(action)


def train(room: Room, *, window_size: int = 256, windows: int = 40, seed: int = 0) -> tuple[TrainingReport, dict]:
    """Learn to keep the room warm; return the report, and what became of the readings."""
    agent = make_agent_for(room, seed)
    pipeline = LivePipeline(room, agent, LivePipeline.every_n_steps(window_size), safe_action=0)
    report = RLOptimizer(agent, pipeline, checkpoint_dir="runs/room", seed=seed, max_windows=windows).run()
    return report, dict(pipeline.stream_state()["counts"])


def make_agent_for(room: Room, seed: int) -> Any:
    """Return PPO for the spaces of a source: the factory wants an environment, of which it sees the spaces alone."""

    class Spaces(gym.Env[np.ndarray, np.int64]):
        observation_space, action_space = room.observation_space, room.action_space

    return make_agent(Spaces(), "ppo", seed=seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and account for every reading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--window-size", type=int, default=256)
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two readings")
    args = parser.parse_args(argv)
    report, counts = train(Room(args.pause), window_size=args.window_size, windows=args.windows)
    print(report)
    print("What became of the readings:", ", ".join(f"{count:,} {name}" for name, count in counts.items() if count))


if __name__ == "__main__":
    main()
