"""One update of PPO on PyTorch, by the formula."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch._predictor import LogStd
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import (
    BadDataError,
)
from tests.fakes.ppo import ONE_STEP, Parts, assert_same_weights, continuous_window, window

torch.set_num_threads(1)


DIAGNOSTICS = {
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "explained_var",
    "n_updates",
}

# --- the update ---


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
def test_the_first_ratio_is_one(gaussian: bool) -> None:
    diagnostics = Parts(gaussian=gaussian, **ONE_STEP).agent.learn(continuous_window() if gaussian else window())
    # All ratios within 1e-5 of one: E[(r − 1) − log r] is about half their squared distance.
    assert abs(diagnostics["approx_kl"]) < 1e-7
    assert diagnostics["clip_fraction"] == 0.0
    assert diagnostics["policy_loss"] == pytest.approx(0.0, abs=1e-5)


def log_probs(parts: Parts, data: EpisodeData) -> np.ndarray:
    with torch.no_grad():
        return torch.log_softmax(parts.actor(torch.from_numpy(data.observations)), -1).numpy()[
            np.arange(len(data.actions)), data.actions
        ]


@pytest.mark.parametrize("convert", [np.asarray, list], ids=["array", "list"])
def test_recorded_log_probabilities_are_used(convert: Callable) -> None:
    parts = Parts(clip_ratio=0.2, **ONE_STEP)
    data = window()
    recorded = convert(log_probs(parts, data) - math.log(2.0))
    diagnostics = parts.agent.learn(window(log_probs=recorded))
    # Every ratio is two.
    assert diagnostics["clip_fraction"] == 1.0
    assert diagnostics["approx_kl"] == pytest.approx(1.0 - math.log(2.0), rel=1e-4)


def test_recording_the_learners_own_log_probabilities_changes_nothing() -> None:
    plain, recorded = Parts(), Parts()
    plain.agent.learn(window())
    recorded.agent.learn(window(log_probs=log_probs(recorded, window())))
    for one, other in zip(plain.weights(), recorded.weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_recorded_values_are_used() -> None:
    rewards = window().rewards
    parts = Parts(gamma=0.0, **ONE_STEP)
    diagnostics = parts.agent.learn(window(values=rewards.copy(), log_probs=np.full(32, -5.0, np.float32)))
    # With gamma = 0 the target is the reward: a perfect record has no advantage left, whatever the ratios.
    assert diagnostics["explained_var"] == pytest.approx(1.0)
    assert diagnostics["policy_loss"] == pytest.approx(0.0, abs=1e-6)


def test_recorded_values_that_are_whole_numbers_teach_the_same_whatever_their_type() -> None:
    # A window that is cut in the middle of an episode: what follows it is worth a fraction.
    nothing = np.zeros(32, bool)
    values = np.random.default_rng(0).integers(-2, 3, 32)
    whole, floats = Parts(), Parts()
    whole.agent.learn(window(values=values, terminated=nothing, truncated=nothing))
    floats.agent.learn(window(values=values.astype(np.float32), terminated=nothing, truncated=nothing))
    assert_same_weights(whole, floats)


def test_one_update_is_the_textbook_step_by_hand() -> None:
    ours, theirs = Parts(**ONE_STEP), Parts()
    data = window(
        rewards=np.ones(32, np.float32),
        terminated=np.ones(32, bool),
        actions=np.random.default_rng(5).integers(0, 2, 32),
    )
    ours.agent.learn(data)
    # Every row ends its task: A = 1 − V(s), R = 1, whatever gamma and lambda.
    observations, actions = torch.from_numpy(data.observations), torch.from_numpy(data.actions)
    policy = torch.distributions.Categorical(logits=theirs.actor(observations))
    values = theirs.critic(observations)[:, 0]
    advantages = 1.0 - values.detach()
    normalised = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    ratio = (policy.log_prob(actions) - policy.log_prob(actions).detach()).exp()
    loss = -(ratio * normalised).mean() + 0.5 * (values - 1.0).square().mean() - 0.01 * policy.entropy().mean()
    for group in theirs.optimizer.param_groups:
        group["lr"] = 3e-4
    theirs.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([*theirs.actor.parameters(), *theirs.critic.parameters()], 0.5)
    theirs.optimizer.step()
    for one, other in zip(ours.weights(), theirs.weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_termination_has_no_future_and_a_time_limit_has() -> None:
    nothing = {"terminated": np.zeros(1, bool), "truncated": np.zeros(1, bool)}
    fields = {"rewards": np.array([2.0]), "next_observations": np.full((1, 3), 0.7, np.float32)}

    def value_target(**flags: Any) -> float:
        parts = Parts(gamma=0.5, **ONE_STEP)
        data = window(1, **(fields | nothing | flags))
        with torch.no_grad():
            value = float(parts.critic(torch.from_numpy(data.observations))[0, 0])
            following = float(parts.critic(torch.from_numpy(data.next_observations))[0, 0])
        self_reported = parts.agent.learn(data)["value_loss"]
        for target in (2.0, 2.0 + 0.5 * following):
            if self_reported == pytest.approx((value - target) ** 2, rel=1e-4):
                return target
        raise AssertionError(f"value_loss {self_reported} is of neither target")

    assert value_target(terminated=np.ones(1, bool)) == 2.0
    assert value_target(truncated=np.ones(1, bool)) != 2.0
    assert value_target() != 2.0


def test_a_window_of_one_step_is_learned_from() -> None:
    parts = Parts()
    before = parts.weights()
    diagnostics = parts.agent.learn(window(1))
    assert all(math.isfinite(value) for value in diagnostics.values())
    assert diagnostics["n_updates"] == 10
    assert not torch.equal(before[-1], parts.weights()[-1])
    assert all(torch.isfinite(weight).all() for weight in parts.weights())


@pytest.mark.parametrize(("length", "size", "epochs", "updates"), [(32, 8, 3, 12), (33, 8, 2, 10), (5, 64, 4, 4)])
def test_each_epoch_visits_the_window_once(length: int, size: int, epochs: int, updates: int) -> None:
    diagnostics = Parts(minibatch_size=size, n_epochs=epochs).agent.learn(window(length))
    assert diagnostics["n_updates"] == updates


def assert_refused(parts: Parts, data: EpisodeData, message: str) -> None:
    parts.agent.learn(continuous_window() if parts.actor[-1].__class__ is LogStd else window())
    before = parts.weights(), [entry["exp_avg"].clone() for entry in parts.optimizer.state.values()]
    with pytest.raises(BadDataError, match=message):
        parts.agent.learn(data)
    after = parts.weights(), [entry["exp_avg"] for entry in parts.optimizer.state.values()]
    for one, other in zip(before, after, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("name", "poison"),
    [
        ("rewards", math.nan),
        ("rewards", math.inf),
        ("observations", math.nan),
        ("next_observations", math.nan),
        ("values", math.nan),
        ("log_probs", math.nan),
    ],
)
def test_a_window_that_is_not_finite_is_refused_and_the_weights_are_as_they_were(name: str, poison: float) -> None:
    recorded = {"values": np.zeros(32, np.float32), "log_probs": np.zeros(32, np.float32)}
    array = np.array(getattr(window(**recorded), name))
    array[-1] = poison
    assert_refused(Parts(), window(episode_id=7, **{name: array}), r"The \w+ of window 7 are not all finite")


@pytest.mark.parametrize(
    ("gaussian", "shape", "of_the_policy"),
    [
        (False, (32, 1), (32,)),
        (False, (31,), (32,)),
        (True, (32,), (32, 2)),
        (True, (32, 1), (32, 2)),  # which would broadcast
        (True, (32, 3), (32, 2)),
    ],
)
def test_actions_of_another_shape_are_refused_by_both_shapes(
    gaussian: bool, shape: tuple[int, ...], of_the_policy: tuple[int, ...]
) -> None:
    actions = np.zeros(shape, np.float32 if gaussian else np.int64)
    message = rf"actions must have shape {of_the_policy}, but have {shape}"
    assert_refused(Parts(gaussian=gaussian), window(actions=actions), message.replace("(", r"\(").replace(")", r"\)"))


def test_the_diagnostics_are_the_promised_floats() -> None:
    diagnostics = Parts().agent.learn(window())
    assert diagnostics.keys() >= DIAGNOSTICS
    assert all(type(value) is float for value in diagnostics.values())
    assert 0.0 <= diagnostics["clip_fraction"] <= 1.0
    assert 0.0 < diagnostics["entropy"] <= math.log(2)
    assert diagnostics["value_loss"] >= 0.0


def test_windows_of_lists_teach_the_same_as_windows_of_arrays() -> None:
    arrays, lists = Parts(), Parts()
    data = window()
    names = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")
    arrays.agent.learn(data)
    lists.agent.learn(EpisodeData(**{name: getattr(data, name).tolist() for name in names}))
    for one, other in zip(arrays.weights(), lists.weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
