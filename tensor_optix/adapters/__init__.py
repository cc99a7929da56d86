"""The frameworks: one `Backend` each, and what agents of both share."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.adapters.pytorch.inputs import TorchDictModel as TorchDictModel
    from tensor_optix.adapters.pytorch.torch_agent import TorchAgent as TorchAgent
    from tensor_optix.adapters.pytorch.torch_evaluator import TorchEvaluator as TorchEvaluator
    from tensor_optix.adapters.river_drift import RiverDetector as RiverDetector
    from tensor_optix.adapters.tensorflow.inputs import TFDictModel as TFDictModel
    from tensor_optix.adapters.tensorflow.tf_agent import TFAgent as TFAgent
    from tensor_optix.adapters.tensorflow.tf_evaluator import TFEvaluator as TFEvaluator

_HOMES = {
    "RiverDetector": "adapters.river_drift",
    "TFAgent": "adapters.tensorflow.tf_agent",
    "TFDictModel": "adapters.tensorflow.inputs",
    "TFEvaluator": "adapters.tensorflow.tf_evaluator",
    "TorchAgent": "adapters.pytorch.torch_agent",
    "TorchDictModel": "adapters.pytorch.inputs",
    "TorchEvaluator": "adapters.pytorch.torch_evaluator",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
