"""The closed list of tensor functions: each framework has it, and so has numpy."""

from typing import Any

import pytest

from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters._ops import Ops
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.adapters.tensorflow.backend import TFBackend


@pytest.mark.parametrize("ops", [NUMPY_OPS, TorchBackend.ops, TFBackend.ops])
def test_each_function_is_there(ops: Any) -> None:
    assert [name for name in Ops.__annotations__ if not callable(getattr(ops, name, None))] == []
