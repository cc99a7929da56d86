"""DQN and SAC that learn beside exploring: the updates are the same, one window later seen, whoever makes them."""

import dataclasses
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import BatchPipeline, EpisodeData, HyperparamSet, RLOptimizer, TorchDQNAgent
from tensor_optix.adapters.pytorch._device_memory import TorchDeviceMemory
from tensor_optix.adapters.tensorflow._device_memory import TFDeviceMemory
from tensor_optix.algorithms import _replay_learner
from tensor_optix.algorithms._off_policy_agent import learn_beside
from tensor_optix.algorithms._update_beside import Submit, at_once
from tensor_optix.core.normalizers import RAW, ObsNormalizer, RawWindow, RewardNormalizer
from tensor_optix.factory import make_agent
from tests.algorithms.off_policy import ACTIONS, FRAMEWORKS, OBSERVATIONS, dqn, sac, saved_state, window
from tests.fakes.device_memory import on_a_device, sent
from tests.fakes.updates import Late
from tests.fakes.weights import assert_equal_weights

EVERY = [(make, framework) for make in (dqn, sac) for framework in FRAMEWORKS]
SEEN = np.random.default_rng(3).normal(size=(64, OBSERVATIONS)).astype(np.float32)
every = pytest.mark.parametrize(("make", "framework"), EVERY, ids=lambda value: getattr(value, "__name__", value))


def windows(make: Any, count: int = 5) -> list[EpisodeData]:
    return [window(seed=seed, discrete=make is dqn) for seed in range(count)]


def beside(make: Any, framework: str, submit: Submit | None = at_once, **params: Any) -> Any:
    agent = make(framework, **params)
    assert agent.learn_beside(submit)
    return agent


def states_are_equal(ours: Any, theirs: Any, folder: Path) -> None:
    (arrays, values), (others, other_values) = saved_state(ours, folder), saved_state(theirs, folder)
    assert_equal_weights(arrays, others)
    assert values == other_values


def trace(agent: Any, data: list[EpisodeData]) -> list[Any]:
    """What learning from windows says, and what explores and is greedy after each."""
    found: list[Any] = []
    for one in data:
        found.append(agent.learn(one))
        found += [agent.act_batch(SEEN).tolist(), agent.act(SEEN[0])]
        found.append(agent.act_batch(SEEN, deterministic=True).tolist())
    return found


class TestTheSameBits:
    @every
    def test_whoever_makes_the_updates_and_however_late(self, make: Any, framework: str, tmp_path: Path) -> None:
        with ThreadPoolExecutor(1) as threads:
            agents = [beside(make, framework, submit) for submit in (at_once, Late, threads.submit)]
            first, *others = [repr(trace(agent, windows(make))) for agent in agents]
            assert others == [first, first]
            for agent in agents[1:]:
                states_are_equal(agents[0], agent, tmp_path)

    @every
    def test_the_updates_are_those_of_learning_at_once_and_told_a_window_later(self, make: Any, framework: str) -> None:
        ours, plain = beside(make, framework, Late), make(framework)
        told = [(ours.learn(one), plain.learn(one)) for one in windows(make)]
        of_update = told[0][0].keys() - {"epsilon", "buffer_size"}
        for (later, _), (_, now) in zip(told[1:], told, strict=False):
            assert {name: later[name] for name in of_update} == {name: now[name] for name in of_update}
        assert told[0][0]["n_updates"] == 0.0
        for name in {"epsilon", "buffer_size"} & told[0][0].keys():
            assert [ours[name] for ours, _ in told] == [now[name] for _, now in told]
        assert_equal_weights(ours.snapshot()[0][0], plain.snapshot()[0])

    @every
    def test_an_agent_that_is_looked_at_learns_as_one_that_is_not(
        self, make: Any, framework: str, tmp_path: Path
    ) -> None:
        watched, left = beside(make, framework, Late), beside(make, framework, Late)
        for number, one in enumerate(windows(make)):
            assert watched.learn(one) == left.learn(one)
            watched.save_training_state(str(tmp_path / f"state{number}"))
            watched.set_hyperparams(watched.get_hyperparams())
            watched.restore(watched.snapshot())
            assert np.array_equal(watched.act_batch(SEEN), left.act_batch(SEEN))
        states_are_equal(watched, left, tmp_path)

    @every
    def test_a_saved_state_goes_on_with_the_weights_that_explored(
        self, make: Any, framework: str, tmp_path: Path
    ) -> None:
        first, again = beside(make, framework, Late), beside(make, framework, Late, seed=9)
        data = windows(make)
        trace(first, data[:3])
        first.save_training_state(str(tmp_path / "middle"))
        again.load_training_state(str(tmp_path / "middle"))
        assert np.array_equal(again.act_batch(SEEN), first.act_batch(SEEN))
        assert repr(trace(again, data[3:])) == repr(trace(first, data[3:]))
        states_are_equal(first, again, tmp_path)

    def test_a_state_goes_from_an_agent_that_learns_at_once_to_one_that_does_not_and_back(self, tmp_path: Path) -> None:
        plain, ours = dqn("torch"), beside(dqn, "torch", Late)
        for agent, other in ((plain, ours), (ours, plain)):
            agent.learn(window())
            agent.save_training_state(str(tmp_path / type(agent._beside).__name__))
            other.load_training_state(str(tmp_path / type(agent._beside).__name__))
            assert np.array_equal(agent.act_batch(SEEN, deterministic=True), other.act_batch(SEEN, deterministic=True))

    def test_statistics_that_move_on_meanwhile_do_not_reach_the_update(self, tmp_path: Path) -> None:
        agents = [beside(dqn, "torch", submit) for submit in (at_once, Late)]
        for agent in agents:
            normalizer = ObsNormalizer(OBSERVATIONS)
            for one in windows(dqn):
                normalizer.update(one.observations)
                raw = RawWindow(one.observations, one.next_observations, one.rewards, normalizer, None)
                agent.learn(dataclasses.replace(one, metadata={RAW: raw}))
                normalizer.update(100.0 * one.observations)
        states_are_equal(agents[0], agents[1], tmp_path)


class TestWhatActs:
    @every
    def test_exploring_is_one_update_behind_and_greedy_actions_are_not(self, make: Any, framework: str) -> None:
        agent, plain = beside(make, framework, Late, learning_rate=0.1), make(framework, learning_rate=0.1)
        before = plain._policy(SEEN)
        for one in windows(make, 3):
            agent.learn(one)
            plain.learn(one)
            assert np.allclose(agent._acting(False)(SEEN), before, atol=1e-5)
            assert np.array_equal(agent._acting(True)(SEEN), before := plain._policy(SEEN))

    @every
    def test_weights_that_are_loaded_explore_at_once(self, make: Any, framework: str, tmp_path: Path) -> None:
        agent, other = beside(make, framework, Late), make(framework, seed=8)
        agent.learn(windows(make)[0])
        other.save_weights(str(tmp_path / "other"))
        agent.load_weights(str(tmp_path / "other"))
        assert np.array_equal(agent._acting(False)(SEEN), other._policy(SEEN))

    def test_variants_explore_with_their_noise(self) -> None:
        agent = beside(dqn, "torch", Late)
        agent.learn(window())
        agent.perturb_weights(0.5, np.random.default_rng(0))
        assert np.array_equal(agent._acting(False)(SEEN), agent._acting(True)(SEEN))

    def test_networks_that_numpy_cannot_stand_for_learn_at_once(self) -> None:
        class Own(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(OBSERVATIONS, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x)

        net = Own()
        agent = TorchDQNAgent(net, 2, torch.optim.Adam(net.parameters()), HyperparamSet({}), seed=0)
        assert learn_beside(agent) is False
        assert learn_beside(make_agent("CartPole-v1", "ppo", "torch", seed=0)) is False


class TestHyperparams:
    @every
    def test_new_values_hold_for_the_update_that_they_would_hold_for_at_once(self, make: Any, framework: str) -> None:
        ours, plain = beside(make, framework, Late), make(framework)
        for number, one in enumerate(windows(make)):
            for agent in (ours, plain):
                changed = {"learning_rate": 1e-3 * (number + 1), "gamma": 0.9 + 0.01 * number}
                agent.set_hyperparams(HyperparamSet({**agent.get_hyperparams().params, **changed}))
                agent.learn(one)
            assert ours.get_hyperparams() == plain.get_hyperparams()
        assert_equal_weights(ours.snapshot()[0][0], plain.snapshot()[0])

    def test_values_are_told_without_waiting(self) -> None:
        agent = beside(sac, "torch", Late)
        agent.learn(windows(sac)[0])
        assert agent.get_hyperparams().params["learning_rate"] == 3e-4
        assert agent._beside.is_running


class TestFaults:
    @every
    def test_what_an_update_raises_is_raised_by_the_next_window_and_tried_once_more(
        self, make: Any, framework: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent, data = beside(make, framework, Late), windows(make)
        agent.learn(data[0])
        before = agent.snapshot()[0][0]
        with monkeypatch.context() as patch:
            patch.setattr(agent, "_make_steps", failing)
            agent.learn(data[1])
            with pytest.raises(RuntimeError, match="the third step"):
                agent.learn(data[2])
            assert_equal_weights(agent.snapshot()[0][0], before)
            with pytest.raises(RuntimeError, match="the third step"):
                agent.learn(data[2])
        assert agent.learn(data[2])["n_updates"] == len(data[1].rewards) * agent._hyperparams.params["updates_per_step"]
        assert agent.learn(data[3])["n_updates"] > 0

    @every
    def test_a_loss_that_is_not_finite_is_told_and_undone(
        self, make: Any, framework: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        agent, again, data = beside(make, framework, Late), beside(make, framework, Late), windows(make)
        agent.learn(data[0])
        before = agent.snapshot()[0][0]
        with monkeypatch.context() as patch:
            made = agent._make_steps
            patch.setattr(agent, "_make_steps", lambda batches: {**made(batches), "loss": math.nan})
            agent.learn(data[1])
            agent.save_training_state(str(tmp_path / "state"))
        again.load_training_state(str(tmp_path / "state"))
        for one in (agent, again):
            assert all(map(math.isfinite, one.learn(data[2]).values()))
            assert one.first_non_finite() == "loss"
            assert_equal_weights(one.snapshot()[0][0], before)
            one.learn(data[3])
            assert one.first_non_finite() is None
        assert repr(trace(agent, data[4:])) == repr(trace(again, data[4:]))

    def test_a_run_recovers_as_from_learning_at_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        small = {"batch_size": 8, "learning_starts": 8, "replay_capacity": 500}
        agent: Any = make_agent("CartPole-v1", "dqn", "torch", small, seed=0, net_arch=(8,))
        assert agent.learn_beside()
        made, rates = agent._make_steps, []

        def third(batches: dict[str, np.ndarray]) -> dict[str, float]:
            rates.append(agent._hyperparams.params["learning_rate"])
            return {**made(batches), **({"loss": math.nan} if len(rates) == 3 else {})}

        monkeypatch.setattr(agent, "_make_steps", third)
        pipeline = BatchPipeline("CartPole-v1", window_size=32)
        report = RLOptimizer(
            agent, pipeline, checkpoint_dir=tmp_path, max_windows=6, seed=0, val_episodes=1, tuning=False
        ).run()
        assert report.windows == 6
        assert rates == [rates[0]] * 3 + [rates[0] / 2] * 2


def failing(batches: dict[str, np.ndarray]) -> dict[str, float]:
    raise RuntimeError("the third step")


class TestOnADevice:
    """As on a GPU, on the CPU: transitions are copied there, and minibatches gathered there."""

    @every
    @pytest.mark.parametrize("normalized", [False, True])
    def test_it_learns_the_same_bits(
        self, make: Any, framework: str, normalized: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = [normalized_like(one) if normalized else one for one in windows(make, 6)]
        plain = make(framework, replay_capacity=100)
        on_a_device(monkeypatch)
        ours = make(framework, replay_capacity=100)
        assert repr(trace(ours, data)) == repr(trace(plain, data))
        states_are_equal(ours, plain, tmp_path)

    @every
    def test_as_it_does_in_blocks_and_with_a_saved_state(
        self, make: Any, framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_replay_learner, "_SAMPLED_BYTES", 3000)
        plain, data = make(framework, updates_per_step=0.7), windows(make)
        on_a_device(monkeypatch)
        first, again = make(framework, updates_per_step=0.7), make(framework, seed=9, updates_per_step=0.7)
        trace(plain, data[:3])
        trace(first, data[:3])
        first.save_training_state(str(tmp_path / "middle"))
        again.load_training_state(str(tmp_path / "middle"))
        assert repr(trace(again, data[3:])) == repr(trace(plain, data[3:]))
        states_are_equal(again, plain, tmp_path)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_with_action_masks_and_compiled(
        self, framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        masks = np.random.default_rng(0).random((32, ACTIONS)) < 0.5
        masks[:, 0] |= ~masks.any(1)
        data = [dataclasses.replace(one, next_action_masks=masks) for one in windows(dqn)]
        plain = dqn(framework, compile=None)
        on_a_device(monkeypatch)
        ours = dqn(framework, compile=None)
        assert repr(trace(ours, data)) == repr(trace(plain, data))
        states_are_equal(ours, plain, tmp_path)

    @every
    def test_beside_exploring(self, make: Any, framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with ThreadPoolExecutor(1) as threads:
            plain = beside(make, framework)
            on_a_device(monkeypatch)
            ours = beside(make, framework, threads.submit)
            assert repr(trace(ours, windows(make))) == repr(trace(plain, windows(make)))
            states_are_equal(ours, plain, tmp_path)

    @every
    def test_however_many_steps_a_window_is_due_few_arrays_are_sent(
        self, make: Any, framework: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on_a_device(monkeypatch)
        agent, sizes = make(framework, updates_per_step=4.0), sent(monkeypatch)
        for one in windows(make):
            agent.learn(normalized_like(one))
            assert 0 < len(sizes) <= 2 * 4 + 3 + 2 + 3 * 2  # rings; indices; last observations; statistics
            sizes.clear()

    @every
    def test_without_room_there_it_learns_as_before_and_says_so_once(
        self,
        make: Any,
        framework: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        plain = make(framework)
        on_a_device(monkeypatch)
        for memory in (TorchDeviceMemory, TFDeviceMemory):
            monkeypatch.setattr(memory, "reserve", lambda *_: False)
        ours = make(framework)
        assert repr(trace(ours, windows(make))) == repr(trace(plain, windows(make)))
        states_are_equal(ours, plain, tmp_path)
        assert len([r for r in caplog.records if "no room for the replay memory" in r.message]) == 1


def normalized_like(one: EpisodeData) -> EpisodeData:
    """A window with what it was before it was normalised."""
    observations, rewards = ObsNormalizer(OBSERVATIONS, clip=1.0), RewardNormalizer(clip=1.0)
    observations.update(3.0 * one.observations + 1.0)
    rewards.update(one.rewards[None], one.dones[None])
    raw = RawWindow(one.observations, one.next_observations, one.rewards, observations, rewards)
    return dataclasses.replace(one, metadata={RAW: raw})
