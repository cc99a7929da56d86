"""What an update costs in arithmetic: the multiplications of dense layers, per step of the environment."""

import itertools
from collections.abc import Mapping, Sequence

_STARTING = 10_000_000
"""Multiplications in the time that the operations of one minibatch take to be started: 0.2 ms, in numpy."""


def multiplications(
    algorithm: str, observations: int, actions: int, hidden: Sequence[int], params: Mapping[str, float]
) -> float:
    """Return the multiplications of the updates that follow one step, at the speed of large matrix products.

    A forward pass multiplies each weight once for each row; the gradients of weights and of inputs cost as much each.

    PPO     n_epochs · (3 · (actor + critic) + starting / minibatch_size)
    SAC     updates_per_step · batch_size · (4 · actor + 12 · critic): of both critics 3 in their own update, 1 as
            targets and 2 in the actor's; of the actor 3 in its own update, and 1 for the targets;
            to start them is little beside it
    DQN     updates_per_step · batch_size · (4 + double_q) · network: 3 in its own update, 1 as target

    Args:
        algorithm: `"ppo"`, `"sac"` or `"dqn"`.
        observations: numbers in an observation.
        actions: numbers in an action; of DQN, how many actions there are.
        hidden: sizes of the hidden layers.
        params: all hyper-parameters.
    """
    if algorithm == "ppo":
        weights = _weights(observations, hidden, actions) + _weights(observations, hidden, 1)
        return params["n_epochs"] * (3 * weights + _STARTING / params["minibatch_size"])
    if algorithm == "dqn":
        weights = _weights(observations, hidden, actions)
        return params["updates_per_step"] * params["batch_size"] * (4 + params["double_q"]) * weights
    actor, critic = _weights(observations, hidden, 2 * actions), _weights(observations + actions, hidden, 1)
    return params["updates_per_step"] * params["batch_size"] * (4 * actor + 12 * critic)


def _weights(inputs: int, hidden: Sequence[int], outputs: int) -> int:
    return sum(a * b for a, b in itertools.pairwise((inputs, *hidden, outputs)))
