"""Which algorithm gets there first by the clock: SAC, which learns much from a step, or PPO, whose updates cost little.

    seconds of an algorithm ∝ the steps it needs · (a step of the environment + its updates per step)

Where a step is cheap, updates are most of SAC's time, and many more steps of PPO take less. PPO it is where

    margin · ratio · (step + PPO's updates) ≤ step + SAC's updates

with a ratio of 5 and a margin of 1.5; else SAC, also where a step waits: there a step is what is scarce.

Ratio: the training steps of PPO over those of SAC until either has SAC's score. Tuned settings of RL Baselines3 Zoo
(hyperparams/ppo.yml, sac.yml): ReacherBullet 3.3, LunarLanderContinuous, AntBullet and HalfCheetahBullet 2; 5 on
Pendulum, where ours is 23 and a preset decides, and 10 on BipedalWalker, where our PPO has 285 of 298 after 0.8M steps
for SAC's 0.5M. Ours on InvertedPendulum 4, on Walker2d 1.9. The largest without those two, rounded up, is taken.

Where actions have many numbers, no number of steps may be enough: of the final scores of the Zoo's benchmark.md, those
of PPO are as good as SAC's or up to a fifth lower for 1 to 3 numbers (Pendulum, LunarLanderContinuous, Reacher, Hopper,
Swimmer), and beyond 213 to 298 (BipedalWalker, 4 numbers), 5,819 to 9,535 (HalfCheetah, 6) and 1,327 to 4,616 (Ant, 8).
With hyper-parameters that suit the environment ours was as good for up to 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass

STEPS_RATIO = 5.0
"""Steps that PPO needs for one of SAC's."""
MARGIN = 1.5
"""By this factor PPO must be ahead, so that the noise of a measurement does not decide."""
MOST_NUMBERS = 3
"""In an action; beyond, it is SAC whatever a step costs,"""
MOST_NUMBERS_OF_KNOWN = 6
"""unless hyper-parameters of PPO are known for the environment, or its kind."""
SHORTEST_WAIT = 1e-3
"""Seconds of a step below which nothing is called waiting."""
WAITING_SHARE = 0.5
"""Of a step's time that the processor has nothing to do, from which on it waits."""


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What a step costs in one environment, acting and bookkeeping included."""

    seconds: float
    """By the clock on the wall."""
    processor_seconds: float
    """Of this process; less than `seconds` where a step sleeps, or another process computes it."""

    @property
    def waits(self) -> bool:
        """Whether a step is given its time, as in real time, and does not compute all the while."""
        idle = self.seconds - self.processor_seconds
        return self.seconds >= SHORTEST_WAIT and idle >= WAITING_SHARE * self.seconds


@dataclass(frozen=True, kw_only=True)
class Quickest:
    """An algorithm, and why; its text says both."""

    algorithm: str
    why: str

    def __str__(self) -> str:
        return f"Training with {self.algorithm}: {self.why}; --algo {self.algorithm} does the same without measuring."


def quickest(step: StepCost, updates: Mapping[str, float]) -> Quickest:
    """Return which of PPO and SAC gets there first.

    Args:
        step: what one costs.
        updates: seconds of the updates per step, of `"ppo"` and of `"sac"`.
    """
    if step.waits:
        waited = f"a step takes {_milliseconds(step.seconds)} and computes for {_milliseconds(step.processor_seconds)}"
        return Quickest(algorithm="sac", why=f"{waited}, and sac needs the fewest")
    ppo, sac = STEPS_RATIO * (step.seconds + updates["ppo"]), step.seconds + updates["sac"]
    many = f"{STEPS_RATIO:.0f} steps of ppo with their updates take {_milliseconds(ppo)}"
    is_ppo = MARGIN * ppo <= sac
    return Quickest(algorithm="ppo" if is_ppo else "sac", why=f"{many}, one of sac {_milliseconds(sac)}")


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.2g} ms" if seconds < 0.1 else f"{1e3 * seconds:,.0f} ms"
