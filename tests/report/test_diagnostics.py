"""What is usual of the numbers that learning tells."""

import pytest

from tensor_optix.report.diagnostics import COUNTS, DIAGNOSTICS, Diagnostic, Scale, diagnostic_of


@pytest.mark.parametrize(
    ("scale", "values", "returns", "expected"),
    [
        (Scale.ONE, [5.0], [], (0.1, 2.0)),
        (Scale.FIRST, [4.0, 1.0], [], (0.4, 8.0)),
        (Scale.FIRST, [4.0, -1.0], [], None),
        (Scale.EARLY, [1.0, -2.0, 0.5, 50.0], [], (0.2, 4.0)),
        (Scale.EARLY, [0.0, 0.0], [], None),
        (Scale.RETURNS, [1.0], [20.0, 200.0], (0.0, 200.0)),
        (Scale.RETURNS, [1.0], [-200.0, -90.0], (-200.0, 0.0)),
        (Scale.RETURNS, [1.0], [], None),
        (Scale.ONE, [], [], None),
    ],
)
def test_a_range_is_in_its_own_units(
    scale: Scale, values: list[float], returns: list[float], expected: tuple[float, float] | None
) -> None:
    found = Diagnostic(label="x", low=0.1, high=2.0, scale=scale).range(values, returns)
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_number_of_which_nothing_is_known_has_its_name_alone() -> None:
    known = diagnostic_of("mine", frozenset({"mine"}))
    assert (known.label, known.sentence, known.range([1.0], [])) == ("mine", "", None)


def test_the_entropy_of_a_policy_with_a_temperature_has_a_target() -> None:
    assert "target" in diagnostic_of("entropy", frozenset({"entropy", "alpha"})).sentence
    assert "entropy_coef" in diagnostic_of("entropy", frozenset({"entropy"})).sentence


def test_each_number_says_what_is_usual_and_what_leaving_that_means() -> None:
    assert all(known.usual and known.meaning for known in DIAGNOSTICS.values())


@pytest.mark.parametrize(
    "told",
    [
        "policy_loss value_loss entropy approx_kl clip_fraction grad_norm explained_var n_updates",
        "loss mean_q grad_norm n_updates epsilon buffer_size target_updated",
        "critic_loss actor_loss alpha_loss critic_grad_norm actor_grad_norm alpha_grad_norm mean_q entropy alpha",
        "loss grad_norm explained_variance",
    ],
    ids=["PPO", "DQN", "SAC", "adapters"],
)
def test_each_number_that_an_algorithm_of_ours_tells_is_known(told: str) -> None:
    assert {*told.split()} <= DIAGNOSTICS.keys() | COUNTS
