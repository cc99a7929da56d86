import numpy as np
import pytest

from tensor_optix.core.search_space import Param, SearchSpace
from tensor_optix.multirun.generations import Standing, decided, late, rules_for

SPACE = SearchSpace({"gamma": Param(0.0, 1.0)})


def standings(*scores: float | None) -> list[Standing]:
    return [Standing(params={"gamma": 0.5, "fixed": 1}, score=score) for score in scores]


@pytest.mark.parametrize(
    ("scores", "donors"),
    [
        ((1.0, 2.0), [1, None]),
        ((3.0, 3.0), [None, None]),
        ((4.0, None, 2.0), [None, 0, None]),
        ((None, None), [None, None]),
        ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), [7, *[None] * 7]),
    ],
)
def test_the_worst_takes_from_the_best(scores: tuple[float | None, ...], donors: list[int | None]) -> None:
    steps = decided(SPACE, standings(*scores), range(len(scores)), np.random.default_rng(0))
    assert [step.donor for step in steps.values()] == donors
    assert all(step.params.keys() == {"gamma"} for step in steps.values())


def test_one_member_decides_by_those_that_have_been_scored() -> None:
    some = [None, *standings(1.0, None), None, *standings(3.0)]
    (alone,) = decided(SPACE, some, [1], np.random.default_rng(0)).items()
    assert (alone[0], alone[1].donor) == (1, None)  # one that has diverged is further down
    assert decided(SPACE, some, [2], np.random.default_rng(0))[2].donor == 4
    assert decided(SPACE, [None, *standings(1.0)], [1], np.random.default_rng(0))[1].mode == "explore"


def test_at_least_one_exploits_whatever_the_size() -> None:
    for members in range(2, 60):
        rules = rules_for(members)
        assert int(members * rules.exploit_share) >= 1
        assert rules.exploit_share <= 0.5


@pytest.mark.parametrize(
    ("seconds", "members"), [([1.0, 1.0, 9.0], []), ([20.0, 22.0, 60.0, 21.0], [2]), ([100.0, 110.0], []), ([5.0], [])]
)
def test_who_is_waited_for_is_said(seconds: list[float], members: list[int]) -> None:
    assert late(seconds) == members
