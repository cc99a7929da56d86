"""PPO on PyTorch: what an update promises, closed forms, and learning in seconds."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from tensor_optix.adapters.pytorch._predictor import LogStd
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import (
    BadDataError,
    CheckpointMismatchError,
    ContractError,
    HyperparamError,
    InvalidArgumentError,
    ModelShapeError,
    SpaceError,
)
from tensor_optix.pipeline.batch_pipeline import BatchPipeline

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


class Parts:
    """An agent with the models and the optimizer it was made of."""

    def __init__(
        self, size: int = 3, n: int = 2, *, gaussian: bool = False, hidden: int = 8, seed: int = 0, **params: Any
    ) -> None:
        torch.manual_seed(seed)
        self.actor = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, n))
        if gaussian:
            self.actor.append(LogStd(n))
        self.critic = nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.optimizer = torch.optim.Adam([*self.actor.parameters(), *self.critic.parameters()])
        name = "gaussian" if gaussian else "categorical"
        self.agent = TorchPPOAgent(
            self.actor, self.critic, self.optimizer, HyperparamSet(params), distribution=name, seed=seed
        )

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in (*self.actor.parameters(), *self.critic.parameters())]


def assert_same_weights(first: Parts, second: Parts) -> None:
    for one, other in zip(first.weights(), second.weights(), strict=True):
        assert torch.equal(one, other)


def window(length: int = 32, **fields: Any) -> EpisodeData:
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((length, 3)).astype(np.float32)
    values: dict[str, Any] = {
        "observations": observations,
        "actions": rng.integers(0, 2, length),
        "rewards": rng.standard_normal(length).astype(np.float32),
        "terminated": rng.random(length) < 0.1,
        "truncated": rng.random(length) < 0.1,
        "next_observations": np.concatenate([observations[1:], np.ones((1, 3), np.float32)]),
    }
    return EpisodeData(**(values | fields))


def continuous_window() -> EpisodeData:
    return window(actions=np.random.default_rng(1).standard_normal((32, 2)).astype(np.float32))


ONE_STEP = {"n_epochs": 1, "minibatch_size": 10_000}
"""A single update on the whole window, so that its diagnostics are those of the unchanged policy."""


# --- acting leaves no trace ---


def test_looking_at_the_policy_a_thousand_times_before_learning_changes_no_bit_of_the_update() -> None:
    plain, curious = Parts(), Parts()
    data = window()
    for _ in range(1000):
        curious.agent.act_batch(data.observations[:3], deterministic=True)
    for parts in (plain, curious):
        parts.agent.learn(data)
    assert_same_weights(plain, curious)


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
def test_acting_a_thousand_times_before_learning_leaves_the_update_as_it_was(gaussian: bool) -> None:
    plain, curious = (Parts(gaussian=gaussian, n_epochs=5, minibatch_size=8) for _ in range(2))
    data = continuous_window() if gaussian else window()
    for i in range(1000):
        curious.agent.act(data.observations[i % 32])
    for parts in (plain, curious):
        parts.agent.learn(data)
    assert_same_weights(plain, curious)


def test_acting_leaves_weights_moments_and_gradients_alone() -> None:
    parts = Parts()
    parts.agent.learn(window())
    before, moments = parts.weights(), [e["exp_avg"].clone() for e in parts.optimizer.state.values()]
    for observation in window().observations:
        parts.agent.act(observation)
    parts.agent.act_batch(window().observations)
    for one, other in zip(before, parts.weights(), strict=True):
        assert torch.equal(one, other)
    for one, entry in zip(moments, parts.optimizer.state.values(), strict=True):
        assert torch.equal(one, entry["exp_avg"])


def test_actions_are_ints_for_one_observation_and_integer_arrays_for_many() -> None:
    agent = Parts(n=4).agent
    assert type(agent.act(np.zeros(3, np.float32))) is int
    for deterministic in (False, True):
        batch = agent.act_batch(np.zeros((5, 3), np.float32), deterministic=deterministic)
        assert batch.shape == (5,)
        assert np.issubdtype(batch.dtype, np.integer)


def test_gaussian_actions_are_float32_vectors_and_greedily_the_mean() -> None:
    parts = Parts(gaussian=True)
    observations = window().observations[:5]
    assert parts.agent.act(observations[0]).shape == (2,)
    assert parts.agent.act(observations[0]).dtype == np.float32
    greedy = parts.agent.act_batch(observations, deterministic=True)
    with torch.no_grad():
        mean = parts.actor(torch.from_numpy(observations))[:, :2].numpy()
    np.testing.assert_allclose(greedy, mean, rtol=1e-5, atol=1e-6)


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


# --- hyper-parameters ---


def test_the_learning_rate_is_read_back_exactly_and_is_the_optimizers_own() -> None:
    parts = Parts()
    assert parts.optimizer.param_groups[0]["lr"] == 3e-4
    for rate in (0.1 + 0.2, 1e-7 / 3):
        params = parts.agent.get_hyperparams().params | {"learning_rate": rate}
        parts.agent.set_hyperparams(HyperparamSet(params))
        assert parts.agent.get_hyperparams().params["learning_rate"] == rate
        assert parts.optimizer.param_groups[0]["lr"] == rate


def test_the_learning_rate_is_put_in_force_in_every_group() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 1)
    optimizer = torch.optim.Adam([{"params": actor.parameters(), "lr": 1.0}, {"params": critic.parameters()}])
    TorchPPOAgent(actor, critic, optimizer, HyperparamSet({"learning_rate": 0.02}))
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.02]


def test_what_is_not_given_takes_its_default_and_foreign_keys_are_kept() -> None:
    params = Parts(clip_ratio=0.3, epsilon=0.5, note="mine").agent.get_hyperparams().params
    defaults = {name: row.default for name, row in PPO_HYPERPARAMS.items()}
    assert params == defaults | {"clip_ratio": 0.3, "epsilon": 0.5, "note": "mine"}


def test_the_hyperparams_read_are_a_copy() -> None:
    agent = Parts().agent
    agent.get_hyperparams().params["gamma"] = 0.0
    assert agent.get_hyperparams().params["gamma"] == 0.99


def test_keys_of_other_libraries_are_not_taken_for_misspelt_ones() -> None:
    foreign = {"batch_size": 64, "n_steps": 2048, "learning_starts": 100, "learning_rate_schedule": "linear"}
    params = Parts(**foreign).agent.get_hyperparams().params
    assert {name: params[name] for name in foreign} == foreign


@pytest.mark.parametrize(
    "misspelt", ["clip_ratoi", "leaning_rate", "learning_rat", "gama", "n_epoch", "mini_batch_size"]
)
def test_a_misspelt_hyperparam_is_refused_with_the_right_name(misspelt: str) -> None:
    with pytest.raises(HyperparamError, match=rf"{misspelt}.*Did you mean '\w+'\?"):
        Parts(**{misspelt: 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", 2.0),
        ("clip_ratio", 0.0),
        ("gamma", 1.1),
        ("gae_lambda", -0.1),
        ("n_epochs", 0),
        ("n_epochs", 2.5),
        ("minibatch_size", 0),
        ("max_grad_norm", 0.0),
        ("entropy_coef", "much"),
        ("vf_coef", None),
        ("vf_coef", True),
    ]
    + [(name, bad) for name in PPO_HYPERPARAMS for bad in (math.nan, math.inf)],
)
def test_a_value_out_of_its_range_is_refused_by_name_and_value_and_nothing_changes(name: str, value: Any) -> None:
    with pytest.raises(HyperparamError, match=f"'{name}' must be"):
        Parts(**{name: value})
    parts = Parts(learning_rate=0.01)
    before = parts.agent.get_hyperparams().params
    with pytest.raises(HyperparamError, match=f"but got {value!r}"):
        parts.agent.set_hyperparams(HyperparamSet(before | {"learning_rate": 0.5, name: value}))
    assert parts.agent.get_hyperparams().params == before
    assert parts.optimizer.param_groups[0]["lr"] == 0.01


def test_only_what_keeps_the_meaning_of_the_value_function_is_tuned_by_default() -> None:
    bounds = Parts().agent.default_param_bounds
    assert set(bounds) == {"learning_rate", "clip_ratio", "entropy_coef"}
    assert bounds["learning_rate"].scale == "log"


# --- wrong parts ---


def test_an_optimizer_that_does_not_train_both_models_is_refused_by_the_tensor_it_misses() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 1)
    with pytest.raises(ContractError, match=r"critic\.weight"):
        TorchPPOAgent(actor, critic, torch.optim.Adam(actor.parameters()), HyperparamSet({}))


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("optimizer", 3e-4, r"optimizer must be a torch\.optim\.Optimizer, but got float"),
        ("actor", "mlp", r"actor must be a torch\.nn\.Module, but got str"),
        ("critic", None, r"critic must be a torch\.nn\.Module, but got NoneType"),
    ],
)
def test_a_part_of_another_kind_is_refused_by_name_and_type(part: str, wrong: Any, message: str) -> None:
    parts = Parts()
    given: dict[str, Any] = {"actor": parts.actor, "critic": parts.critic, "optimizer": parts.optimizer, part: wrong}
    with pytest.raises(ContractError, match=message):
        TorchPPOAgent(**given, hyperparams=HyperparamSet({}))


def test_an_unknown_distribution_is_refused() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    with pytest.raises(InvalidArgumentError, match="'beta'"):
        TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}), distribution="beta")


BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)


def test_spaces_that_fit_are_taken() -> None:
    Parts(3, 4).agent.check_spaces(BOX, spaces.Discrete(4))
    Parts(3, 2, gaussian=True).agent.check_spaces(BOX, spaces.Box(-2.0, 2.0, (2,)))


@pytest.mark.parametrize(
    ("gaussian", "observations", "actions", "error", "message"),
    [
        (False, BOX, spaces.Discrete(5), ModelShapeError, r"actor returns shape \(2, 2\).*\(2, 5\) is needed"),
        (True, BOX, spaces.Box(-1, 1, (3,)), ModelShapeError, r"actor returns shape \(2, 4\).*\(2, 6\) is needed"),
        (False, spaces.Box(-1, 1, (7,)), spaces.Discrete(2), ModelShapeError, r"actor cannot take.*\(2, 7\)"),
        (False, BOX, spaces.Box(-1, 1, (2,)), SpaceError, r"'categorical'.*Box.*distribution='gaussian'"),
        (True, BOX, spaces.Discrete(2), SpaceError, r"'gaussian'.*Discrete\(2\).*distribution='categorical'"),
        (False, BOX, spaces.Discrete(2, start=1), SpaceError, r"Discrete\(2, start=1\).*PPO serves Discrete and"),
        (False, BOX, spaces.MultiBinary(2), SpaceError, r"MultiBinary\(2\).*=MultiCategorical\(\[2, 2\]\)"),
        (False, spaces.Dict(a=BOX), spaces.Discrete(2), SpaceError, r"Dict"),
    ],
)
def test_spaces_that_do_not_fit_are_refused_by_both_shapes(
    gaussian: bool, observations: Any, actions: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        Parts(gaussian=gaussian).agent.check_spaces(observations, actions)


def test_a_critic_of_another_shape_is_refused_by_both_shapes() -> None:
    actor, critic = nn.Linear(3, 2), nn.Linear(3, 4)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    agent = TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}))
    with pytest.raises(ModelShapeError, match=r"critic returns shape \(2, 4\).*\(2, 1\) is needed"):
        agent.check_spaces(BOX, spaces.Discrete(2))


# --- seeds and files ---


def trained(seed: int, windows: int = 3) -> Parts:
    parts = Parts(4, 2, seed=seed, n_epochs=3)
    stream = BatchPipeline("CartPole-v1", parts.agent, 64, seed=seed).episodes()
    for _ in range(windows):
        parts.agent.learn(next(stream))
    return parts


def test_the_same_seed_gives_the_same_weights_bit_for_bit() -> None:
    assert_same_weights(trained(0), trained(0))
    assert not torch.equal(trained(0).weights()[0], trained(1).weights()[0])


def test_weights_survive_a_file_without_touching_anything_else(tmp_path: Path) -> None:
    path = str(tmp_path / "weights")
    source, target = trained(0), Parts(4, 2, seed=9, learning_rate=0.5)
    source.agent.save_weights(path)
    target.agent.load_weights(path)
    assert_same_weights(source, target)
    assert target.agent.get_hyperparams().params["learning_rate"] == 0.5
    assert target.optimizer.state == {}
    observations = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        source.agent.act_batch(observations, deterministic=True),
        target.agent.act_batch(observations, deterministic=True),
    )


def test_weights_of_another_architecture_are_refused_and_change_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "weights")
    Parts(3, 2, hidden=8).agent.save_weights(path)
    target = Parts(3, 2, hidden=9)
    before = target.weights()
    with pytest.raises(CheckpointMismatchError, match=r"actor\.0\.weight.*\(8, 3\).*\(9, 3\)"):
        target.agent.load_weights(path)
    for one, other in zip(before, target.weights(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("gaussian", [False, True], ids=["categorical", "gaussian"])
def test_a_resumed_agent_goes_on_bit_for_bit_as_if_it_had_never_stopped(tmp_path: Path, gaussian: bool) -> None:
    path = str(tmp_path / "state")
    data = continuous_window() if gaussian else window()
    first, second = (Parts(gaussian=gaussian, seed=seed, n_epochs=2, minibatch_size=8) for seed in (0, 1))
    first.agent.learn(data)
    first.agent.set_hyperparams(HyperparamSet({"learning_rate": 0.02, "n_epochs": 3, "minibatch_size": 5}))
    first.agent.act_batch(data.observations)
    first.agent.save_training_state(path)
    second.agent.load_training_state(path)
    for parts in (first, second):
        parts.agent.learn(data)
    assert_same_weights(first, second)
    assert first.agent.get_hyperparams().params == second.agent.get_hyperparams().params
    np.testing.assert_array_equal(first.agent.act_batch(data.observations), second.agent.act_batch(data.observations))


def test_a_training_state_holds_the_optimizers_moments_and_its_count_of_steps(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    first, second = (Parts(seed=seed, n_epochs=2, minibatch_size=8) for seed in (0, 1))
    first.agent.learn(window())
    first.agent.save_training_state(path)
    second.agent.load_training_state(path)
    assert_same_weights(first, second)
    for one, other in zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
        assert (other["step"].shape, float(other["step"])) == ((), 8.0)


def test_weights_alone_are_no_training_state_and_change_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "weights")
    Parts(seed=0).agent.save_weights(path)
    target = Parts(seed=1)
    with pytest.raises(CheckpointMismatchError, match=r"holds weights only, no training state\. Use load_weights"):
        target.agent.load_training_state(path)
    assert_same_weights(target, Parts(seed=1))


# --- closed forms and learning ---


class Tiny(gym.Env):
    """One-hot of the step number as observation; episodes of a given length that end or are cut."""

    def __init__(self, length: int, ends: str, reward: Callable[[Any], float], action_space: spaces.Space) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)
        self.action_space = action_space
        self.length, self.ends, self.reward = length, ends, reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.now = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now += 1
        over = self.now == self.length
        return (
            self._observe(),
            self.reward(action),
            over and self.ends == "terminated",
            over and self.ends != "terminated",
            {},
        )

    def _observe(self) -> np.ndarray:
        return np.eye(self.length, dtype=np.float32)[self.now % self.length]


def values_learned(ends: str) -> np.ndarray:
    env = Tiny(4, ends, lambda _: 2.0, spaces.Discrete(2))
    torch.manual_seed(0)
    actor, critic = nn.Linear(4, 2), nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    params = {"learning_rate": 0.05, "gamma": 0.8, "n_epochs": 4, "minibatch_size": 20, "max_grad_norm": 100.0}
    agent = TorchPPOAgent(actor, critic, optimizer, HyperparamSet(params), seed=0)
    stream = BatchPipeline(env, agent, window_size=38, seed=0).episodes()
    for _ in range(80):
        agent.learn(next(stream))
    with torch.no_grad():
        return critic(torch.eye(4))[:, 0].numpy()


def test_the_value_of_a_reward_that_is_only_ever_cut_by_time_limits_is_that_of_an_endless_stream() -> None:
    # r/(1 − γ) = 2/0.2; the observation after a cut is that of the first step again.
    np.testing.assert_allclose(values_learned("truncated"), np.full(4, 10.0), rtol=0.05)


def test_the_value_of_a_reward_that_ends_is_its_discounted_sum() -> None:
    expected = [2 * sum(0.8**k for k in range(4 - now)) for now in range(4)]
    np.testing.assert_allclose(values_learned("terminated"), expected, rtol=0.05)


class Identity(gym.Env):
    """Reward 1 for naming the observation; ten steps per episode."""

    observation_space = spaces.Box(0.0, 1.0, (4,), np.float32)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(action == self.state)
        self.steps += 1
        return self._draw(), reward, False, self.steps == 10, {}

    def _draw(self) -> np.ndarray:
        self.state = int(self.np_random.integers(4))
        return np.eye(4, dtype=np.float32)[self.state]


def test_it_learns_to_name_what_it_sees() -> None:
    parts = Parts(4, 4, learning_rate=0.01, minibatch_size=32)
    stream = BatchPipeline(Identity(), parts.agent, window_size=128, seed=0).episodes()
    first = parts.agent.learn(next(stream))
    for _ in range(15):
        last = parts.agent.learn(next(stream))
    np.testing.assert_array_equal(parts.agent.act_batch(np.eye(4, dtype=np.float32), deterministic=True), range(4))
    assert np.mean([next(stream).total_reward / 128 for _ in range(3)]) > 0.9
    assert last["entropy"] < first["entropy"]


def test_it_learns_an_action_that_is_a_number() -> None:
    env = Tiny(1, "terminated", lambda action: -float((action[0] - 0.5) ** 2), spaces.Box(-1.0, 1.0, (1,), np.float32))
    parts = Parts(1, 1, gaussian=True, learning_rate=0.01, entropy_coef=0.0)
    stream = BatchPipeline(env, parts.agent, window_size=128, seed=0).episodes()
    before = -next(stream).total_reward / 128
    for _ in range(40):
        parts.agent.learn(next(stream))
    greedy = parts.agent.act_batch(np.ones((1, 1), np.float32), deterministic=True)
    assert greedy[0, 0] == pytest.approx(0.5, abs=0.1)
    assert -next(stream).total_reward / 128 < before / 4
