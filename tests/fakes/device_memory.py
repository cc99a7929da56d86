"""The memory of a GPU on the CPU, where what learns from it is tested without one."""

from typing import Any

import pytest
import torch

from tensor_optix.adapters._device_memory import DeviceMemory
from tensor_optix.adapters.pytorch._device_memory import TorchDeviceMemory
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.adapters.tensorflow import _device_memory
from tensor_optix.adapters.tensorflow._device_memory import TFDeviceMemory
from tensor_optix.adapters.tensorflow.backend import TFBackend

CPU = torch.device("cpu")


def memory_of(framework: str) -> DeviceMemory:
    return TorchDeviceMemory(CPU) if framework == "torch" else TFDeviceMemory(None, spare_bytes=0)


def on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let agents that are made from now on gather their minibatches as on a GPU."""
    for backend, framework in ((TorchBackend, "torch"), (TFBackend, "tf")):
        monkeypatch.setattr(backend, "device_memory", lambda *_, framework=framework: memory_of(framework))


def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the bytes of each array that goes to a device, as it goes."""
    sizes: list[int] = []
    for home in (TorchDeviceMemory, _device_memory):
        send = home._sent

        def counted(*arguments: Any, send: Any = send) -> Any:
            sizes.append(arguments[-1].nbytes)
            return send(*arguments)

        monkeypatch.setattr(home, "_sent", counted)
    return sizes
