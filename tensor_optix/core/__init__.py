"""The core: the doors that users import, and four rooms: `decisions`, `storage`, `loop`, `evolution`.

It imports numpy, the standard library, `filelock` and `msgspec`. Frameworks and Gymnasium never come in.
"""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.core.backoff_scheduler import BackoffScheduler as BackoffScheduler
    from tensor_optix.core.base_agent import ActsInRange as ActsInRange
    from tensor_optix.core.base_agent import ActsRecurrently as ActsRecurrently
    from tensor_optix.core.base_agent import BaseAgent as BaseAgent
    from tensor_optix.core.base_agent import BeginsEpisodes as BeginsEpisodes
    from tensor_optix.core.base_agent import TakesFlatObservations as TakesFlatObservations
    from tensor_optix.core.base_evaluator import BaseEvaluator as BaseEvaluator
    from tensor_optix.core.base_evaluator import ScoresActions as ScoresActions
    from tensor_optix.core.base_optimizer import BaseOptimizer as BaseOptimizer
    from tensor_optix.core.base_pipeline import BasePipeline as BasePipeline
    from tensor_optix.core.checkpoint_registry import CheckpointRegistry as CheckpointRegistry
    from tensor_optix.core.decisions.drift import DriftDetector as DriftDetector
    from tensor_optix.core.decisions.drift import PageHinkley as PageHinkley
    from tensor_optix.core.decisions.patience import Patience as Patience
    from tensor_optix.core.ensemble_agent import EnsembleAgent as EnsembleAgent
    from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator as EpisodeReturnEvaluator
    from tensor_optix.core.loop.parts import LoopConfig as LoopConfig
    from tensor_optix.core.loop.parts import LoopParts as LoopParts
    from tensor_optix.core.loop.parts import LoopStatus as LoopStatus
    from tensor_optix.core.loop.simulation import Decision as Decision
    from tensor_optix.core.loop.simulation import simulate as simulate
    from tensor_optix.core.loop_callback import LoopCallback as LoopCallback
    from tensor_optix.core.loop_controller import LoopController as LoopController
    from tensor_optix.core.meta_controller import MetaAction as MetaAction
    from tensor_optix.core.meta_controller import MetaController as MetaController
    from tensor_optix.core.normalizers import ObsNormalizer as ObsNormalizer
    from tensor_optix.core.normalizers import RewardNormalizer as RewardNormalizer
    from tensor_optix.core.normalizers import RunningMeanStd as RunningMeanStd
    from tensor_optix.core.policy_manager import PolicyManager as PolicyManager
    from tensor_optix.core.policy_manager import PolicyManagerCallback as PolicyManagerCallback
    from tensor_optix.core.regime_detector import RegimeDetector as RegimeDetector
    from tensor_optix.core.search_space import Param as Param
    from tensor_optix.core.search_space import SearchSpace as SearchSpace
    from tensor_optix.core.search_space import Signal as Signal
    from tensor_optix.core.training_report import StopReason as StopReason
    from tensor_optix.core.training_report import TrainingReport as TrainingReport
    from tensor_optix.core.trajectory_buffer import compute_gae as compute_gae
    from tensor_optix.core.trajectory_buffer import make_minibatches as make_minibatches
    from tensor_optix.core.types import EpisodeData as EpisodeData
    from tensor_optix.core.types import EpisodeSummary as EpisodeSummary
    from tensor_optix.core.types import EvalMetrics as EvalMetrics
    from tensor_optix.core.types import HyperparamSet as HyperparamSet
    from tensor_optix.core.types import LoopState as LoopState
    from tensor_optix.core.types import PolicySnapshot as PolicySnapshot

_HOMES = {
    "ActsInRange": "core.base_agent",
    "ActsRecurrently": "core.base_agent",
    "BackoffScheduler": "core.backoff_scheduler",
    "BaseAgent": "core.base_agent",
    "BaseEvaluator": "core.base_evaluator",
    "BaseOptimizer": "core.base_optimizer",
    "BasePipeline": "core.base_pipeline",
    "BeginsEpisodes": "core.base_agent",
    "CheckpointRegistry": "core.checkpoint_registry",
    "Decision": "core.loop.simulation",
    "DriftDetector": "core.decisions.drift",
    "EnsembleAgent": "core.ensemble_agent",
    "EpisodeData": "core.types",
    "EpisodeReturnEvaluator": "core.episode_evaluator",
    "EpisodeSummary": "core.types",
    "EvalMetrics": "core.types",
    "HyperparamSet": "core.types",
    "LoopCallback": "core.loop_callback",
    "LoopConfig": "core.loop.parts",
    "LoopController": "core.loop_controller",
    "LoopParts": "core.loop.parts",
    "LoopState": "core.types",
    "LoopStatus": "core.loop.parts",
    "MetaAction": "core.meta_controller",
    "MetaController": "core.meta_controller",
    "ObsNormalizer": "core.normalizers",
    "PageHinkley": "core.decisions.drift",
    "Param": "core.search_space",
    "Patience": "core.decisions.patience",
    "PolicyManager": "core.policy_manager",
    "PolicyManagerCallback": "core.policy_manager",
    "PolicySnapshot": "core.types",
    "RegimeDetector": "core.regime_detector",
    "RewardNormalizer": "core.normalizers",
    "RunningMeanStd": "core.normalizers",
    "ScoresActions": "core.base_evaluator",
    "SearchSpace": "core.search_space",
    "Signal": "core.search_space",
    "StopReason": "core.training_report",
    "TakesFlatObservations": "core.base_agent",
    "TrainingReport": "core.training_report",
    "compute_gae": "core.trajectory_buffer",
    "make_minibatches": "core.trajectory_buffer",
    "simulate": "core.loop.simulation",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
