"""Each implementation against the contract of its role."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import keras
import pytest
import torch
from torch import nn

from tensor_optix import (
    BackoffOptimizer,
    BaseAgent,
    BaseEvaluator,
    BaseOptimizer,
    BasePipeline,
    BatchPipeline,
    EpisodeReturnEvaluator,
    HyperparamSet,
    TFAgent,
    TFEvaluator,
    TorchAgent,
    TorchEvaluator,
    VectorBatchPipeline,
    make_agent,
)
from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
from tensor_optix.testing import check_learn_keeps_names, check_save_and_load
from tests.contracts.agent_contract import AgentContract
from tests.contracts.evaluator_contract import EvaluatorContract
from tests.contracts.optimizer_contract import OptimizerContract
from tests.contracts.pipeline_contract import PipelineContract
from tests.fakes.environments import Mined, Sapper, Structured
from tests.helpers import FlatAgent, NumpyAgent, ScoreEvaluator

torch.set_num_threads(1)

SMALL = {"batch_size": 16, "learning_starts": 16, "replay_capacity": 1000, "updates_per_step": 0.25}
"""So that the checks of learning really learn."""
SHORT = {"n_epochs": 1, "sequence_length": 4}


class TestNumpyAgent(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return NumpyAgent()


class TestTorchPPOAgentCategorical(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("CartPole-v1", framework="torch", seed=0)


class TestTFPPOAgentCategorical(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("CartPole-v1", framework="tf", seed=0)


class TestTFPPOAgentGaussian(AgentContract):
    env = "Pendulum-v1"
    in_the_soak = (check_learn_keeps_names, check_save_and_load)

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("Pendulum-v1", "ppo", "tf", seed=0)


class TestTorchRecurrentPPOAgent(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("CartPole-v1", "recurrent_ppo", "torch", seed=0, net_arch=(8,))


class TestTFRecurrentPPOAgent(AgentContract):
    env = "Pendulum-v1"
    in_the_soak = (check_learn_keeps_names, check_save_and_load)

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("Pendulum-v1", "recurrent_ppo", "tf", SHORT, seed=0, net_arch=(8,), cell="gru")


class TestTFAgent(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        model = keras.Sequential([layers.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(2)])
        return TFAgent(model, keras.optimizers.Adam(), HyperparamSet({}), seed=0)


class TestTorchPPOAgentGaussian(AgentContract):
    env = "Pendulum-v1"

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("Pendulum-v1", "ppo", "torch", seed=0)


class TestTorchDQNAgent(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("CartPole-v1", "dqn", "torch", SMALL, seed=0, net_arch=(16,))


class TestTFDQNAgent(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("CartPole-v1", "dqn", "tf", SMALL, seed=0, net_arch=(16,))


class TestTorchSACAgent(AgentContract):
    env = "Pendulum-v1"

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("Pendulum-v1", "sac", "torch", SMALL, seed=0, net_arch=(16,))


class TestTFSACAgent(AgentContract):
    env = "Pendulum-v1"

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return make_agent("Pendulum-v1", "sac", "tf", SMALL, seed=0, net_arch=(16,))


def beside(agent: Any) -> BaseAgent:
    assert agent.learn_beside()
    return agent


class TestTorchDQNAgentBeside(TestTorchDQNAgent):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return beside(make_agent("CartPole-v1", "dqn", "torch", SMALL, seed=0, net_arch=(16,)))


class TestTFSACAgentBeside(TestTFSACAgent):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        return beside(make_agent("Pendulum-v1", "sac", "tf", SMALL, seed=0, net_arch=(16,)))


class TestTorchAgent(AgentContract):
    @pytest.fixture
    def agent(self) -> BaseAgent:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        return TorchAgent(model, torch.optim.Adam(model.parameters()), HyperparamSet({}), seed=0)


class TestBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return BatchPipeline(gym.make("CartPole-v1"), NumpyAgent(), window_size=50, seed=0)


class TestBatchPipelineOfEpisodes(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return BatchPipeline("CartPole-v1", NumpyAgent(), n_episodes=3, seed=0)


class TestValidationPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        made = BatchPipeline("CartPole-v1", NumpyAgent()).validation_pipeline(3, seed=0)
        assert made is not None
        return made


class TestVectorBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return VectorBatchPipeline([lambda: gym.make("CartPole-v1")] * 3, NumpyAgent(), window_size=40, seed=0)


class TestVectorBatchPipelineOfGymnasiumsOwn(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return VectorBatchPipeline(("CartPole-v1", 3), NumpyAgent(), window_size=40, seed=0)


class TestVectorBatchPipelineOfEnvPool(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        pytest.importorskip("envpool", reason="EnvPool is not installed: pip install 'tensor-optix-core[envpool]'")
        return VectorBatchPipeline(("EnvPool/CartPole-v1", 3), NumpyAgent(), window_size=40, seed=0)


class TestNormalisedBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return BatchPipeline(
            "CartPole-v1", NumpyAgent(), window_size=50, seed=0, normalize_observations=True, normalize_rewards=True
        )


class TestNormalisedVectorBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return VectorBatchPipeline(
            ("CartPole-v1", 3), NumpyAgent(), 40, seed=0, normalize_observations=True, normalize_rewards=True
        )


class TestNormalisedValidationPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        training = BatchPipeline("CartPole-v1", NumpyAgent(), normalize_observations=True)
        made = training.validation_pipeline(3, seed=0)
        assert made is not None
        return made


class TestFlattenedBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return BatchPipeline(Structured(), FlatAgent(), window_size=30)


class TestFlattenedVectorBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return VectorBatchPipeline([Structured] * 2, FlatAgent(), window_size=30, normalize_observations=True)


class TestStructuredBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return BatchPipeline(Structured(), NumpyAgent(), window_size=30, normalize_rewards=True)


class TestStructuredVectorBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return VectorBatchPipeline([Structured] * 2, NumpyAgent(), window_size=30)


class TestStructuredLivePipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return LivePipeline(EnvironmentSource(Structured()), NumpyAgent(), LivePipeline.every_n_steps(30))


class TestMaskedBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return BatchPipeline(Mined(), Sapper(), window_size=30)


class TestMaskedVectorBatchPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return VectorBatchPipeline([Mined] * 2, Sapper(), window_size=30)


class TestLivePipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return LivePipeline(EnvironmentSource("CartPole-v1", seed=0), NumpyAgent(), LivePipeline.every_n_steps(50))


class TestLivePipelineOfEpisodes(PipelineContract):
    @pytest.fixture
    def pipeline(self) -> BasePipeline:
        return LivePipeline(EnvironmentSource(Mined()), Sapper(), LivePipeline.on_done_signal())


class TestEpisodeReturnEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self) -> BaseEvaluator:
        return EpisodeReturnEvaluator()


class TestBlendedEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self) -> BaseEvaluator:
        return TorchEvaluator(reward_weight=1.0, stability_weight=0.5, length_weight=0.5, max_episode_length=10)


class TestTFEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self) -> BaseEvaluator:
        return TFEvaluator()


class TestScoreEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self) -> BaseEvaluator:
        return ScoreEvaluator()


class TestBackoffOptimizer(OptimizerContract):
    make_optimizer: Callable[..., BaseOptimizer] = staticmethod(BackoffOptimizer)


class TestPBTOptimizer(OptimizerContract):
    @staticmethod
    def make_optimizer(*args: Any, **kwargs: Any) -> BaseOptimizer:  # type: ignore[override]
        return PBTOptimizer(*args, **{"seed": 0, **kwargs})
