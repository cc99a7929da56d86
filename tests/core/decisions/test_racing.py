"""Who stays in a race."""

from tensor_optix.core.decisions.racing import plausible, survivors, upper_bound


def test_only_those_that_could_be_the_best_are_plausible_best_first() -> None:
    assert plausible([[5.0] * 20, [9.0] * 20, [9.0, 8.0] * 10]) == [1, 2]
    assert plausible([[5.0], [9.0]]) == [1, 0]  # a single window says little
    assert plausible([]) == []


def test_of_the_close_ones_the_better_half_goes_on() -> None:
    close = [
        [1.0, 0.0, 1.0, 0.0],
        [1.0, 1.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 1.0],
        [1.0, 0.0, 1.0, 1.0],
        [0.0, 0.0, 1.0, 1.0],
    ]
    assert survivors(close) == [1, 3, 0]
    assert survivors(close[:2]) == [1, 0]  # two are not halved
    assert survivors([[0.0] * 20, [1.0] * 20]) == [1]  # but one that is clearly worse drops out


def test_equals_keep_their_order() -> None:
    assert survivors([[1.0]] * 4) == [0, 1]


def test_the_upper_bound_mirrors_the_lower_one() -> None:
    assert upper_bound([1.0] * 10, (0.0, 1.0)) == 1.0
    assert 0.05 < upper_bound([0.0] * 10, (0.0, 1.0)) < 0.3
