"""Where TensorFlow computes: what names no device goes to the first GPU, wherever its operands are."""

import contextlib
from collections.abc import Iterable, Sequence

from tensor_optix.adapters.backend import Model
from tensor_optix.adapters.tensorflow._keras import keras, tf

_NAMES = {"cpu": "/CPU:0", "cuda": "/GPU:0"}


def on(device: str | None) -> contextlib.AbstractContextManager[object]:
    """Return a context in which everything is made and computed on a device; nothing changes where there is but one.

    Args:
        device: `"cpu"`, `"cuda"`, or as TensorFlow names it; None = where TensorFlow puts it.
    """
    if device is None or not _is_one_of_several():
        return contextlib.nullcontext()
    return tf.device(_NAMES.get(device, device))


def device_of(models: Sequence[Model]) -> str | None:
    """Return the device of models' weights as TensorFlow names it, None where there is no other to be on."""
    weights = [weight for model in models for weight in model.weights]
    if not weights or not _is_one_of_several():
        return None
    first = weights[0]
    return (first.value if isinstance(first, keras.Variable) else first).device


def needs_xla(models: Sequence[Model], device: str | None) -> bool:
    """Return whether only XLA computes models: on most CPUs TensorFlow itself has no convolution of channels first.

    Args:
        models: the models.
        device: of their weights, see `device_of`.
    """
    layers = (layer for model in models for layer in layers_in(model))
    has_channels_first = any(getattr(layer, "data_format", None) == "channels_first" for layer in layers)
    return has_channels_first and (device is None or "GPU" not in device)


def layers_in(model: Model) -> Iterable[keras.layers.Layer]:
    """Return a model and all layers in it; none of what is not Keras's."""
    return model._flatten_layers() if isinstance(model, keras.layers.Layer) else ()


def _is_one_of_several() -> bool:
    return len(tf.config.list_logical_devices()) > 1
