"""PyTorch: backend, generic agent, default evaluator."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.adapters.pytorch.inputs import TorchDictModel as TorchDictModel
    from tensor_optix.adapters.pytorch.torch_agent import TorchAgent as TorchAgent
    from tensor_optix.adapters.pytorch.torch_evaluator import TorchEvaluator as TorchEvaluator

_HOMES = {
    "TorchAgent": "adapters.pytorch.torch_agent",
    "TorchDictModel": "adapters.pytorch.inputs",
    "TorchEvaluator": "adapters.pytorch.torch_evaluator",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
