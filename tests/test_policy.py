"""A policy in one line: what it does is what validation has scored, and what it lacks is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import (
    BatchPipeline,
    CheckpointRegistry,
    ObsNormalizer,
    Policy,
    RLOptimizer,
    TorchPPOAgent,
    VectorBatchPipeline,
    load_policy,
    make_agent,
)
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    CheckpointMismatchError,
    CheckpointPathError,
    ContractError,
    InvalidArgumentError,
)
from tests.fakes.checkpoints import save
from tests.fakes.damage import flip_a_byte_of_the_weights
from tests.fakes.environments import Mined, Structured, allowed
from tests.fakes.shortened import last_tests_shortened
from tests.helpers import NumpyAgent

pytestmark = pytest.mark.usefixtures("short_last_tests")


def trained(folder: Path, env: Any, algorithm: str = "ppo", framework: str = "torch", **pipeline: Any) -> Any:
    """A run of two windows on one environment, and its agent, which holds the best weights."""
    agent = make_agent(env, algorithm, framework, seed=0, net_arch=(8,))
    made = BatchPipeline(env, window_size=64, **pipeline)
    given: dict[str, Any] = {"val_episodes": 1, "max_windows": 2, "seed": 0, "validation_share": 0.1}
    report = RLOptimizer(agent, made, checkpoint_dir=folder, **given).run()
    return agent, made, report


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A normalised run on Pendulum, whose torques are in [-2, 2]."""
    folder = tmp_path_factory.mktemp("pendulum") / "run"
    normalizer = ObsNormalizer(3, clip=1.5)
    normalizer.update(observations("Pendulum-v1", 50) * 0.5 + 0.2)
    with last_tests_shortened():
        return folder, *trained(folder, "Pendulum-v1", normalize_observations=normalizer, normalize_rewards=True)


def observations(env_id: str, n: int = 5) -> np.ndarray:
    env = gym.make(env_id)
    env.observation_space.seed(0)
    return np.stack([env.observation_space.sample() for _ in range(n)])


class TestANormalisedRun:
    def test_it_plays_the_episodes_behind_its_score_with_the_same_returns(self, pendulum: Any) -> None:
        policy = load_policy(pendulum[0])
        assert policy.snapshot is not None
        env, evidence = gym.make("Pendulum-v1"), policy.snapshot.evidence[0]
        for seed, expected in zip(evidence.seeds, evidence.returns, strict=True):
            (observation, _), total, is_over = env.reset(seed=seed), 0.0, False
            while not is_over:
                observation, reward, terminated, truncated, _ = env.step(policy.predict(observation))
                total, is_over = total + float(reward), terminated or truncated
            assert total == pytest.approx(expected, rel=1e-3)

    def test_a_batch_is_its_rows_and_actions_are_in_the_environments_range(self, pendulum: Any) -> None:
        folder, agent, pipeline, _ = pendulum
        policy, rows = load_policy(folder), observations("Pendulum-v1")
        batch = policy.predict(rows)
        np.testing.assert_allclose(batch, np.stack([policy.predict(row) for row in rows]), rtol=1e-5)
        assert policy.action_space is not None
        assert all(policy.action_space.contains(action) for action in batch)
        seen = pipeline.observation_normalizer.normalize(rows)
        np.testing.assert_allclose(batch, 2.0 * np.clip(agent.act_batch(seen, deterministic=True), -1, 1), rtol=1e-5)

    def test_drawn_actions_repeat_with_their_seed(self, pendulum: Any) -> None:
        folder, *_ = pendulum
        row = observations("Pendulum-v1")[0]
        drawn = [load_policy(folder, seed=n).predict(row, deterministic=False) for n in (1, 1, 2)]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_a_snapshot_is_the_whole_policy_wherever_it_is(self, pendulum: Any, tmp_path: Path) -> None:
        folder, _, _, report = pendulum
        moved, rows = shutil.copytree(report.best_snapshot, tmp_path / "policy"), observations("Pendulum-v1")
        expected = load_policy(folder).predict(rows)
        np.testing.assert_array_equal(load_policy(report.best_snapshot).predict(rows), expected)
        np.testing.assert_array_equal(load_policy(moved).predict(rows), expected)

    def test_dense_networks_move_to_the_other_framework(self, pendulum: Any) -> None:
        folder, *_ = pendulum
        rows = observations("Pendulum-v1")
        ours, theirs = load_policy(folder), load_policy(folder, framework="tf")
        assert type(theirs.agent) is not type(ours.agent)
        np.testing.assert_allclose(theirs.predict(rows), ours.predict(rows), atol=1e-5)

    def test_weights_loaded_by_hand_are_refused_where_nothing_normalises(self, pendulum: Any, tmp_path: Path) -> None:
        _, agent, _, report = pendulum
        other = make_agent("Pendulum-v1", "ppo", "torch", seed=5, net_arch=(8,))
        before = other.act_batch(observations("Pendulum-v1"), deterministic=True)
        copied = shutil.copy(f"{report.best_snapshot}/weights/agent.safetensors", tmp_path / "copy.safetensors")
        agent.save_weights(str(tmp_path / "saved"))
        for path in (
            f"{report.best_snapshot}/weights/agent",
            str(copied).removesuffix(".safetensors"),
            tmp_path / "saved",
        ):
            with pytest.raises(CheckpointMismatchError, match=r"trained on normalised observations.*load_policy"):
                other.load_weights(str(path))
        with pytest.raises(CheckpointMismatchError, match="normalised observations"):
            CheckpointRegistry(Path(report.best_snapshot).parent).load_best(other)
        np.testing.assert_array_equal(other.act_batch(observations("Pendulum-v1"), deterministic=True), before)

    def test_a_pipeline_that_normalises_takes_the_statistics_with_the_weights(self, pendulum: Any) -> None:
        _, _, pipeline, report = pendulum
        other = make_agent("Pendulum-v1", "ppo", "torch", seed=5, net_arch=(8,))
        onward = VectorBatchPipeline(("Pendulum-v1", 2), other, window_size=8, normalize_observations=True)
        onward.setup()
        other.load_weights(f"{report.best_snapshot}/weights/agent")
        assert onward.observation_normalizer is not None
        assert onward.observation_normalizer.state_dict() == pipeline.observation_normalizer.state_dict()

    def test_a_pipeline_that_gives_it_raw_observations_says_so_once(
        self, pendulum: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, agent, *_ = pendulum
        raw = BatchPipeline("Pendulum-v1", agent)
        raw.setup()
        raw.setup()
        assert caplog.text.count("was trained on normalised observations") == 1


def test_a_damaged_best_gives_the_next_best_and_a_damaged_snapshot_is_an_error(tmp_path: Path) -> None:
    registry = CheckpointRegistry(tmp_path)
    worse, best = save(registry, 1.0), save(registry, 2.0)
    flip_a_byte_of_the_weights(registry.path_of(best))
    policy = load_policy(tmp_path, NumpyAgent)
    assert policy.snapshot == worse
    assert isinstance(policy.agent, NumpyAgent)
    assert policy.agent.weight == 1.0
    with pytest.raises(CheckpointCorruptError, match="damaged"):
        load_policy(registry.path_of(best), NumpyAgent)
    flip_a_byte_of_the_weights(registry.path_of(worse))
    with pytest.raises(CheckpointCorruptError, match="no intact snapshot"):
        load_policy(tmp_path, NumpyAgent)


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_one_choice_is_an_int_and_masks_are_kept_to(tmp_path: Path, algorithm: str) -> None:
    trained(tmp_path, Mined, algorithm)
    policy = load_policy(tmp_path)
    rows = np.array([[0, 1], [1, 1], [2, 3]], np.float32)
    masks = np.stack([allowed(*row) for row in rows])
    assert type(policy.predict(rows[0])) is int
    for row, mask in zip(rows, masks, strict=True):
        for deterministic in (True, False):
            assert mask[policy.predict(row, deterministic, action_mask=mask)]
    assert masks[range(3), policy.predict(rows, action_mask=masks)].all()


def test_structured_observations_are_taken_as_the_environment_gives_them(tmp_path: Path) -> None:
    trained(tmp_path, Structured)
    policy, env = load_policy(tmp_path), Structured()
    first, second = env.reset()[0], env.step(0)[0]
    batch = {"step": np.stack([first["step"], second["step"]]), "kind": np.array([first["kind"], second["kind"]])}
    assert policy.predict(batch).tolist() == [policy.predict(first), policy.predict(second)]
    for wrong in ({"step": first["step"]}, {**first, "kind": 99}, {**first, "step": [0.0] * 9}, np.zeros(5), None):
        with pytest.raises(BadDataError, match=r"must be one of Dict\(.*several of them stacked, but got"):
            policy.predict(wrong)


def test_the_networks_of_images_and_their_preset_are_built_again(tmp_path: Path) -> None:
    class Camera(gym.Env):
        observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
        action_space = spaces.Discrete(3)

    agent = make_agent(Camera(), "ppo", "torch", seed=0)
    registry = CheckpointRegistry(tmp_path)
    RLOptimizer(agent, BatchPipeline(Camera()), checkpoint_dir=tmp_path).registry.save(agent, EvalMetrics(1.0))
    registry.close()
    frames = np.random.default_rng(0).integers(0, 255, (2, 36, 36, 1)).astype(np.uint8)
    np.testing.assert_array_equal(load_policy(tmp_path).predict(frames), agent.act_batch(frames, deterministic=True))


class TestAnAgentOfOnesOwn:
    def test_is_passed_as_an_object_or_as_what_makes_it(self, tmp_path: Path) -> None:
        save(CheckpointRegistry(tmp_path), 3.0)
        for agent in (NumpyAgent(), NumpyAgent, lambda: NumpyAgent(0.5)):
            policy = load_policy(tmp_path, agent=agent)
            assert isinstance(policy.agent, NumpyAgent)
            assert policy.agent.weight == 3.0
            assert policy.predict(np.zeros(4)) in (0, 1)

    def test_without_it_the_remedy_is_named(self, tmp_path: Path) -> None:
        save(CheckpointRegistry(tmp_path / "a"), 3.0)
        with pytest.raises(InvalidArgumentError, match=r"an agent that it does not describe.*agent=\.\.\."):
            load_policy(tmp_path / "a")
        pipeline = BatchPipeline("CartPole-v1", window_size=32)
        RLOptimizer(NumpyAgent(), pipeline, val_pipeline=None, checkpoint_dir=tmp_path / "b", max_windows=3).run()
        with pytest.raises(InvalidArgumentError, match=r"a policy of NumpyAgent, put together by hand"):
            load_policy(tmp_path / "b")

    def test_what_is_none_is_refused(self, tmp_path: Path) -> None:
        save(CheckpointRegistry(tmp_path), 3.0)
        for wrong in (3, lambda: "agent"):
            with pytest.raises(ContractError, match="must be a BaseAgent, or a function that makes one"):
                load_policy(tmp_path, agent=wrong)  # type: ignore[arg-type]

    def test_a_policy_may_be_put_together_by_hand(self) -> None:
        normalizer = ObsNormalizer(1)
        normalizer.update(np.array([[10.0], [14.0]]))
        box = spaces.Box(0.0, 100.0, (1,), np.float32)
        acting = Echo()
        assert Policy(acting, box, box, normalizer=normalizer).predict([12.0]) == 0.0
        assert Policy(acting, box, box).predict([12.0]) == 12.0
        for wrong in ([1.0, 2.0], np.zeros((2, 2)), 1.0, [np.nan], "text"):
            with pytest.raises(BadDataError, match=r"must be one of Box\(.*stacked, but got"):
                Policy(acting, box, box, normalizer=normalizer).predict(wrong)
        acting.action_range = (-1.0, 1.0)  # type: ignore[attr-defined]
        assert Policy(acting, box, box, normalizer=normalizer).predict([12.0]) == 50.0


class Counter(NumpyAgent):
    """Acts the number of what it has seen in the episode."""

    seen = 0

    def begin_episode(self) -> None:
        self.seen = 0

    def act(self, observation: Any) -> int:
        self.seen += 1
        return self.seen


def test_an_agent_with_a_memory_is_told_where_an_episode_begins() -> None:
    policy = Policy(Counter())
    assert [policy.predict(0.0), policy.predict(0.0)] == [1, 2]
    policy.begin_episode()
    assert policy.predict(0.0) == 1


class Echo(NumpyAgent):
    """Acts what it sees."""

    def act(self, observation: Any) -> Any:
        return np.asarray(observation, np.float32)


@pytest.mark.parametrize("wrong", ["", "snapshot_000000/weights", "run.json", "snapshot_000077"])
def test_a_wrong_path_names_the_right_one(tmp_path: Path, wrong: str) -> None:
    save(CheckpointRegistry(tmp_path / "run"), 3.0)
    (tmp_path / "run" / "run.json").touch()
    path = tmp_path / "run" / wrong if wrong else tmp_path
    with pytest.raises(CheckpointPathError, match=f"Did you mean '{tmp_path / 'run'}'"):
        load_policy(path, NumpyAgent)


def test_a_description_that_was_changed_is_not_followed(tmp_path: Path) -> None:
    _, _, report = trained(tmp_path, "CartPole-v1")
    file = Path(report.best_snapshot) / "policy.json"
    described = json.loads(file.read_text())
    file.write_text(json.dumps({**described, "agent": {**described["agent"], "net_arch": [60_000]}}))
    with pytest.raises(CheckpointCorruptError, match=r"policy\.json"):
        load_policy(report.best_snapshot)


def test_networks_put_together_by_hand_are_told_to_be_passed(tmp_path: Path) -> None:
    import torch

    actor, critic = torch.nn.Linear(4, 2), torch.nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
    agent = TorchPPOAgent(actor, critic, optimizer, make_agent("CartPole-v1", "ppo", "torch").get_hyperparams(), seed=0)
    RLOptimizer(agent, BatchPipeline("CartPole-v1", window_size=32), checkpoint_dir=tmp_path, max_windows=1).run()
    with pytest.raises(InvalidArgumentError, match=r"TorchPPOAgent, put together by hand"):
        load_policy(tmp_path)
    rows = observations("CartPole-v1")
    np.testing.assert_array_equal(load_policy(tmp_path, agent).predict(rows), agent.act_batch(rows, deterministic=True))
