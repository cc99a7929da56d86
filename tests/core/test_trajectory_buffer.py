from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.trajectory_buffer import compute_gae, discounted_returns, explained_variance, make_minibatches
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import InvalidArgumentError

GAMMA, LAMBDA = 0.5, 0.5


def approx(values: Any) -> Any:
    return pytest.approx(np.asarray(values), rel=1e-5, abs=1e-5)


# --- GAE by hand: γ = λ = 1/2, so that γλ = 1/4 ---


def test_advantages_by_hand() -> None:
    # δ = r + γ·V(s′) − V(s) = 1 + 4 − 4, 2 + 3 − 8, 4 + 5 − 6 = 1, −3, 3
    # A₂ = 3, A₁ = −3 + 3/4 = −2.25, A₀ = 1 − 2.25/4 = 0.4375
    advantages, targets = compute_gae([1, 2, 4], [4, 8, 6], [8, 6, 10], [0, 0, 0], [0, 0, 1], GAMMA, LAMBDA)
    assert advantages.tolist() == [0.4375, -2.25, 3.0]
    assert targets.tolist() == [4.4375, 5.75, 9.0]
    assert advantages.dtype == targets.dtype == np.float32


def test_a_terminated_step_has_no_future() -> None:
    # The last δ loses its bootstrap: 4 + 0 − 6 = −2; A₁ = −3 − 2/4, A₀ = 1 − 3.5/4
    advantages, _ = compute_gae([1, 2, 4], [4, 8, 6], [8, 6, 1e9], [0, 0, 1], [0, 0, 1], GAMMA, LAMBDA)
    assert advantages.tolist() == [0.125, -3.5, -2.0]


def test_a_truncated_step_bootstraps_and_cuts_the_recursion() -> None:
    # Step 1 ends by a time limit: it keeps γ·V(s′₁) = 3, and nothing of step 2 flows back into it.
    advantages, targets = compute_gae([1, 2, 4], [4, 8, 6], [8, 6, 10], [0, 0, 0], [0, 1, 1], GAMMA, LAMBDA)
    assert advantages.tolist() == [0.25, -3.0, 3.0]
    assert targets.tolist() == [4.25, 5.0, 9.0]


def test_a_terminated_step_that_is_no_end_of_a_segment_still_has_no_bootstrap() -> None:
    advantages, _ = compute_gae([0, 0], [0, 0], [100, 0], [1, 0], [1, 1], GAMMA, LAMBDA)
    assert advantages.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("terminated", "value"), [(False, 2.0), (True, 0.0)])
def test_a_window_of_one_step_works(terminated: bool, value: float) -> None:
    advantages, targets = compute_gae([1.0], [3.0], [4.0], [terminated], [True], GAMMA, LAMBDA)
    assert (advantages.tolist(), targets.tolist()) == ([1.0 + value - 3.0], [1.0 + value])


@pytest.mark.parametrize("gae_lambda", [0.0, 0.3, 0.95, 1.0])
def test_the_right_values_of_a_constant_reward_leave_no_advantage(gae_lambda: float) -> None:
    # V = r/(1 − γ) is exact for a reward that never ends: δ = 0 everywhere, whatever λ, wherever the window is cut.
    values = np.full(6, 3.0 / (1.0 - 0.75))
    ends = [0, 0, 1, 0, 0, 1]
    advantages, targets = compute_gae(np.full(6, 3.0), values, values, np.zeros(6), ends, 0.75, gae_lambda)
    assert advantages == approx(np.zeros(6))
    assert targets == approx(values)


# --- identities ---


@st.composite
def windows(draw: st.DrawFn) -> dict[str, np.ndarray]:
    steps = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    terminated = rng.random(steps) < 0.2
    ends = terminated | (rng.random(steps) < 0.2)
    ends[-1] = True
    rewards, values, next_values = rng.normal(size=(3, steps))
    following = np.append(values[1:], next_values[-1])
    next_values = np.where(ends, next_values, following)  # within a segment, the next state's value
    return {
        "rewards": rewards,
        "values": values,
        "next_values": next_values,
        "terminated": terminated,
        "ends": ends,
    }


@given(windows(), st.floats(0.0, 1.0))
def test_lambda_one_is_monte_carlo_minus_the_value(window: dict[str, np.ndarray], gamma: float) -> None:
    advantages, targets = compute_gae(**window, gamma=gamma, gae_lambda=1.0)
    bootstrap = np.where(window["terminated"], 0.0, window["next_values"])
    returns = discounted_returns(window["rewards"], window["ends"], gamma, bootstrap)
    assert targets == approx(returns)
    assert advantages == approx(returns - window["values"])


@given(windows(), st.floats(0.0, 1.0))
def test_lambda_zero_is_the_one_step_error(window: dict[str, np.ndarray], gamma: float) -> None:
    advantages, targets = compute_gae(**window, gamma=gamma, gae_lambda=0.0)
    alive = ~window["terminated"]
    expected = window["rewards"] + gamma * window["next_values"] * alive
    assert targets == approx(expected)
    assert advantages == approx(expected - window["values"])


@given(windows(), windows(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_one_window_with_two_episodes_equals_two_windows(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray], gamma: float, gae_lambda: float
) -> None:
    joined = {name: np.concatenate([first[name], second[name]]) for name in first}
    together = compute_gae(**joined, gamma=gamma, gae_lambda=gae_lambda)
    apart = [compute_gae(**window, gamma=gamma, gae_lambda=gae_lambda) for window in (first, second)]
    for result, one, other in zip(together, *apart, strict=True):
        np.testing.assert_array_equal(result, np.concatenate([one, other]))


def test_two_environments_stacked_env_major_equal_the_two_alone() -> None:
    rng = np.random.default_rng(0)
    terminated = np.array([0, 1, 0, 0, 0, 0, 0, 0], bool)
    truncated = np.array([0, 0, 0, 0, 0, 0, 1, 0], bool)
    rewards, values, next_values = rng.normal(size=(3, 8))

    def advantages(rows: slice, n_envs: int) -> np.ndarray:
        data = EpisodeData(
            rewards[rows], rewards[rows], rewards[rows], terminated[rows], truncated[rows], n_envs=n_envs
        )
        ends = data.segment_ends()
        return compute_gae(rewards[rows], values[rows], next_values[rows], terminated[rows], ends, 0.9, 0.8)[0]

    alone = np.concatenate([advantages(slice(0, 4), 1), advantages(slice(4, 8), 1)])
    np.testing.assert_array_equal(advantages(slice(0, 8), 2), alone)


def test_lists_and_arrays_of_any_type_give_the_same() -> None:
    lists = compute_gae([1, 2], [4, 8], [8, 6], [False, True], [False, True], GAMMA, LAMBDA)
    arrays = compute_gae(
        np.array([1, 2], np.float32),
        np.array([4, 8], np.float64),
        np.array([8, 6], np.int64),
        np.array([0, 1], np.uint8),
        np.array([0.0, 1.0]),
        GAMMA,
        LAMBDA,
    )
    for one, other in zip(lists, arrays, strict=True):
        np.testing.assert_array_equal(one, other)


# --- returns ---


@pytest.mark.parametrize(
    ("rewards", "ends", "bootstrap", "expected"),
    [
        ([1, 2, 4], [0, 0, 1], 0.0, [1 + 0.5 * 4, 4, 4]),
        ([1, 2, 4], [0, 1, 1], 0.0, [2, 2, 4]),  # nothing flows across an end
        ([1, 2, 4], [1, 1, 1], 0.0, [1, 2, 4]),
        ([1, 2, 4], [0, 0, 1], 8.0, [4, 6, 8]),
        ([1, 2, 4], [0, 1, 1], [99.0, 4.0, 8.0], [3, 4, 8]),  # only the ends' bootstraps count
        ([7], [1], 2.0, [8]),
        ([], [], 0.0, []),
    ],
)
def test_returns_by_hand(rewards: list[float], ends: list[int], bootstrap: Any, expected: list[float]) -> None:
    returns = discounted_returns(rewards, ends, 0.5, bootstrap)
    assert returns.tolist() == expected
    assert returns.dtype == np.float32


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, [1, 2, 3]), (1.0, [6, 5, 3])])
def test_the_discount_at_its_ends_is_the_reward_alone_or_the_plain_sum(gamma: float, expected: list[float]) -> None:
    assert discounted_returns([1, 2, 3], [0, 0, 1], gamma).tolist() == expected


# --- minibatches ---

sizes = st.integers(1, 40)


@given(sizes, sizes, st.integers(1, 4))
def test_all_minibatches_have_one_shape_and_every_epoch_visits_every_row(steps: int, size: int, epochs: int) -> None:
    batches = make_minibatches(steps, size, epochs, np.random.default_rng(0))
    width = min(size, steps)
    per_epoch = -(-steps // width)
    assert batches.shape == (epochs * per_epoch, width)
    assert np.issubdtype(batches.dtype, np.integer)
    for epoch in batches.reshape(epochs, -1):
        assert set(epoch[:steps].tolist()) == set(range(steps))  # all rows before any is repeated
        assert set(epoch.tolist()) == set(range(steps))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4))
def test_every_row_is_visited_once_per_epoch_when_the_size_divides(size: int, batches: int, epochs: int) -> None:
    rows = make_minibatches(size * batches, size, epochs, np.random.default_rng(1))
    assert np.bincount(rows.ravel()).tolist() == [epochs] * (size * batches)


def test_the_fill_of_the_last_minibatch_comes_from_the_epochs_beginning() -> None:
    rows = make_minibatches(5, 3, 1, np.random.default_rng(0)).ravel()
    assert rows[5] == rows[0]


def test_each_epoch_has_its_own_order_and_the_same_generator_repeats_them() -> None:
    first = make_minibatches(64, 16, 2, np.random.default_rng(3))
    np.testing.assert_array_equal(first, make_minibatches(64, 16, 2, np.random.default_rng(3)))
    assert not np.array_equal(first[:4], first[4:])
    assert not np.array_equal(first, make_minibatches(64, 16, 2, np.random.default_rng(4)))


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_a_size_below_one_is_refused_with_all_three(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidArgumentError, match="{}, {}, {}".format(*arguments)):
        make_minibatches(*arguments, np.random.default_rng(0))


# --- explained variance ---


@pytest.mark.parametrize(
    ("values", "targets", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),  # perfect
        ([6, 7, 8], [1, 2, 3], 1.0),  # a constant offset explains the variance all the same
        ([2, 2, 2], [1, 2, 3], 0.0),  # no better than the mean
        ([3, 2, 1], [1, 2, 3], -3.0),  # harmful: differences −2, 0, 2 have four times the variance
        ([1, 2, 3], [5, 5, 5], 0.0),  # nothing to explain
        ([1], [1], 0.0),
    ],
)
def test_explained_variance_by_hand(values: list[float], targets: list[float], expected: float) -> None:
    assert explained_variance(values, targets) == pytest.approx(expected)


def test_targets_that_are_all_alike_explain_nothing_even_where_their_mean_is_rounded() -> None:
    targets = np.full(7, 0.1)
    assert targets.var() > 0.0  # a trace of rounding, by which nothing must be divided
    assert explained_variance(np.arange(7), targets) == 0.0


def test_explained_variance_is_a_plain_float() -> None:
    assert type(explained_variance(np.float32([1, 2]), np.float32([1, 3]))) is float
