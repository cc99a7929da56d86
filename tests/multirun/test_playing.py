"""What a worker plays for a run that validates beside training."""

import dataclasses

import numpy as np

from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.executors import InProcess, Payload
from tensor_optix.multirun.played_beside import PLAY, weights_of, window_of
from tests.fakes.tiny_runs import TINY

RUN = dataclasses.replace(TINY, val_episodes=2)
SEEDS = [5, 6]


def test_the_policy_plays_that_was_sent_and_not_the_one_before() -> None:
    def item(number: int) -> Payload:
        about = {"run": dataclasses.asdict(RUN), "statistics": {}, "seeds": SEEDS, "max_steps": 20}
        return Payload(about, weights_of(RUN.agent(number)))

    numbers = [1, 2, 1]
    windows = [window_of(one.values, SEEDS) for one in InProcess().map(PLAY, [item(number) for number in numbers])]
    for number, window in zip(numbers, windows, strict=True):
        validation = RUN.pipeline().validation_pipeline(2, 0)
        assert validation is not None
        validation.agent = GreedyAgent(RUN.agent(number))
        validation.bound(20)
        expected = validation.play(SEEDS)
        assert np.array_equal(window.observations, expected.observations)
        assert np.array_equal(window.actions, expected.actions)
        assert window.completed_episodes() == expected.completed_episodes()
        assert window.metadata.items() <= expected.metadata.items()
