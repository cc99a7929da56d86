"""PPO or SAC: the decision as a table of what steps and updates cost."""

import pytest

from tensor_optix.core.decisions.quickest import StepCost, quickest

UPDATES = {"ppo": 3e-5, "sac": 6.5e-3}
"""64-64 and 256-256 on one core."""


def computing(seconds: float) -> StepCost:
    return StepCost(seconds=seconds, processor_seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "algorithm"),
    [(1e-5, "ppo"), (1e-4, "ppo"), (9.6e-4, "ppo"), (9.8e-4, "sac"), (1e-3, "sac"), (1.0, "sac")],
)
def test_the_cheaper_a_step_the_more_of_them_are_made_up_for_by_cheap_updates(seconds: float, algorithm: str) -> None:
    assert quickest(computing(seconds), UPDATES).algorithm == algorithm


def test_ppo_must_be_clearly_quicker() -> None:
    step = computing(1e-4)
    exactly = 1.5 * 5 * (1e-4 + 3e-5) - 1e-4
    assert quickest(step, {"ppo": 3e-5, "sac": 1.001 * exactly}).algorithm == "ppo"
    assert quickest(step, {"ppo": 3e-5, "sac": 0.999 * exactly}).algorithm == "sac"


@pytest.mark.parametrize(
    ("seconds", "processor_seconds", "waits"),
    [
        (20e-3, 1e-4, True),
        (20e-3, 9.9e-3, True),
        (20e-3, 10.1e-3, False),
        (1e-3, 1e-4, True),
        (0.9e-3, 1e-4, False),
        (20e-3, 40e-3, False),  # threads of its own
    ],
)
def test_a_step_waits_where_its_time_is_not_the_processors(
    seconds: float, processor_seconds: float, waits: bool
) -> None:
    step = StepCost(seconds=seconds, processor_seconds=processor_seconds)
    assert step.waits is waits
    slow = {"ppo": 0.0, "sac": 1e6}
    assert quickest(step, slow).algorithm == ("sac" if waits else "ppo")


def test_what_was_measured_and_chosen_is_said() -> None:
    assert str(quickest(computing(1e-4), UPDATES)) == (
        "Training with ppo: 5 steps of ppo with their updates take 0.65 ms, one of sac 6.6 ms; --algo ppo does the "
        "same without measuring."
    )
    assert str(quickest(StepCost(seconds=0.0204, processor_seconds=2e-4), UPDATES)) == (
        "Training with sac: a step takes 20 ms and computes for 0.2 ms, and sac needs the fewest; --algo sac does the "
        "same without measuring."
    )
    assert "take 500 ms, one of sac 107 ms" in str(quickest(computing(0.1), UPDATES | {"ppo": 0.0}))
