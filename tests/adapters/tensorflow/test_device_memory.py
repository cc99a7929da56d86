"""What TensorFlow says where there is no room; `adapters/test_device_memory.py` tests the tables of both frameworks."""

from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import kernels

from tensor_optix.adapters._device_memory import held
from tensor_optix.adapters.tensorflow import backend as backends
from tensor_optix.adapters.tensorflow._device_memory import TFDeviceMemory
from tensor_optix.adapters.tensorflow._keras import tf
from tensor_optix.adapters.tensorflow.backend import TFBackend

TABLES = {"first": ((4, 2), np.dtype(np.float32)), "second": ((4,), np.dtype(np.uint8))}


@pytest.mark.parametrize("refused", [(4, 2), (4,), 7])
def test_without_room_for_the_tables_or_beside_them_none_is_made(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = tf.zeros

    def full(shape: Any, dtype: Any) -> Any:
        if shape == refused:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return zeros(shape, dtype)

    memory = TFDeviceMemory(None, spare_bytes=7)
    with monkeypatch.context() as patch:
        patch.setattr(tf, "zeros", full)
        assert not memory.reserve(TABLES)
    assert memory._tables == {}
    assert memory.reserve(TABLES)


def test_there_are_tables_for_models_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for place in (None, "/job:localhost/replica:0/task:0/device:CPU:0", "/job:localhost/replica:0/task:0/device:GPU:0"):
        monkeypatch.setattr(backends, "device_of", lambda _, place=place: place)
        found.append(TFBackend().device_memory([]))
    assert found[:2] == [None, None]
    assert isinstance(found[2], TFDeviceMemory)


@pytest.mark.parametrize(
    "operation", ["ResourceGather", "ResourceStridedSliceAssign", "ResourceScatterUpdate", "ConcatV2", "Cast"]
)
def test_each_operation_has_a_kernel_on_a_gpu_for_each_type_that_is_held(operation: str) -> None:
    registered = [
        types_pb2.DataType.Name(kind)
        for kernel in kernels.get_registered_kernels_for_op(operation).kernel
        if kernel.device_type == "GPU"
        for constraint in kernel.constraint
        if constraint.name in ("T", "dtype", "SrcT")
        for kind in constraint.allowed_values.list.type
    ]
    if not registered:
        pytest.skip("this build of TensorFlow knows no GPU")
    kinds = {held(np.dtype(name)) for name in ("bool", "uint8", "int16", "float16", "float32", "float64")}
    assert {types_pb2.DataType.Name(tf.as_dtype(kind).as_datatype_enum) for kind in kinds} <= set(registered)
