"""The user's own examples, as printed, cut short by `max_episodes`."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def torch_ppo():
    import torch
    import torch.nn as nn

    from tensor_optix import HyperparamSet
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent

    obs_dim, n_actions = 4, 2

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
    pipeline = BatchPipeline(env=gym.make("CartPole-v1"), agent=agent, window_size=2048)
    opt = RLOptimizer(agent=agent, pipeline=pipeline, max_episodes=3)
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


def test_the_registry_beside_the_loop_on_the_default_directory() -> None:
    from tensor_optix import BatchPipeline, RLOptimizer
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry

    registry = CheckpointRegistry("./checkpoints")
    agent = torch_ppo()
    opt = RLOptimizer(agent=agent, pipeline=BatchPipeline("CartPole-v1", agent, window_size=128), max_episodes=2)
    report = opt.run()
    assert registry.best is not None
    assert registry.best.eval_metrics.primary_score == report.best_score
