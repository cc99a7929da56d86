"""Where a framework computes: the processor, or a GPU that it reaches through CUDA."""

from tensor_optix.errors import DeviceError, InvalidArgumentError

DEVICES = ("cpu", "cuda")
_NAMES = {"tf": "TensorFlow", "torch": "PyTorch"}


def resolve_device(device: str, framework: str) -> str:
    """Return the device that `"auto"` stands for, `"cuda"` where the framework finds one, or the given one.

    Args:
        device: `"cpu"`, `"cuda"` or `"auto"`.
        framework: `"tf"` or `"torch"`, which is installed.

    Raises:
        InvalidArgumentError: another name.
        DeviceError: `"cuda"` where the framework finds none.
    """
    if device not in ("auto", *DEVICES):
        raise InvalidArgumentError(f"device must be 'auto' or one of {DEVICES}, but got {device!r}.")
    if device == "cpu" or finds_cuda(framework):
        return "cpu" if device == "cpu" else "cuda"
    if device == "auto":
        return "cpu"
    raise DeviceError(
        f"device='cuda' is asked for, but {_NAMES[framework]} finds no GPU here: give --device cpu (device='cpu' in "
        f"Python), or install a build of {_NAMES[framework]} with CUDA and the driver of the GPU."
    )


def finds_cuda(framework: str) -> bool:
    """Return whether a framework finds a GPU; nothing is begun on it."""
    if framework == "torch":
        import torch

        return torch.cuda.is_available()
    from tensor_optix.adapters.tensorflow._keras import tf

    return bool(tf.config.list_physical_devices("GPU"))
