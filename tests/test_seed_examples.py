"""The user's own examples, as printed, cut short by `max_episodes`."""

import itertools
import math
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("short_last_tests", "plain_graphs")


@pytest.fixture(autouse=True)
def in_a_separate_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def torch_ppo():
    import torch
    import torch.nn as nn

    from tensor_optix import HyperparamSet
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent

    obs_dim, n_actions = 4, 2

    torch.manual_seed(0)  # now and then, an untrained policy balances for 500 steps, and takes all of validation
    actor = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh(), nn.Linear(64, n_actions))
    critic = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh(), nn.Linear(64, 1))

    return TorchPPOAgent(
        actor=actor,
        critic=critic,
        optimizer=torch.optim.Adam(list(actor.parameters()) + list(critic.parameters()), lr=3e-4),
        hyperparams=HyperparamSet(
            params={
                "learning_rate": 3e-4,
                "clip_ratio": 0.2,
                "entropy_coef": 0.01,
                "gamma": 0.99,
                "gae_lambda": 0.95,
                "n_epochs": 10,
                "minibatch_size": 64,
            },
            episode_id=0,
        ),
    )


def test_quick_start_for_pytorch() -> None:
    import gymnasium as gym

    from tensor_optix import BatchPipeline, RLOptimizer

    agent = torch_ppo()
    pipeline = BatchPipeline(env=gym.make("CartPole-v1"), agent=agent, window_size=512)  # 2,048 in the original
    opt = RLOptimizer(agent=agent, pipeline=pipeline, max_episodes=2)
    report = opt.run()
    assert Path("checkpoints/manifest.json").exists()
    assert report.best_score > 9


def test_custom_evaluator_and_callbacks(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    from tensor_optix import BaseEvaluator, BatchPipeline, EpisodeData, EvalMetrics, LoopCallback, RLOptimizer

    class SharpeEvaluator(BaseEvaluator):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict) -> EvalMetrics:
            rewards = np.array(episode_data.rewards)
            sharpe = rewards.mean() / (rewards.std() + 1e-8)
            return EvalMetrics(
                primary_score=float(sharpe),
                metrics={"sharpe": float(sharpe), "mean_reward": float(rewards.mean())},
                episode_id=episode_data.episode_id,
            )

    class MyLogger(LoopCallback):
        def on_improvement(self, snapshot):
            print(f"New best: {snapshot.eval_metrics.primary_score:.4f}")

        def on_dormant(self, window_id):
            print(f"Converged at window {window_id}")

    agent = torch_ppo()
    pipeline = BatchPipeline("CartPole-v1", agent, window_size=256)
    opt = RLOptimizer(
        agent=agent, pipeline=pipeline, evaluator=SharpeEvaluator(), callbacks=[MyLogger()], max_episodes=2
    )
    report = opt.run()
    assert "New best: " in capsys.readouterr().out
    assert report.best_score > 0


def test_full_configuration() -> None:
    from tensor_optix import BatchPipeline, RLOptimizer

    agent = torch_ppo()
    pipeline = BatchPipeline("CartPole-v1", agent, window_size=256)
    val_pipeline = BatchPipeline("CartPole-v1", agent, n_episodes=2, deterministic=True)
    opt = RLOptimizer(
        agent=agent,
        pipeline=pipeline,
        val_pipeline=val_pipeline,
        evaluator=None,
        optimizer=None,
        checkpoint_dir="./checkpoints",
        max_snapshots=10,
        rollback_on_degradation=False,
        improvement_margin=0.0,
        max_episodes=2,
        base_interval=1,
        backoff_factor=2.0,
        max_interval_episodes=100,
        plateau_threshold=5,
        dormant_threshold=20,
        degradation_threshold=0.95,
        callbacks=[],
    )
    report = opt.run()
    assert report.val_score > 0
    assert report.generalization_gap == report.generalization_gap


def test_signatures_and_defaults() -> None:
    import inspect

    from tensor_optix import RLOptimizer

    parameters = inspect.signature(RLOptimizer).parameters
    defaults = {
        "evaluator": None,
        "optimizer": None,
        "checkpoint_dir": "./checkpoints",
        "max_snapshots": 10,
        "rollback_on_degradation": False,
        "improvement_margin": 0.0,
        "max_episodes": None,
        "base_interval": 1,
        "backoff_factor": 2.0,
        "max_interval_episodes": 100,
        "plateau_threshold": 5,
        "dormant_threshold": 20,
        "degradation_threshold": 0.95,
        "val_pipeline": "auto",
        "val_episodes": 5,
        "on_converged": "auto",
        "restore_best": True,
        "seed": None,
        "progress": None,
    }
    for name, default in defaults.items():
        assert parameters[name].default == default, name
    assert parameters["callbacks"].default == ()
    printed = ["agent", "pipeline", "val_pipeline", *itertools.islice(defaults, 13), "callbacks"]
    assert list(parameters)[: len(printed)] == printed


def test_the_registry_beside_the_loop_on_the_default_directory() -> None:
    from tensor_optix import BatchPipeline, RLOptimizer
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry

    registry = CheckpointRegistry("./checkpoints")
    agent = torch_ppo()
    opt = RLOptimizer(agent=agent, pipeline=BatchPipeline("CartPole-v1", agent, window_size=128), max_episodes=2)
    report = opt.run()
    assert registry.best is not None
    assert registry.best.eval_metrics.primary_score == report.best_score


def tf_ppo(agent_class: type | None = None, n_actions: int = 2):
    import tensorflow as tf

    from tensor_optix import HyperparamSet, TFPPOAgent

    actor = tf.keras.Sequential([
        tf.keras.layers.Input(shape=(4,)),
        tf.keras.layers.Dense(64, activation="tanh"),
        tf.keras.layers.Dense(64, activation="tanh"),
        tf.keras.layers.Dense(n_actions),
    ])  # fmt: skip
    critic = tf.keras.Sequential([
        tf.keras.layers.Input(shape=(4,)),
        tf.keras.layers.Dense(64, activation="tanh"),
        tf.keras.layers.Dense(64, activation="tanh"),
        tf.keras.layers.Dense(1),
    ])  # fmt: skip
    return (agent_class or TFPPOAgent)(
        actor=actor,
        critic=critic,
        optimizer=tf.keras.optimizers.Adam(3e-4),
        hyperparams=HyperparamSet(
            params={
                "learning_rate": 3e-4,
                "clip_ratio": 0.2,
                "entropy_coef": 0.01,
                "vf_coef": 0.5,
                "gamma": 0.99,
                "gae_lambda": 0.95,
                "n_epochs": 10,
                "minibatch_size": 64,
            },
            episode_id=0,
        ),
    )


def test_quick_start_for_tensorflow() -> None:
    import gymnasium as gym

    from tensor_optix import BatchPipeline, RLOptimizer

    agent = tf_ppo()
    env = gym.make("CartPole-v1")
    pipeline = BatchPipeline(env=env, agent=agent, window_size=512)  # 2,048 in the original
    opt = RLOptimizer(agent=agent, pipeline=pipeline, max_episodes=2)
    report = opt.run()
    assert report.best_score > 9


def test_extending_an_algorithm() -> None:
    import gymnasium as gym
    import numpy as np
    import tensorflow as tf

    from tensor_optix import BaseEvaluator, BatchPipeline, EpisodeData, EvalMetrics, RLOptimizer, TFPPOAgent

    class TradingPPO(TFPPOAgent):
        """Adds action distribution logging to standard PPO."""

        def learn(self, episode_data):
            diag = super().learn(episode_data)
            obs = tf.cast(episode_data.observations[:256], tf.float32)
            probs = tf.nn.softmax(self._actor(obs, training=False))
            probs_mean = tf.reduce_mean(probs, axis=0).numpy()
            diag["p_flat"] = float(probs_mean[0])
            diag["p_long"] = float(probs_mean[1])
            diag["p_short"] = float(probs_mean[2])
            return diag

    class SharpeEvaluator(BaseEvaluator):
        def score(self, episode_data: EpisodeData, train_diagnostics: dict) -> EvalMetrics:
            rewards = np.array(episode_data.rewards)
            sharpe = rewards.mean() / (rewards.std() + 1e-8)
            return EvalMetrics(
                primary_score=float(sharpe),
                metrics={"sharpe": float(sharpe), "mean_reward": float(rewards.mean())},
                episode_id=episode_data.episode_id,
            )

    class Market(gym.Env):
        """Pays the position (flat, long, short) times the next move of a random walk with a drift."""

        observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        action_space = gym.spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self._moves = self.np_random.normal(0.1, 1.0, 104).astype(np.float32)
            self._t = 4
            return self._moves[:4], {}

        def step(self, action):
            reward = float((0, 1, -1)[action] * self._moves[self._t])
            self._t += 1
            return self._moves[self._t - 4 : self._t], reward, False, self._t == 104, {}

    agent = tf_ppo(TradingPPO, n_actions=3)
    diagnostics = agent.learn(next(iter(BatchPipeline(Market(), agent, window_size=256).episodes())))
    assert sum(diagnostics[name] for name in ("p_flat", "p_long", "p_short")) == pytest.approx(1.0, abs=1e-5)
    opt = RLOptimizer(
        agent=agent,
        pipeline=BatchPipeline(Market(), agent, window_size=256),
        val_pipeline=BatchPipeline(Market(), agent, n_episodes=2, deterministic=True),
        evaluator=SharpeEvaluator(),
        max_episodes=2,
    )
    report = opt.run()
    assert report.best_score == report.best_score


def short_patience() -> dict[str, int]:
    return {"plateau_threshold": 1, "dormant_threshold": 2, "max_interval_episodes": 1, "max_episodes": 30, "seed": 0}


def test_automatic_rollback() -> None:
    from tensor_optix import BatchPipeline, RLOptimizer
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry
    from tensor_optix.core.policy_manager import PolicyManager

    agent = torch_ppo()
    pipeline = BatchPipeline("CartPole-v1", agent, window_size=64)
    registry = CheckpointRegistry("./checkpoints")
    pm = PolicyManager(registry)

    opt = RLOptimizer(agent=agent, pipeline=pipeline, callbacks=[pm.as_callback(agent)], **short_patience())
    assert opt.run().reason in ("converged", "nothing_learned")  # so few windows may well teach nothing


def test_autonomous_spawning(capsys: pytest.CaptureFixture[str]) -> None:
    from tensor_optix import BatchPipeline, RLOptimizer
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry
    from tensor_optix.core.meta_controller import MetaController
    from tensor_optix.core.policy_manager import PolicyManager

    def make_agent():
        return torch_ppo()

    agent = torch_ppo()
    registry = CheckpointRegistry("./checkpoints")
    pm = PolicyManager(registry, max_spawns=2, max_ensemble_size=4)
    cb = pm.as_callback(
        agent,
        agent_factory=make_agent,
        meta_controller=MetaController(gap_threshold=1e9, gap_slope_threshold=1e9, improvement_threshold=1e9),
    )
    opt = RLOptimizer(
        agent=agent,
        pipeline=BatchPipeline("CartPole-v1", agent, window_size=64),
        callbacks=[cb],
        **short_patience(),
    )
    cb.set_stop_fn(opt.stop)
    report = opt.run()
    assert report.evolution["spawns_used"] >= 1
    out = capsys.readouterr().out
    assert out.count("Training Complete") + out.count("Nothing Learned") == 1  # so few windows may teach nothing
    for words in (
        "Best score",
        "Val score",
        "Generalization",
        "Spawns used",
        "Pruned agents",
        "Ensemble size",
        "Regime",
    ):
        assert f"  {words}" in out


def test_ensemble() -> None:
    import gymnasium as gym

    from tensor_optix import BatchPipeline, RLOptimizer
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry
    from tensor_optix.core.ensemble_agent import EnsembleAgent
    from tensor_optix.core.policy_manager import PolicyManager

    env = gym.make("CartPole-v1")
    agent_a, agent_b = torch_ppo(), torch_ppo()
    registry = CheckpointRegistry("./checkpoints")
    pm = PolicyManager(registry)
    pm.add_agent(agent_a, weight=1.0)
    pm.add_agent(agent_b, weight=1.0)

    ensemble = EnsembleAgent(pm, primary_agent=agent_a)

    opt = RLOptimizer(
        agent=ensemble,
        pipeline=BatchPipeline(env=env, agent=ensemble, window_size=256),
        callbacks=[pm.as_callback(agent_a)],
        max_episodes=2,
    )
    assert opt.run().best_score > 8


def test_live_pipeline_needs_none_of_the_packages_for_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from tensor_optix import LivePipeline, RLOptimizer

    for package in ("websockets", "zstandard"):
        monkeypatch.setitem(sys.modules, package, None)

    class MarketFeed:
        position = 0

        def stream(self):
            for n in itertools.count():
                change = math.sin(n)
                time.sleep(0.001)
                yield [change, math.cos(n), 0.0, 1.0], (0, 1, -1)[self.position] * change, False, False, {}

        def apply(self, action):
            self.position = int(action)

    agent = torch_ppo()
    pipeline = LivePipeline(
        data_source=MarketFeed(),
        agent=agent,
        episode_boundary_fn=LivePipeline.every_n_seconds(0.1),  # 300 in the original
    )
    report = RLOptimizer(agent=agent, pipeline=pipeline, max_episodes=3).run()
    assert report.windows == 3
    assert report.env_steps >= 3
