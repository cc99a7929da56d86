"""tensor-optix: an autonomous training loop for any model that acts and learns from sequential data.

Names are loaded when they are first used (PEP 562), so that importing the package loads no framework.
"""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported, is_installed

__version__ = "0.9.0.dev0"

if TYPE_CHECKING:
    from tensor_optix.adapters.pytorch.inputs import TorchDictModel
    from tensor_optix.adapters.pytorch.torch_agent import TorchAgent
    from tensor_optix.adapters.pytorch.torch_evaluator import TorchEvaluator
    from tensor_optix.adapters.river_drift import RiverDetector
    from tensor_optix.adapters.tensorflow.inputs import TFDictModel
    from tensor_optix.adapters.tensorflow.tf_agent import TFAgent
    from tensor_optix.adapters.tensorflow.tf_evaluator import TFEvaluator
    from tensor_optix.algorithms._distributions import MultiCategorical
    from tensor_optix.algorithms.replay.replay_buffer import ReplayBuffer
    from tensor_optix.algorithms.tf_dqn import TFDQNAgent
    from tensor_optix.algorithms.tf_ppo import TFPPOAgent
    from tensor_optix.algorithms.tf_recurrent_ppo import TFRecurrentPPOAgent
    from tensor_optix.algorithms.tf_sac import TFSACAgent
    from tensor_optix.algorithms.torch_dqn import TorchDQNAgent
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
    from tensor_optix.algorithms.torch_recurrent_ppo import TorchRecurrentPPOAgent
    from tensor_optix.algorithms.torch_sac import TorchSACAgent
    from tensor_optix.core.backoff_scheduler import BackoffScheduler
    from tensor_optix.core.base_agent import (
        ActsInRange,
        ActsRecurrently,
        BaseAgent,
        BeginsEpisodes,
        TakesFlatObservations,
    )
    from tensor_optix.core.base_evaluator import BaseEvaluator, ScoresActions
    from tensor_optix.core.base_optimizer import BaseOptimizer
    from tensor_optix.core.base_pipeline import BasePipeline
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry
    from tensor_optix.core.decisions.drift import DriftDetector, PageHinkley
    from tensor_optix.core.decisions.patience import Patience
    from tensor_optix.core.ensemble_agent import EnsembleAgent
    from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
    from tensor_optix.core.loop.parts import LoopConfig, LoopParts, LoopStatus
    from tensor_optix.core.loop.simulation import Decision, simulate
    from tensor_optix.core.loop_callback import LoopCallback
    from tensor_optix.core.loop_controller import LoopController
    from tensor_optix.core.meta_controller import MetaAction, MetaController
    from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer, RunningMeanStd
    from tensor_optix.core.policy_manager import PolicyManager, PolicyManagerCallback
    from tensor_optix.core.regime_detector import RegimeDetector
    from tensor_optix.core.search_space import Param, SearchSpace, Signal
    from tensor_optix.core.training_report import StopReason, TrainingReport
    from tensor_optix.core.trajectory_buffer import compute_gae, make_minibatches
    from tensor_optix.core.types import (
        EpisodeData,
        EpisodeSummary,
        EvalMetrics,
        HyperparamSet,
        LoopState,
        PolicySnapshot,
    )
    from tensor_optix.errors import TensorOptixError
    from tensor_optix.factory import make_agent
    from tensor_optix.optimizer import RLOptimizer
    from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
    from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer
    from tensor_optix.pipeline.batch_pipeline import BatchPipeline
    from tensor_optix.pipeline.live_pipeline import LivePipeline
    from tensor_optix.pipeline.sources.environment_source import EnvironmentSource
    from tensor_optix.pipeline.sources.generator_source import GeneratorSource
    from tensor_optix.pipeline.sources.replay_source import ReplaySource
    from tensor_optix.pipeline.sources.websocket_source import WebSocketSource
    from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
    from tensor_optix.policy import Policy, load_policy
    from tensor_optix.splits import TimeSplit, split_by_time, walk_forward

_HOMES = {
    "ActsInRange": "core.base_agent",
    "ActsRecurrently": "core.base_agent",
    "TakesFlatObservations": "core.base_agent",
    "BackoffOptimizer": "optimizers.backoff_optimizer",
    "BackoffScheduler": "core.backoff_scheduler",
    "BaseAgent": "core.base_agent",
    "BaseEvaluator": "core.base_evaluator",
    "BaseOptimizer": "core.base_optimizer",
    "BasePipeline": "core.base_pipeline",
    "BatchPipeline": "pipeline.batch_pipeline",
    "BeginsEpisodes": "core.base_agent",
    "CheckpointRegistry": "core.checkpoint_registry",
    "compute_gae": "core.trajectory_buffer",
    "Decision": "core.loop.simulation",
    "DriftDetector": "core.decisions.drift",
    "EnsembleAgent": "core.ensemble_agent",
    "EnvironmentSource": "pipeline.sources.environment_source",
    "EpisodeData": "core.types",
    "EpisodeReturnEvaluator": "core.episode_evaluator",
    "EpisodeSummary": "core.types",
    "EvalMetrics": "core.types",
    "GeneratorSource": "pipeline.sources.generator_source",
    "HyperparamSet": "core.types",
    "LivePipeline": "pipeline.live_pipeline",
    "LoopCallback": "core.loop_callback",
    "LoopConfig": "core.loop.parts",
    "LoopController": "core.loop_controller",
    "LoopParts": "core.loop.parts",
    "LoopState": "core.types",
    "LoopStatus": "core.loop.parts",
    "load_policy": "policy",
    "make_agent": "factory",
    "make_minibatches": "core.trajectory_buffer",
    "MetaAction": "core.meta_controller",
    "MetaController": "core.meta_controller",
    "MultiCategorical": "algorithms._distributions",
    "ObsNormalizer": "core.normalizers",
    "PageHinkley": "core.decisions.drift",
    "Param": "core.search_space",
    "Patience": "core.decisions.patience",
    "PBTOptimizer": "optimizers.pbt_optimizer",
    "Policy": "policy",
    "PolicyManager": "core.policy_manager",
    "PolicyManagerCallback": "core.policy_manager",
    "PolicySnapshot": "core.types",
    "RegimeDetector": "core.regime_detector",
    "ReplayBuffer": "algorithms.replay.replay_buffer",
    "ReplaySource": "pipeline.sources.replay_source",
    "RiverDetector": "adapters.river_drift",
    "RewardNormalizer": "core.normalizers",
    "RLOptimizer": "optimizer",
    "RunningMeanStd": "core.normalizers",
    "ScoresActions": "core.base_evaluator",
    "SearchSpace": "core.search_space",
    "simulate": "core.loop.simulation",
    "Signal": "core.search_space",
    "split_by_time": "splits",
    "StopReason": "core.training_report",
    "TensorOptixError": "errors",
    "TFAgent": "adapters.tensorflow.tf_agent",
    "TFDictModel": "adapters.tensorflow.inputs",
    "TFDQNAgent": "algorithms.tf_dqn",
    "TFEvaluator": "adapters.tensorflow.tf_evaluator",
    "TFPPOAgent": "algorithms.tf_ppo",
    "TFRecurrentPPOAgent": "algorithms.tf_recurrent_ppo",
    "TFSACAgent": "algorithms.tf_sac",
    "TimeSplit": "splits",
    "TorchAgent": "adapters.pytorch.torch_agent",
    "TorchDictModel": "adapters.pytorch.inputs",
    "TorchDQNAgent": "algorithms.torch_dqn",
    "TorchEvaluator": "adapters.pytorch.torch_evaluator",
    "TorchPPOAgent": "algorithms.torch_ppo",
    "TorchRecurrentPPOAgent": "algorithms.torch_recurrent_ppo",
    "TorchSACAgent": "algorithms.torch_sac",
    "TrainingReport": "core.training_report",
    "VectorBatchPipeline": "pipeline.vector_pipeline",
    "walk_forward": "splits",
    "WebSocketSource": "pipeline.sources.websocket_source",
}

__all__ = [
    "ActsInRange",
    "ActsRecurrently",
    "BackoffOptimizer",
    "BackoffScheduler",
    "BaseAgent",
    "BaseEvaluator",
    "BaseOptimizer",
    "BasePipeline",
    "BatchPipeline",
    "BeginsEpisodes",
    "CheckpointRegistry",
    "Decision",
    "DriftDetector",
    "EnsembleAgent",
    "EnvironmentSource",
    "EpisodeData",
    "EpisodeReturnEvaluator",
    "EpisodeSummary",
    "EvalMetrics",
    "GeneratorSource",
    "HyperparamSet",
    "LivePipeline",
    "LoopCallback",
    "LoopConfig",
    "LoopController",
    "LoopParts",
    "LoopState",
    "LoopStatus",
    "MetaAction",
    "MetaController",
    "MultiCategorical",
    "ObsNormalizer",
    "PBTOptimizer",
    "PageHinkley",
    "Param",
    "Patience",
    "Policy",
    "PolicyManager",
    "PolicyManagerCallback",
    "PolicySnapshot",
    "RLOptimizer",
    "RegimeDetector",
    "ReplayBuffer",
    "ReplaySource",
    "RewardNormalizer",
    "RiverDetector",
    "RunningMeanStd",
    "ScoresActions",
    "SearchSpace",
    "Signal",
    "StopReason",
    "TFAgent",
    "TFDQNAgent",
    "TFDictModel",
    "TFEvaluator",
    "TFPPOAgent",
    "TFRecurrentPPOAgent",
    "TFSACAgent",
    "TakesFlatObservations",
    "TensorOptixError",
    "TimeSplit",
    "TorchAgent",
    "TorchDQNAgent",
    "TorchDictModel",
    "TorchEvaluator",
    "TorchPPOAgent",
    "TorchRecurrentPPOAgent",
    "TorchSACAgent",
    "TrainingReport",
    "VectorBatchPipeline",
    "WebSocketSource",
    "__version__",
    "compute_gae",
    "load_policy",
    "make_agent",
    "make_minibatches",
    "simulate",
    "split_by_time",
    "walk_forward",
]

_FRAMEWORKS = {"TF": "tensorflow", "Torch": "torch"}
"""What the names that begin like this need; only the evaluators do without."""

for _prefix, _framework in _FRAMEWORKS.items():
    if not is_installed(_framework):  # `import *` asks for every name; by itself such a one says what to install
        for _name in [name for name in __all__ if name.startswith(_prefix) and not name.endswith("Evaluator")]:
            __all__.remove(_name)  # pyright: ignore[reportUnsupportedDunderAll]


__getattr__, __dir__ = exported(__name__, _HOMES)
