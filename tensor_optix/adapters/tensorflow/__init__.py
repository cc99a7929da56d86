"""TensorFlow: backend, generic agent, default evaluator."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.adapters.tensorflow.inputs import TFDictModel as TFDictModel
    from tensor_optix.adapters.tensorflow.tf_agent import TFAgent as TFAgent
    from tensor_optix.adapters.tensorflow.tf_evaluator import TFEvaluator as TFEvaluator

_HOMES = {
    "TFAgent": "adapters.tensorflow.tf_agent",
    "TFDictModel": "adapters.tensorflow.inputs",
    "TFEvaluator": "adapters.tensorflow.tf_evaluator",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
