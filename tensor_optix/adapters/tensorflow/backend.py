"""TensorFlow and Keras 3 behind the `Backend` protocol."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.adapters.backend import Model, Objective, Ops, Predictor, Tensor, Updater
from tensor_optix.adapters.saving.weights import check_weights
from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.adapters.tensorflow._models import LaggedModel, Temperature, are_constant
from tensor_optix.adapters.tensorflow._predictor import KerasPredictor
from tensor_optix.adapters.tensorflow._updater import TFUpdater, bound_variables, one_step, trainable_weights
from tensor_optix.errors import CheckpointMismatchError, ContractError, HyperparamError, ModelShapeError


class _TFOps:
    exp = staticmethod(tf.exp)
    sqrt = staticmethod(tf.sqrt)
    square = staticmethod(tf.square)
    minimum = staticmethod(tf.minimum)
    clip = staticmethod(tf.clip_by_value)
    where = staticmethod(tf.where)
    mean = staticmethod(tf.reduce_mean)
    tanh = staticmethod(tf.tanh)
    softplus = staticmethod(tf.math.softplus)

    @staticmethod
    def max(x: Tensor) -> Tensor:
        return tf.reduce_max(x, -1)

    @staticmethod
    def argmax(x: Tensor) -> Tensor:
        return tf.argmax(x, -1)

    @staticmethod
    def concat(parts: Sequence[Tensor]) -> Tensor:
        return tf.concat(list(parts), -1)

    @staticmethod
    def no_gradient(fn: Callable[[], Tensor]) -> Tensor:
        return tf.nest.map_structure(tf.stop_gradient, fn())

    @staticmethod
    def sum(x: Tensor) -> Tensor:
        return tf.reduce_sum(x, -1)

    @staticmethod
    def log_softmax(x: Tensor) -> Tensor:
        return tf.nn.log_softmax(x, -1)

    @staticmethod
    def gather(x: Tensor, indices: Tensor) -> Tensor:
        # As a product with a one-hot matrix: its gradient is one, too, where a gather's would be a scatter.
        return tf.reduce_sum(x * tf.one_hot(indices, tf.shape(x)[-1], dtype=x.dtype), -1)


class TFBackend:
    """The closed list of operations, on TensorFlow."""

    name = "tensorflow"
    ops: Ops = _TFOps()

    def check(self, models: Mapping[str, Model], optimizers: Mapping[str, tuple[object, Sequence[str]]]) -> None:
        """See `Backend.check`."""
        for name, model in models.items():
            if not isinstance(model, keras.Model):
                raise ContractError(f"{name} must be a keras.Model, but got {type(model).__name__}.")
            if not model.built or not model.weights:
                raise ModelShapeError(
                    f"{name} is not built: it has no weights yet. Start it with keras.layers.Input(...), or call it "
                    f"once on a batch of observations."
                )
        for name, (optimizer, trained) in optimizers.items():
            if not isinstance(optimizer, keras.optimizers.Optimizer):
                raise ContractError(f"{name} must be a keras.optimizers.Optimizer, but got {type(optimizer).__name__}.")
            variables = trainable_weights([models[name] for name in trained])
            if not optimizer.built:
                optimizer.build(variables)
                continue
            bound = {id(v) for v in bound_variables(optimizer)}
            strange = [v.path for v in variables if v.trainable and id(v) not in bound]
            if strange:
                raise ContractError(
                    f"{name} is already bound to other variables; it does not train {strange[0]!r}. "
                    f"Give each agent an optimizer of its own."
                )

    def predictor(self, model: keras.Model) -> Predictor:
        """See `Backend.predictor`."""
        return KerasPredictor(model)

    def updater(self, objective: Objective | Sequence[Objective], compile: bool | None) -> Updater:
        """See `Backend.updater`."""
        return TFUpdater(objective, compile)

    def lagged_copy(self, model: keras.Model) -> LaggedModel:
        """See `Backend.lagged_copy`."""
        return LaggedModel(model)

    def temperature(self, optimizer: object) -> Temperature:
        """See `Backend.temperature`."""
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ContractError(
                f"alpha_optimizer must be a keras.optimizers.Optimizer, but got {type(optimizer).__name__}."
            )
        if optimizer.built:
            raise ContractError(
                "alpha_optimizer is already bound to other variables. Give log α an optimizer of its own."
            )
        made = Temperature()
        optimizer.build(made.trainable_variables)
        return made

    def minimise(
        self, loss: Callable[[], Tensor], models: Sequence[Model], optimizer: keras.optimizers.Optimizer
    ) -> tuple[float, float]:
        """See `Backend.minimise`."""
        return one_step(loss, models, optimizer)

    def weights(self, models: Mapping[str, Model]) -> dict[str, np.ndarray]:
        """See `Backend.weights`; a path is the variable's position in its model and its name, `0.kernel`.

        Keras' own paths count the models of the process, so they differ from run to run.
        """
        return {name: _read(variable) for name, variable in _named_variables(models).items()}

    def set_weights(self, models: Mapping[str, Model], weights: Mapping[str, np.ndarray]) -> None:
        """See `Backend.set_weights`."""
        variables = _named_variables(models)
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        check_weights(shapes, weights, self.constants(models))
        for name, variable in variables.items():
            variable.assign(weights[name])

    def trainable(self, models: Mapping[str, Model]) -> Collection[str]:
        """See `Backend.trainable`."""
        return {name for name, variable in _named_variables(models).items() if variable.trainable}

    def constants(self, models: Mapping[str, Model]) -> Collection[str]:
        """See `Backend.constants`: what is not trainable, but running statistics."""
        return {
            name
            for model_name, model in models.items()
            for name, is_constant in zip(_named_variables({model_name: model}), are_constant(model), strict=True)
            if is_constant
        }

    def optimizer_state(self, optimizer: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """See `Backend.optimizer_state`."""
        return {str(i): _read(variable) for i, variable in enumerate(optimizer.variables)}, {
            "kind": type(optimizer).__name__
        }

    def set_optimizer_state(
        self, optimizer: Any, arrays: Mapping[str, np.ndarray], settings: Mapping[str, object]
    ) -> None:
        """See `Backend.set_optimizer_state`."""
        expected = {str(i): tuple(variable.shape) for i, variable in enumerate(optimizer.variables)}
        if settings.get("kind") != type(optimizer).__name__:
            raise CheckpointMismatchError(
                f"The saved optimizer is {settings.get('kind')!r}, this is {type(optimizer).__name__!r}."
            )
        check_weights(expected, arrays)
        for i, variable in enumerate(optimizer.variables):
            variable.assign(arrays[str(i)])

    def set_learning_rates(self, optimizer: Any, learning_rates: Sequence[float]) -> None:
        """See `Backend.set_learning_rates`; a Keras optimizer has one group."""
        _refuse_schedule(optimizer)
        (optimizer.learning_rate,) = learning_rates

    def learning_rates(self, optimizer: Any) -> list[float]:
        """See `Backend.learning_rates`; Keras keeps it in float32, here it is the number that was given."""
        _refuse_schedule(optimizer)
        return [float(str(np.float32(optimizer.learning_rate)))]


def _refuse_schedule(optimizer: Any) -> None:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        raise HyperparamError(
            "The optimizer follows a LearningRateSchedule, so learning_rate cannot be put in force. "
            "Give it a number: the loop tunes it while training."
        )


def _read(variable: Any) -> np.ndarray:
    """Return a copy of a variable's value. Its own `numpy()` takes three times as long, and each window asks twice."""
    own = variable.value if isinstance(variable, keras.Variable) else variable
    if not isinstance(own, tf.Variable) or not hasattr(own, "handle"):
        return variable.numpy()
    return tf.raw_ops.ReadVariableOp(resource=own.handle, dtype=own.dtype).numpy()


def _named_variables(models: Mapping[str, Model]) -> dict[str, Any]:
    # A plain tf.Variable puts ":0" behind its name, a Keras one does not.
    return {
        f"{name}.{i}.{v.name.removesuffix(':0')}": v
        for name, model in models.items()
        for i, v in enumerate(model.weights)
    }
