"""Weights as named numpy arrays: do they fit a model? What models share is one array under several names."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from tensor_optix.adapters.saving.tensorfile import TensorSpec, load_tensors, refuse_non_finite
from tensor_optix.errors import CheckpointMismatchError


def check_weights(
    shapes: Mapping[str, tuple[int | None, ...]], weights: Mapping[str, np.ndarray], constants: Collection[str] = ()
) -> None:
    """Raise a typed error naming the first tensor that is missing, unknown, misshapen or not finite.

    `constants` are the names of those that need not be finite.
    """
    check_shapes(shapes, weights)
    refuse_non_finite(weights, constants)


def check_shapes(
    shapes: Mapping[str, tuple[int | None, ...]], weights: Mapping[str, np.ndarray] | Mapping[str, TensorSpec]
) -> None:
    """Raise `CheckpointMismatchError` naming the first tensor that is missing, unknown or misshapen."""
    for name, shape in shapes.items():
        if name not in weights:
            raise CheckpointMismatchError(f"The snapshot lacks tensor {name!r} of shape {shape}, which the model has.")
        if weights[name].shape != shape:
            raise CheckpointMismatchError(
                f"Tensor {name!r} has shape {weights[name].shape} in the snapshot, but {shape} in the model."
            )
    for name in weights:
        if name not in shapes:
            raise CheckpointMismatchError(f"The snapshot has tensor {name!r}, which the model lacks.")


def check_specs(own: Mapping[str, np.ndarray], saved: Mapping[str, np.ndarray] | Mapping[str, TensorSpec]) -> None:
    """Raise `CheckpointMismatchError` unless the saved tensors are just as the model's own: names, shapes, types."""
    check_shapes({name: array.shape for name, array in own.items()}, saved)
    for name, array in own.items():
        if saved[name].dtype != array.dtype:
            raise CheckpointMismatchError(
                f"Tensor {name!r} is of {saved[name].dtype} in the snapshot, but of {array.dtype} in the model."
            )


def shared_names(weights: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return the names of weights that have another name, too, each with the first one."""
    first: dict[int, str] = {}
    named = {name: first.setdefault(id(array), name) for name, array in weights.items()}
    return {name: other for name, other in named.items() if name != other}


def check_shared(own: Mapping[str, np.ndarray], saved: Mapping[str, np.ndarray]) -> None:
    """Raise `CheckpointMismatchError` where one weight of the models was saved as two that differ."""
    for name, other in shared_names(own).items():
        if name in saved and other in saved and not _are_equal(saved[name], saved[other]):
            raise CheckpointMismatchError(
                f"Tensors {other!r} and {name!r} are one weight in the model, but differ in the snapshot: it was made "
                f"by an agent of two separate networks. Load it into such an agent, of your own networks, or train "
                f"this one from the beginning."
            )


def _are_equal(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == second.dtype.kind == "f")


def check_shared_in(
    path: str, own: Mapping[str, np.ndarray], plain_name: Callable[[str], str], constants: Collection[str]
) -> None:
    """Do the same for a file of which nothing else is known yet.

    Args:
        path: as it was saved to.
        own: the models' present weights.
        plain_name: see `Backend.plain_name`.
        constants: names of tensors that need not be finite.
    """
    shared = shared_names(own)
    wanted = {*shared, *shared.values()}
    if not wanted:
        return
    tensors, _ = load_tensors(
        path, lambda specs, _: [name for name in specs if {name, plain_name(name)} & wanted], constants
    )
    check_shared(own, {name if name in own else plain_name(name): array for name, array in tensors.items()})


def stand_ins(specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Return arrays of those shapes and types that take no memory, for checks before the real ones are read."""
    return {name: np.broadcast_to(np.zeros((), spec.dtype), spec.shape) for name, spec in specs.items()}


def translated(
    weights: Mapping[str, np.ndarray], saved_order: Sequence[str], own: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the weights of a dense model saved by one framework under the names and in the layout of the other.

    PyTorch keeps a dense layer as (out, in), Keras as (in, out); biases and other vectors are the same. Tensors are
    matched by their order within each model.

    Args:
        weights: the saved arrays by name.
        saved_order: their names in the order of the saving model.
        own: this model's present weights, in its order.

    Raises:
        CheckpointMismatchError: another number of tensors, or one with more than two axes (convolutions are laid out
            differently throughout).
    """
    result = {}
    for model in {name.partition(".")[0]: None for name in (*own, *saved_order)}:
        saved_names = [name for name in saved_order if name.startswith(f"{model}.")]
        own_names = [name for name in own if name.startswith(f"{model}.")]
        if len(saved_names) != len(own_names):
            raise CheckpointMismatchError(
                f"The snapshot's {model} has {len(saved_names)} tensors, this one has {len(own_names)}; only the same "
                f"architecture can be loaded from another framework."
            )
        for saved_name, own_name in zip(saved_names, own_names, strict=True):
            array = weights[saved_name]
            if array.ndim > 2:
                raise CheckpointMismatchError(
                    f"Tensor {saved_name!r} of shape {array.shape} cannot be moved between frameworks; only "
                    f"dense models can."
                )
            result[own_name] = array.T if array.ndim == 2 else array
    return result
