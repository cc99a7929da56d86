"""Random numbers that Keras models draw, as dropout does: from the agent's seed, and part of its state."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from keras.src.backend.common import global_state

from tensor_optix.adapters.backend import Model
from tensor_optix.adapters.tensorflow._keras import Variable, keras, tf
from tensor_optix.errors import CheckpointMismatchError, ContractError

_KERAS = "global_seed_generator"
"""Under this name Keras keeps what `keras.random` draws from where it is given no seed."""
_UNSEEDED = (
    "Random",
    "TruncatedNormal",
    "ParameterizedTruncatedNormal",
    "Multinomial",
)
"""How the names of TensorFlow's operations begin that draw from a state within the operation itself."""


def _global_generator() -> Any:
    try:
        return tf.random.get_global_generator()
    except RuntimeError:  # with deterministic operations there is none until somebody sets one
        return None


class TFRandomness:
    """Within `with`, what draws from the generators of the process draws from the agent's own.

    Those are Keras' global `SeedGenerator` and TensorFlow's global `tf.random.Generator`. Layers have further ones, of
    their own, which are seeded and saved with them.
    """

    def __init__(self) -> None:
        self._keras = keras.random.SeedGenerator(0, name="agent_seed_generator")
        self._tensorflow = tf.random.Generator.from_seed(0)
        self._outside: list[tuple[Any, Any]] = []

    def __enter__(self) -> None:
        self._outside.append((global_state.get_global_attribute(_KERAS), _global_generator()))
        global_state.set_global_attribute(_KERAS, self._keras)
        tf.random.set_global_generator(self._tensorflow)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        of_keras, of_tensorflow = self._outside.pop()
        global_state.set_global_attribute(_KERAS, of_keras)
        tf.random.set_global_generator(of_tensorflow)

    def seed(self, models: Mapping[str, Model], seed: int | None) -> None:
        """Restart all generators; None takes a seed from the system, and leaves those of the layers as they are."""
        root = np.random.SeedSequence(seed)
        layers = self._of_layers(models)
        first, second, *others = (int(child.generate_state(1)[0] >> 1) for child in root.spawn(2 + len(layers)))
        self._keras.state.assign([first, 0])
        self._tensorflow.reset_from_seed(second)
        if seed is not None:
            for state, of_layer in zip(layers.values(), others, strict=True):
                state.assign([of_layer, 0])

    def state(self, models: Mapping[str, Model]) -> dict[str, np.ndarray]:
        """Return where each generator is."""
        return {name: variable.numpy() for name, variable in self._variables(models).items()}

    def restore(self, models: Mapping[str, Model], state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state`; a generator that it lacks stays where it is.

        Raises:
            CheckpointMismatchError: one has another shape or type; nothing is changed then.
        """
        known = {name: variable for name, variable in self._variables(models).items() if name in state}
        for name, variable in known.items():
            own = variable.numpy()
            if state[name].shape != own.shape or state[name].dtype != own.dtype:
                raise CheckpointMismatchError(
                    f"The saved state of generator {name!r} has shape {state[name].shape} and {state[name].dtype}, not "
                    f"{own.shape} and {own.dtype}."
                )
        for name, variable in known.items():
            variable.assign(state[name])

    def _variables(self, models: Mapping[str, Model]) -> dict[str, Variable]:
        return {"keras": self._keras.state, "tensorflow": self._tensorflow.state, **self._of_layers(models)}

    def _of_layers(self, models: Mapping[str, Model]) -> dict[str, Variable]:
        """Return the states of the layers' own generators, by model and position; a shared one counts once."""
        found: dict[int, tuple[str, Variable]] = {}
        for name, model in models.items():
            generators = (g for layer in layers_of(model) for g in getattr(layer, "_seed_generators", ()))
            for i, generator in enumerate(generators):
                found.setdefault(id(generator), (f"{name}.{i}", generator.state))
        return dict(found.values())


def refuse_unseeded(name: str, graph: Any) -> None:
    """Raise `ContractError` where a traced graph draws numbers that no seed repeats and no state holds."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    for node in nodes:
        if node.op.startswith(_UNSEEDED):
            raise ContractError(
                f"{name} draws random numbers by TensorFlow's {node.op}, which no seed repeats and no state holds. Use "
                f"keras.layers.Dropout, keras.random or tf.random.get_global_generator() in place of tf.nn.dropout and "
                f"tf.random."
            )


def may_be_unseeded(model: Model) -> bool:
    """Return whether a model has code other than that of Keras' own layers, all of which can be seeded."""
    return any(
        isinstance(layer, keras.layers.Lambda) or not type(layer).__module__.startswith(("keras.", "tensor_optix."))
        for layer in layers_of(model)
    )


def check_randomness(name: str, model: Model) -> None:
    """Raise `ContractError` where a model of the user's own code cannot be seeded; see `refuse_unseeded`.

    What it does in training is looked at where the shape of its input is known.
    """
    if not may_be_unseeded(model):
        return
    signature = _signature_of(model)
    if signature is None:
        return
    try:
        traced = tf.function(lambda x: model(x, training=True)).get_concrete_function(signature)
    except Exception:  # whether it takes its inputs at all is for the environment's spaces to show
        return
    refuse_unseeded(name, traced.graph)


def _signature_of(model: Model) -> Any:
    """Return what a model takes, None where that is not known."""
    struct = getattr(model, "_inputs_struct", None)
    if struct is not None:
        return tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), struct)
    shapes = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if len(shapes) != 1 or not isinstance(shapes[0], tuple) or not all(isinstance(n, int | None) for n in shapes[0]):
        return None
    return tf.TensorSpec((None, *shapes[0][1:]), tf.float32)


def layers_of(model: Model) -> Iterable[keras.layers.Layer]:
    """Return the layers of a model, those within others included."""
    return model._flatten_layers() if isinstance(model, keras.layers.Layer) else ()
