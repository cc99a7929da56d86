"""What PyTorch says where there is no room; `adapters/test_device_memory.py` tests the tables of both frameworks."""

from typing import Any

import numpy as np
import pytest
import torch

from tensor_optix.adapters._device_memory import SPARE_BYTES
from tensor_optix.adapters.pytorch._device_memory import TorchDeviceMemory
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tests.fakes.device_memory import CPU

TABLES = {"first": ((4, 2), np.dtype(np.float32)), "second": ((4,), np.dtype(np.uint8))}


@pytest.mark.parametrize("refused", ["zeros", "empty"])
def test_without_room_for_the_tables_or_beside_them_none_is_made(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def full(*shape: Any, **_: Any) -> Any:
        asked.append(shape)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    memory = TorchDeviceMemory(CPU)
    with monkeypatch.context() as patch:
        patch.setattr(torch, refused, full)
        assert not memory.reserve(TABLES)
    assert asked == [((4, 2),)] if refused == "zeros" else [(SPARE_BYTES,)]
    assert memory._tables == {}
    assert memory.reserve(TABLES)


def test_there_are_tables_for_models_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(2, 1)
    assert TorchBackend().device_memory([model]) is None
    assert TorchBackend().device_memory([torch.nn.Linear(2, 1, device="meta")]) is None

    class Gpu:
        type = "cuda"

    weight = type("Weight", (), {"device": Gpu()})()
    monkeypatch.setattr(model, "parameters", lambda: iter([weight]))
    memory = TorchBackend().device_memory([model])
    assert isinstance(memory, TorchDeviceMemory)
    assert memory._device is weight.device
