"""Acting with a Keras model: dense stacks in numpy, anything else through one compiled function."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tensor_optix.adapters import _dense
from tensor_optix.adapters._checks import NoTensorError
from tensor_optix.adapters.backend import Model, Tensor
from tensor_optix.adapters.tensorflow._keras import Variable, keras, tf
from tensor_optix.adapters.tensorflow._placement import device_of, needs_xla, on
from tensor_optix.adapters.tensorflow._randomness import TFRandomness
from tensor_optix.adapters.tensorflow._variables import number_type
from tensor_optix.support.undisturbed import UNDISTURBED

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "linear": None,
    "tanh": _dense.tanh,
    "relu": _dense.relu,
    "sigmoid": _dense.sigmoid,
    "silu": _dense.silu,
    "elu": _dense.elu,
}
_MUTATORS = ("assign", "assign_add", "assign_sub")
_GRAPH_SECONDS = 50e-6
"""Running a compiled training step takes longer than this; two actions on a fast environment do not."""
_EAGER_SECONDS = 500e-6
"""The same of a training step that is not compiled; a step of a vector of fast environments takes less."""


class _OwnUpdates:
    """The updates made by this library: they are told to the mirrors, so that nothing has to watch for them."""

    def __init__(self) -> None:
        self.made = 0
        self.running = False

    @contextlib.contextmanager
    def announced(self) -> Iterator[None]:
        """Run an update inside this."""
        self.running = True
        try:
            yield
        finally:
            self.running = False
            self.made += 1


OWN_UPDATES = _OwnUpdates()


class LogStd(keras.layers.Layer):
    """Last layer of a Gaussian policy: appends a free log_std (A,) to the mean (B, A), giving [mean ‖ log_std] (B, 2A).

    Args:
        initial: log_std at the start.
    """

    def __init__(self, initial: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the variable."""
        self.log_std = self.add_weight(
            shape=(input_shape[-1],), initializer=keras.initializers.Constant(self.initial), name="log_std"
        )

    def call(self, mean: Tensor) -> Tensor:
        """Return (B, 2A)."""
        return tf.concat([mean, tf.broadcast_to(self.log_std, tf.shape(mean))], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return (B, 2A)."""
        return (*input_shape[:-1], 2 * input_shape[-1])  # type: ignore[operator]


class KerasPredictor:
    """A model's output as a numpy array, without gradients, always from its present weights.

    Reading a variable costs several times what a small network costs in numpy, so a dense stack is mirrored, and its
    variables are watched: an eager assignment to one marks the mirror stale; one that is traced into a graph of
    their own, which nothing here would see running, ends the mirroring for good; and after any pause that is long
    enough for other training - by a graph traced earlier, where one holds a variable - they are read again. While a
    window is played nothing but its environments runs meanwhile (`support.undisturbed`), however slow they are.
    """

    def __init__(self, model: Model, randomness: TFRandomness | None = None) -> None:
        self._model = model
        self._randomness = randomness or contextlib.nullcontext()
        self._dtype = number_type([model])
        self._device = device_of([model])
        self._layers: list[_dense.type_of_layer] | None = None
        self._variables: list[Variable] = []
        self._buffers: list[Variable] = []
        self._mirrors: list[tuple[object, str]] = []
        self._stale = True
        self._always_read = False
        self._seen_updates = -1
        self._last_act = 0.0
        self._acted_in = 0
        """Number of the undisturbed block of the last action."""
        self._patience = _GRAPH_SECONDS
        self._compiled: Any = None
        self._fault: NoTensorError | None = None
        self._mirror()

    def __call__(self, observations: object) -> np.ndarray:
        """Return the output for observations (B, ...)."""
        if self._layers is None:
            return self._through_tensorflow(np.asarray(observations, self._dtype.as_numpy_dtype))
        block = UNDISTURBED.number
        if (
            self._stale
            or self._always_read
            or self._seen_updates != OWN_UPDATES.made
            or ((not block or block != self._acted_in) and time.perf_counter() - self._last_act > self._patience)
        ):
            self._read()
        output = _dense.forward(self._layers, np.asarray(observations, np.float32))
        self._acted_in, self._last_act = block, time.perf_counter()
        return output

    def one(self, observation: object) -> np.ndarray:
        """Return the output for one observation."""
        if self._layers is not None:
            return self(observation)
        return self._through_tensorflow(np.asarray(observation, self._dtype.as_numpy_dtype)[None])[0]

    def frozen(self) -> _dense.Frozen | None:
        """Return the model as it is now, with weights of its own; None where numpy cannot stand for it."""
        if self._layers is None:
            return None
        self._read()
        return _dense.Frozen(self._layers)

    def _through_tensorflow(self, observations: np.ndarray) -> np.ndarray:
        if self._compiled is None:
            signature = tf.TensorSpec((None, *observations.shape[1:]), self._dtype)
            self._compiled = tf.function(
                self._output,
                input_signature=[signature],
                jit_compile=needs_xla([self._model], self._device) or None,
            )
        with on(self._device), self._randomness:
            output = self._compiled(observations)
        if self._fault is not None:
            raise self._fault
        return output.numpy()

    def _output(self, observations: Tensor) -> Tensor:
        output = self._model(observations, training=False)
        if not tf.is_tensor(output):
            self._fault = NoTensorError(output, "tf.Tensor")  # raised here, TensorFlow would make another error of it
            return tf.zeros((), self._dtype)
        return tf.cast(output, self._dtype)

    def _mirror(self) -> None:
        """Build the numpy layers, or none where the model is not a dense stack that they reproduce."""
        layers = stack_of(self._model)
        if layers is None:
            return
        built: list[_dense.type_of_layer] = []
        for layer in layers:
            if isinstance(layer, keras.layers.Dense):
                affine = _dense.Affine(np.empty(0), None)
                self._follow(layer.kernel, affine, "kernel")
                if layer.use_bias:
                    self._follow(layer.bias, affine, "bias")
                built.append(affine)
            elif isinstance(layer, LogStd):
                append = _dense.AppendLogStd(np.empty(0))
                self._follow(layer.log_std, append, "log_std")
                built.append(append)
            activation = _ACTIVATIONS[_activation_of(layer) or "linear"]
            if activation is not None:
                built.append(activation)
        self._layers = built
        self._read()
        probe = np.random.default_rng(0).standard_normal((3, *self._model.input_shape[1:])).astype(np.float32)
        output = self._model(probe, training=False).numpy()
        if not np.allclose(_dense.forward(built, probe), output, atol=1e-4, rtol=1e-3):
            self._layers = None
            return
        free = keras.Variable(0.0).value  # a graph that has captured a variable holds a reference to its handle
        if all(sys.getrefcount(variable.handle) <= sys.getrefcount(free.handle) for variable in self._variables):
            self._patience = _EAGER_SECONDS
        for variable in self._variables:
            self._watch(variable)

    def _follow(self, variable: Variable, mirror: object, name: str) -> None:
        self._variables.append(variable.value)
        self._mirrors.append((mirror, name))

    def _read(self) -> None:
        """Bring the mirror up to date. The buffers are kept: TensorFlow then never writes to them."""
        self._stale = False
        self._seen_updates = OWN_UPDATES.made
        self._buffers = [tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype) for v in self._variables]
        for buffer, (mirror, name) in zip(self._buffers, self._mirrors, strict=True):
            setattr(mirror, name, np.asarray(buffer))

    def _watch(self, variable: object) -> None:
        for name in _MUTATORS:
            original = getattr(variable, name)

            def watched(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
                self._stale = True
                if not tf.executing_eagerly() and not OWN_UPDATES.running:
                    self._always_read = True
                return _original(*args, **kwargs)

            setattr(variable, name, watched)


def stack_of(model: Model) -> list[keras.layers.Layer] | None:
    """Return the layers of a plain dense chain in order, None if the model is anything else."""
    if type(model) is not keras.Sequential and type(model).__name__ != "Functional":
        return None
    shapes = model.input_shape, model.output_shape
    if any(not isinstance(shape, tuple) or len(shape) != 2 for shape in shapes):
        return None
    if isinstance(getattr(model, "_outputs_struct", None), dict | list | tuple):  # whose shape is given as that of one
        return None
    layers: list[keras.layers.Layer] = []
    for layer in model.layers:
        inner = stack_of(layer) if isinstance(layer, keras.Model) else [layer]
        if inner is None or any(_activation_of(one) is None for one in inner):
            return None
        layers += inner
    return layers if any(isinstance(layer, keras.layers.Dense) for layer in layers) else None


def _activation_of(layer: Any) -> str | None:
    """Return the name of the activation that a layer ends with, None if numpy cannot stand for the layer."""
    kind = type(layer)
    if kind is keras.layers.Dense and not isinstance(layer.kernel, keras.Variable):
        return None  # of low-rank adaptation: computed from several
    if kind in (keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Identity, LogStd):
        return "linear"
    if kind in (keras.layers.Dense, keras.layers.Activation):
        name = getattr(layer.activation, "__name__", "")
        is_own = _ACTIVATIONS.get(name, ...) is not ... and layer.activation is keras.activations.get(name)
        return name if is_own and layer.compute_dtype == "float32" else None
    return None
