"""The suites that take hours: their plans, and what they make of results."""

from typing import Any

import pytest

from benchmarks import calibration, easy, ensemble, evolution, field, honesty, intervals, selection, truth, tuning
from benchmarks._suite import Options

RUN = {"mean": 480.0, "reported": 481.0, "env_steps": 1000, "outcomes": ["new best", "kept"]}
KEPT = {
    "env": "CartPole-v1",
    "seed": 0,
    "arguments": [],
    "reason": "converged",
    "exit_code": 0,
    "cut": False,
    "seconds": 90.0,
    "env_steps": 30_000,
    "evaluations": 15,
    "validation_share": 0.2,
    "reported": 481.0,
    "reported_std_err": 2.0,
    "reported_low": 477.0,
    "reported_high": 485.0,
    "retest": 480.0,
    "retest_std_err": 1.0,
    "retest_low": 478.0,
    "retest_high": 482.0,
    "untrained": 20.0,
    "untrained_std_err": 1.0,
    "steps_to_level": 10_000,
    "evaluations_to_level": 5,
}
ROWS: dict[Any, list[dict[str, Any]]] = {
    calibration: [
        {
            "seed": 0,
            "groups": [
                {
                    "curves": "all",
                    "n": 12000,
                    "false_stops": 0.032,
                    "delay": 1.35,
                    "delay_p90": 2.7,
                }
            ],
        }
    ],
    intervals: [
        {
            "seed": 0,
            "groups": [
                {"returns": "normal", "span": "training", "coverage": [0.99, 0.931]},
                {"returns": "normal", "span": "none", "coverage": [0.912, 0.95]},
            ],
        }
    ],
    selection: [
        {"env": "CartPole-v1", "seed": seed, "ratio": ratio, "returned": 1.0, "best": 1.0}
        for seed, ratio in enumerate((0.98, 1.0, 1.0))
    ],
    evolution: [
        {
            "env": "CartPole-v1",
            "seed": 0,
            "goal": 500.0,
            "plain": RUN | {"mean": 450.0},
            "evolved": RUN,
            "difference": 30.0,
            "as_good": True,
            "fell_short": True,
        }
    ],
    ensemble: [{"seed": 0, "score": 500.0, "solved": True, "env_steps": 1000, "alone": [400.0, 500.0, 490.0]}],
    tuning: [
        {"env": "CartPole-v1", "factor": factor, "mode": mode, "seed": 0, "solved": mode == "on", "score": 400.0}
        for factor in (1.0, 30.0)
        for mode in tuning.MODES
    ],
    easy: [KEPT, KEPT | {"seed": 1, "steps_to_level": None, "evaluations_to_level": None}],
    truth: [
        KEPT | {"env": "FrozenLake8x8-v1", "retest": 0.0, "retest_std_err": 0.0, "reported": 1.0, "untrained": 0.0},
        KEPT | {"env": "FrozenLake8x8-v1", "seed": 1},
    ],
    honesty: [KEPT, KEPT | {"reason": "interrupted", "reported": 500.0}, KEPT | {"cut": True, "reported": None}],
    field: [KEPT, KEPT | {"env": "Taxi-v4", "cut": True, "retest": None}],
}


@pytest.mark.parametrize(
    ("suite", "n"),
    [
        (calibration, 1),
        (intervals, 1),
        (selection, 160),
        (evolution, 21),
        (tuning, 210),
        (easy, 18),
        (truth, 12),
        (honesty, 135),
        (field, 43),
    ],
    ids=lambda v: getattr(v, "TITLE", v),
)
def test_every_measurement_of_a_plan_has_a_unique_name(suite: Any, n: int) -> None:
    keys = [measurement.key for measurement in suite.plan(Options())]
    assert len(keys) == len(set(keys)) == n
    if suite not in (calibration, intervals):
        one = Options(seeds=(0,), only=("CartPole-v1",))
        assert len(list(suite.plan(one))) == {tuning: 21, honesty: 3, truth: 0}.get(suite, 1)


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        (calibration, ["3.2%", "1.35 (2.70)"]),
        (intervals, ["1 of 1 distributions", "0.931 ", "0.912 !"]),
        (selection, ["1.000 [0.980, 1.000]", "0.993"]),
        (evolution, ["1/1", "+30.0 (1 runs)"]),
        (ensemble, ["1/1", "490.0 [400.0, 500.0]"]),
        (tuning, ["1/1 (400 [400, 400])", "0/1 (400 [400, 400])", "off-default"]),
        (easy, ["10,000 [10,000, 10,000]", "inf [2.00, inf]", "inf [10, inf]", "1/2"]),
        (truth, ["| FrozenLake8x8-v1 | 1/2 | 1/2 |"]),
        (honesty, ["| all | 1 | 3 | 1/2 (50%) |", "| cut | 1 | 1 | 0/0 (0%) |"]),
        (field, ["96%", "no episode ends", "1 of 2 environments measured", "| cut |"]),
    ],
    ids=lambda value: getattr(value, "TITLE", ""),
)
def test_a_suite_tells_what_it_found(suite: Any, words: list[str]) -> None:
    text = "\n".join(suite.render(ROWS[suite]))
    for word in words:
        assert word in text
