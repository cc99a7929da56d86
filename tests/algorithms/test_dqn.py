"""DQN on both frameworks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.algorithms._losses import huber_td_loss, squared_td_loss
from tensor_optix.algorithms._replay_learner import ReplayLearner
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import BadDataError, HyperparamError, InvalidArgumentError, ModelShapeError, SpaceError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tests.algorithms.off_policy import (
    ACTIONS,
    FRAMEWORKS,
    OBSERVATIONS,
    as_targets,
    difference,
    dqn,
    equal_pair,
    outputs,
    saved_state,
    target_weights,
    window,
)
from tests.fakes.built_in import torch_now_keras_in_the_soak
from tests.fakes.environments import Identity
from tests.fakes.weights import weights_of

OBSERVED = np.random.default_rng(3).normal(size=(400, OBSERVATIONS)).astype(np.float32)
both = pytest.mark.parametrize("framework", FRAMEWORKS)


# --- acting ---


@both
def test_epsilon_is_the_share_of_random_actions(framework: str) -> None:
    agent = dqn(framework, epsilon=0.5)
    greedy = agent.act_batch(OBSERVED, deterministic=True)
    np.testing.assert_array_equal(greedy, outputs(agent, OBSERVED).argmax(-1))
    assert 0.18 < (agent.act_batch(OBSERVED) != greedy).mean() < 0.32  # half of the random half is greedy, too
    assert 0.18 < np.mean([agent.act(o) != a for o, a in zip(OBSERVED, greedy, strict=True)]) < 0.32
    agent.set_hyperparams(HyperparamSet({**agent.get_hyperparams().params, "epsilon": 0.0}))
    np.testing.assert_array_equal(agent.act_batch(OBSERVED), greedy)
    assert isinstance(agent.act(OBSERVED[0]), int)


@both
@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_a_masked_action_is_never_taken(framework: str, epsilon: float) -> None:
    agent = dqn(framework, n_actions=4, epsilon=epsilon)
    masks = np.random.default_rng(0).random((400, 4)) < 0.5
    masks[~masks.any(1), 2] = True
    for deterministic in (False, True):
        actions = agent.act_masked(OBSERVED, masks, deterministic=deterministic)
        assert masks[np.arange(400), actions].all()
    allowed = np.where(masks, outputs(agent, OBSERVED), -np.inf).argmax(-1)
    np.testing.assert_array_equal(agent.act_masked(OBSERVED, masks, deterministic=True), allowed)


# --- learning ---


@both
def test_nothing_is_learned_before_there_is_enough(framework: str) -> None:
    agent = dqn(framework, learning_starts=50)
    before = weights_of(agent)
    found = agent.learn(window(40))
    assert {name: found[name] for name in ("loss", "n_updates", "buffer_size", "target_updated", "mean_q")} == {
        "loss": 0.0,
        "n_updates": 0.0,
        "buffer_size": 40.0,
        "target_updated": 0.0,
        "mean_q": 0.0,
    }
    after = weights_of(agent)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert agent.learn(window(40, seed=1))["n_updates"] == 10  # a quarter of the steps


def test_fractions_of_gradient_steps_are_carried_over() -> None:
    agent = dqn("torch", updates_per_step=0.3)
    assert [agent.learn(window(9, seed=i))["n_updates"] for i in range(9)] == [2, 3, 3, 2, 3, 3, 2, 3, 3]


def test_learning_starts_are_lowered_to_the_capacity() -> None:
    agent = dqn("torch", replay_capacity=20, learning_starts=1000)
    assert agent.learn(window(20))["n_updates"] == 5


@both
def test_epsilon_decays_once_per_window_down_to_its_minimum(framework: str) -> None:
    agent = dqn(framework, epsilon=1.0, epsilon_decay=0.5, epsilon_min=0.2)
    assert [agent.learn(window(4, seed=i))["epsilon"] for i in range(4)] == [0.5, 0.25, 0.2, 0.2]
    assert agent.get_hyperparams().params["epsilon"] == 0.2


def test_an_epsilon_below_its_minimum_stays() -> None:
    agent = dqn("torch", epsilon=0.01, epsilon_min=0.05)
    assert agent.learn(window(4))["epsilon"] == 0.01


@both
def test_the_target_is_copied_every_so_many_gradient_steps(framework: str) -> None:
    agent = dqn(framework, target_update_freq=6, updates_per_step=0.5)
    start = target_weights(agent)
    assert agent.learn(window(8))["target_updated"] == 0.0  # four steps
    assert all(np.array_equal(start[n], w) for n, w in target_weights(agent).items())
    assert agent.learn(window(4, seed=1))["target_updated"] == 1.0  # the sixth
    online = as_targets(agent)
    assert all(np.array_equal(online[n], w) for n, w in target_weights(agent).items())
    agent.learn(window(4, seed=2))
    online = as_targets(agent)
    assert not all(np.array_equal(online[n], w) for n, w in target_weights(agent).items())


@pytest.mark.parametrize(
    ("framework", "double_q", "huber_delta"),
    [
        *(("torch", double_q, huber_delta) for double_q in (0, 1) for huber_delta in (0.0, 0.5)),
        *(("tf", 0, 0.5), ("tf", 1, 0.0)),
        *(pytest.param("tf", *rest, marks=pytest.mark.slow) for rest in ((0, 0.0), (1, 0.5))),
    ],
)
def test_the_loss_is_the_formula_with_death_and_time_limit_told_apart(
    framework: str, double_q: int, huber_delta: float
) -> None:
    agent = dqn(framework, double_q=double_q, huber_delta=huber_delta, gamma=0.9, target_update_freq=10**6)
    data = window(32, seed=2, truncated=np.arange(32) % 3 == 0)
    target_values = outputs(agent, data.next_observations).copy()
    agent.learn(window(64, seed=1))  # now the online network is another one than its target
    rows = np.arange(32)
    batch = {n: np.asarray(getattr(data, n))[None] for n in ("observations", "actions", "rewards", "next_observations")}
    q = outputs(agent, data.observations)[rows, data.actions]
    chosen = outputs(agent, data.next_observations).argmax(-1) if double_q else target_values.argmax(-1)
    y = data.rewards + 0.9 * ~data.terminated * target_values[rows, chosen]
    expected = (
        huber_td_loss(NUMPY_OPS, q=q, target=y, huber_delta=huber_delta)
        if huber_delta
        else squared_td_loss(NUMPY_OPS, q=q, target=y)
    )
    found = agent._make_steps({**batch, "terminated": data.terminated[None]})
    assert found["loss"] == pytest.approx(float(expected), rel=1e-4)
    assert found["mean_q"] == pytest.approx(float(q.mean()), rel=1e-3, abs=1e-5)


@both
def test_the_next_action_keeps_to_its_mask(framework: str) -> None:
    masks = np.zeros((32, ACTIONS), bool)
    masks[:, 0] = True
    agent = dqn(framework, gamma=0.9, double_q=1)
    data = window(32, next_action_masks=masks, terminated=np.zeros(32, bool))
    values = outputs(agent, data.next_observations)[:, 0]
    q = outputs(agent, data.observations)[np.arange(32), data.actions]
    names = ("observations", "actions", "rewards", "next_observations", "terminated", "next_action_masks")
    found = agent._make_steps({name: np.asarray(getattr(data, name))[None] for name in names})
    assert found["loss"] == pytest.approx(float(np.square(q - data.rewards - 0.9 * values).mean()), rel=1e-4)
    assert agent.learn(data)["n_updates"] == 8


@pytest.mark.parametrize(
    "params",
    [pytest.param({}, marks=pytest.mark.slow), {"double_q": True, "huber_delta": 1.0, "max_grad_norm": 0.1}],
    ids=str,
)
def test_both_frameworks_make_the_same_steps(tmp_path: Path, params: dict[str, Any]) -> None:
    first, second = equal_pair(dqn, tmp_path, target_update_freq=7, updates_per_step=1.0, **params)
    for i in range(3):
        ours, theirs = first.learn(window(16, seed=i)), second.learn(window(16, seed=i))
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name
    assert difference(first, second) < 1e-5


@both
def test_it_learns_the_identity(framework: str) -> None:
    agent = dqn(framework, gamma=0.0, learning_rate=1e-2, epsilon_decay=0.8, updates_per_step=1.0, batch_size=32)
    windows = BatchPipeline(
        Identity(ACTIONS, length=20, n_observations=OBSERVATIONS), agent, window_size=64, seed=0
    ).episodes()
    for _ in range(8):
        agent.learn(next(windows))
    named = np.eye(OBSERVATIONS, dtype=np.float32)[:ACTIONS]
    np.testing.assert_array_equal(agent.act_batch(named, deterministic=True), np.arange(ACTIONS))


# --- saving ---


@both
def test_loaded_weights_are_the_targets_too(framework: str, tmp_path: Path) -> None:
    agent = dqn(framework)
    agent.learn(window(32))
    agent.save_weights(str(tmp_path / "w"))
    saved = as_targets(agent)
    agent.learn(window(32, seed=1))
    agent.load_weights(str(tmp_path / "w"))
    assert all(np.array_equal(saved[n], w) for n, w in target_weights(agent).items())


@torch_now_keras_in_the_soak
def test_a_resumed_agent_goes_on_bit_for_bit_with_or_without_its_memory(framework: str, tmp_path: Path) -> None:
    first = dqn(framework, updates_per_step=0.3, target_update_freq=3)
    first.learn(window(32))
    first.save_training_state(str(tmp_path / "s"))
    second = dqn(framework, seed=9, updates_per_step=0.3, target_update_freq=3)
    second.load_training_state(str(tmp_path / "s"))
    for i in range(1, 3):
        assert first.learn(window(11, seed=i)) == second.learn(window(11, seed=i))
    np.testing.assert_array_equal(first.act_batch(OBSERVED), second.act_batch(OBSERVED))
    forgetful = dqn(framework, save_replay=False)
    forgetful.learn(window(32))
    forgetful.save_training_state(str(tmp_path / "f"))
    second.load_training_state(str(tmp_path / "f"))
    steps = [saved_state(agent, tmp_path)[1]["extra"]["learner"]["gradient_steps"] for agent in (second, forgetful)]
    assert steps[0] == steps[1] > 0
    assert second.learn(window(4))["buffer_size"] == 4.0


# --- bad input ---


class TestBadMasks:
    def test_a_row_that_allows_nothing(self) -> None:
        agent, masks = dqn("torch"), np.zeros((2, ACTIONS), bool)
        with pytest.raises(BadDataError, match="Row 0 of the action masks allows no action"):
            agent.act_masked(OBSERVED[:2], masks)
        with pytest.raises(BadDataError, match="Row 0"):
            agent.action_probs(OBSERVED[:2], masks)
        with pytest.raises(BadDataError, match=r"must have shape \(2, 2\)"):
            agent.act_masked(OBSERVED[:2], masks[:, :1])

    def test_a_window_that_goes_on_where_nothing_is_allowed(self) -> None:
        masks, terminated = np.ones((32, ACTIONS), bool), np.zeros(32, bool)
        masks[5] = False
        terminated[5] = True
        agent = dqn("torch")
        agent.learn(window(32, next_action_masks=masks, terminated=terminated))
        with pytest.raises(BadDataError, match="allows no action"):
            agent.learn(window(32, next_action_masks=masks, terminated=np.zeros(32, bool)))

    def test_a_window_whose_action_is_forbidden(self) -> None:
        actions, masks = np.zeros(32, np.int64), np.ones((32, ACTIONS), bool)
        masks[3, 0] = False
        with pytest.raises(BadDataError, match="action of row 3 of window 0 is forbidden"):
            dqn("torch").learn(window(32, actions=actions, action_masks=masks))


@both
def test_what_is_remembered_is_normalised_with_the_statistics_of_now(framework: str, tmp_path: Path) -> None:
    agent = dqn(framework, learning_starts=64, replay_capacity=5000)
    pipeline = BatchPipeline(
        Identity(ACTIONS, length=20, n_observations=OBSERVATIONS),
        agent,
        window_size=64,
        seed=0,
        normalize_observations=True,
    )
    pipeline.setup()
    windows = pipeline.episodes()
    seen: list[np.ndarray] = []
    make_steps = agent._make_steps
    agent._make_steps = lambda batches: seen.append(batches["observations"]) or make_steps(batches)
    for _ in range(3):
        data = next(windows)
        agent.learn(data)
    raw = np.eye(OBSERVATIONS, dtype=np.float32)[:ACTIONS]
    expected = pipeline.observation_normalizer.normalize(raw)  # type: ignore[union-attr]
    rows = seen[-1].reshape(-1, OBSERVATIONS)
    assert np.abs(rows[:, None] - expected[None]).max(-1).min(1).max() < 1e-6
    remembered = saved_state(agent, tmp_path)[0]
    assert max(array.max() for name, array in remembered.items() if "observations" in name) == 1.0


class TestBadInput:
    def test_sizes_that_do_not_fit_each_other(self) -> None:
        with pytest.raises(HyperparamError, match="batch_size must be at most replay_capacity, but got batch_size=64"):
            dqn("torch", batch_size=64, replay_capacity=32)

    def test_a_memory_cannot_change_its_size(self) -> None:
        agent = dqn("torch")
        agent.learn(window(8))
        with pytest.raises(HyperparamError, match="replay_capacity cannot be changed once"):
            agent.set_hyperparams(HyperparamSet({"replay_capacity": 400, "batch_size": 8}))
        assert agent.get_hyperparams().params["replay_capacity"] == 500

    @pytest.mark.parametrize("value", [2, 0.5, "yes"])
    def test_a_flag_is_true_or_false(self, value: Any) -> None:
        with pytest.raises(HyperparamError, match="'double_q' must be True or False"):
            dqn("torch", double_q=value)

    @pytest.mark.parametrize("n_actions", [0, 2.0, None])
    def test_n_actions(self, n_actions: Any) -> None:
        from tensor_optix import TorchDQNAgent

        net = torch.nn.Linear(3, 2)
        with pytest.raises(InvalidArgumentError, match="n_actions must be an integer of at least 1"):
            TorchDQNAgent(net, n_actions, torch.optim.Adam(net.parameters()), HyperparamSet({}))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"actions": np.full(32, 2)}, r"integers in \[0, 2\)"),
            ({"rewards": np.full(32, np.nan, np.float32)}, "rewards of window 0 are not all finite"),
            ({"next_observations": np.full((32, 3), np.inf)}, "next_observations of window 0"),
        ],
    )
    def test_windows_that_cannot_be_learned_from_change_nothing(self, changes: Any, message: str) -> None:
        agent = dqn("torch")
        with pytest.raises(BadDataError, match=message):
            agent.learn(window(32, **changes))
        assert agent.learn(window(4))["buffer_size"] == 4.0

    @both
    def test_spaces(self, framework: str) -> None:
        agent, box = dqn(framework), spaces.Box(-1, 1, (OBSERVATIONS,))
        for start in (0, 1):
            agent.check_spaces(box, spaces.Discrete(ACTIONS, start=start))
        for space, message in (
            (spaces.Box(-1, 1, (2,)), "DQN serves Discrete"),
            (spaces.MultiDiscrete([2, 2]), "PPO for MultiDiscrete"),
            (spaces.Discrete(3), "made for n_actions=2"),
        ):
            with pytest.raises(SpaceError, match=message):
                agent.check_spaces(box, space)
        with pytest.raises(ModelShapeError, match="q_network cannot take"):
            agent.check_spaces(spaces.Box(-1, 1, (7,)), spaces.Discrete(ACTIONS))

    def test_a_memory_larger_than_the_machine(self) -> None:
        agent = dqn("torch", replay_capacity=10**10)
        with pytest.raises(InvalidArgumentError, match=r"takes .* GiB, but only .* GiB .* Lower replay_capacity"):
            agent.check_spaces(spaces.Box(-1, 1, (OBSERVATIONS,)), spaces.Discrete(ACTIONS))

    def test_channels_are_no_frames(self) -> None:
        learner, params = ReplayLearner(), {"replay_capacity": 1_000_000}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tensor_optix.algorithms._replay_learner.free_memory", lambda: 8 << 30)
            with pytest.raises(InvalidArgumentError, match=r"takes 19\.7 GiB"):
                learner.announce(params, spaces.Box(0, 255, (84, 84, 3), np.uint8), spaces.Discrete(2))
            ReplayLearner().announce(params, spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(2))

    def test_its_size_is_told_before_training(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO"):
            dqn("torch").check_spaces(spaces.Box(-1, 1, (OBSERVATIONS,)), spaces.Discrete(ACTIONS))
        assert "Replay memory: 500 transitions" in caplog.text
