"""The environments of the field, and the score that each is measured by.

Where RL Baselines3 Zoo publishes returns of its tuned settings (its `benchmark.md`; one run each, on the environments'
versions of then), the score is the best of its PPO, DQN and SAC. Elsewhere it is the return of the optimal policy, or
the threshold that Gymnasium registers.
"""

from dataclasses import dataclass

from benchmarks._worlds import BANDIT, CHAIN

SHORT, LONG = (0, 1, 2), (0,)
"""Seeds of environments that take less and more than a quarter of an hour."""
ENOUGH = 0.9
"""Share of the score that is asked for."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """An environment, trained with no flag but the seed."""

    env: str
    goal: float
    """The score to compare with."""
    source: str
    """Where it is from."""
    floor: float | None = None
    """A score that takes no skill, where the untrained policy can be far worse: the scale begins there."""
    seeds: tuple[int, ...] = SHORT
    algorithm: str = "ppo"
    """What the command line takes by itself."""
    episodes: int = 200
    """Of the re-test."""


FIELD = (
    # An episode has one to five steps and a spread of 0.95: 200 would say nothing.
    Task(env="Blackjack-v1", goal=-0.0427, source="optimal policy", episodes=5000),
    Task(env="FrozenLake-v1", goal=0.744, source="optimal policy"),
    Task(env="Taxi-v4", goal=7.93, source="optimal policy", floor=-200.0),
    Task(env="CliffWalking-v1", goal=-13.0, source="optimal policy", floor=-200.0, algorithm="dqn"),
    Task(env="CartPole-v1", goal=500.0, source="Zoo, PPO, 100k steps"),
    Task(env="Acrobot-v1", goal=-73.5, source="Zoo, PPO, 1M steps"),
    Task(env="MountainCar-v0", goal=-100.8, source="Zoo, DQN, 120k steps"),
    Task(env="Pendulum-v1", goal=-157.0, source="Zoo, SAC, 20k steps", algorithm="sac"),
    Task(env="MountainCarContinuous-v0", goal=94.7, source="Zoo, SAC, 50k steps", algorithm="sac"),
    Task(env="LunarLander-v3", goal=242.1, source="Zoo, PPO, 1M steps"),
    Task(env="InvertedPendulum-v5", goal=1000.0, source="highest return", algorithm="sac"),
    Task(env="Reacher-v5", goal=-3.75, source="registered threshold", algorithm="sac"),
    Task(env="InvertedDoublePendulum-v5", goal=9100.0, source="registered threshold", algorithm="sac", seeds=LONG),
    Task(env="LunarLanderContinuous-v3", goal=270.9, source="Zoo, PPO, 1M steps", algorithm="sac", seeds=LONG),
    Task(env="Swimmer-v5", goal=345.6, source="Zoo, SAC, 1M steps", algorithm="sac", seeds=LONG),
    Task(env="Hopper-v5", goal=2410.4, source="Zoo, PPO, 1M steps", algorithm="sac", seeds=LONG),
    Task(env="BipedalWalker-v3", goal=297.7, source="Zoo, SAC, 500k steps", algorithm="sac", seeds=LONG),
    Task(env="Walker2d-v5", goal=3863.2, source="Zoo, SAC, 1M steps", algorithm="sac", seeds=LONG),
    Task(env="HalfCheetah-v5", goal=9535.5, source="Zoo, SAC, 1M steps", algorithm="sac", seeds=LONG),
)
"""Shortest first."""

EASY = (
    *(task for task in FIELD if task.env in ("CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCar-v0")),
    Task(env=BANDIT, goal=0.9, source="optimal policy"),
    Task(env=CHAIN, goal=1.0, source="optimal policy"),
)
"""Where the loop must not go on for long."""

_SLOW = ("Hopper-v5", "BipedalWalker-v3", "Walker2d-v5", "HalfCheetah-v5")
REPORTED = tuple(task for task in FIELD if task.env not in _SLOW)
"""Where the reported score is compared with that of a re-test: 15 environments."""
