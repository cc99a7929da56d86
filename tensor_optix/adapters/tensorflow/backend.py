"""TensorFlow and Keras 3 behind the `Backend` protocol."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tensor_optix.adapters._device_memory import DeviceMemory
from tensor_optix.adapters.backend import (
    Model,
    Objective,
    Ops,
    Optimizer,
    Predictor,
    RecurrentPredictor,
    Tensor,
    Updater,
)
from tensor_optix.adapters.saving.weights import check_weights
from tensor_optix.adapters.tensorflow import _optimizers
from tensor_optix.adapters.tensorflow._device_memory import TFDeviceMemory
from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.adapters.tensorflow._models import LaggedModel, Temperature, are_constant, refuse_memory
from tensor_optix.adapters.tensorflow._optimizers import check_optimizer, refuse_kind, scales_loss
from tensor_optix.adapters.tensorflow._placement import device_of, on
from tensor_optix.adapters.tensorflow._predictor import KerasPredictor
from tensor_optix.adapters.tensorflow._randomness import TFRandomness, check_randomness
from tensor_optix.adapters.tensorflow._recurrent import KerasRecurrentPredictor
from tensor_optix.adapters.tensorflow._trunk import joint_model
from tensor_optix.adapters.tensorflow._updater import TFUpdater, one_step
from tensor_optix.adapters.tensorflow._variables import (
    as_array,
    computes_in_float16,
    named_variables,
    plain_name,
    trainable_weights,
)
from tensor_optix.adapters.tensorflow.inputs import member_model, pair_model
from tensor_optix.errors import ContractError, ModelShapeError
from tensor_optix.support.plain import Json, SavedState


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

    def __init__(self) -> None:
        self._randomness = TFRandomness()
        self.programs: dict[str, str] = {}  # one graph per layout, traced whenever it comes
        self._scaling: dict[int, tuple[Optimizer, Optimizer]] = {}

    def check(self, models: Mapping[str, Model], optimizers: Mapping[str, tuple[object, Sequence[str]]]) -> None:
        """See `Backend.check`; where layers compute in float16, the optimizer works on a scaled loss from here on."""
        for name, model in models.items():
            if not isinstance(model, keras.Model):
                raise ContractError(f"{name} must be a keras.Model, but got {type(model).__name__}.")
            if not model.built or not model.weights:
                raise ModelShapeError(
                    f"{name} is not built: it has no weights yet. Start it with keras.layers.Input(...), or call it "
                    f"once on a batch of observations."
                )
            # In bfloat16, the 0.999 of Keras' own Adam is 1, and nothing would ever move.
            short = next((v.dtype for v in model.trainable_variables if v.dtype in ("float16", "bfloat16")), None)
            if short is not None:
                raise ContractError(
                    f"{name} has weights in {short}, in which an optimizer's moments and small steps are lost. Use the "
                    f"dtype policy 'mixed_{short}', whose weights are float32."
                )
            refuse_memory(name, model)
            check_randomness(name, model)
        for name, (optimizer, trained) in optimizers.items():
            if not isinstance(optimizer, keras.optimizers.Optimizer):
                raise ContractError(f"{name} must be a keras.optimizers.Optimizer, but got {type(optimizer).__name__}.")
            its_models = [models[name] for name in trained]
            if any(map(computes_in_float16, its_models)) and not scales_loss(optimizer):
                self._scaling[id(optimizer)] = optimizer, keras.optimizers.LossScaleOptimizer(optimizer)
            check_optimizer(name, self._in_use(optimizer), trainable_weights(its_models))

    def _in_use(self, optimizer: Optimizer) -> Optimizer:
        """Return the optimizer that works in the place of the one handed over, mostly that itself."""
        return self._scaling.get(id(optimizer), (None, optimizer))[1]

    def pair_model(self, model: Model, size: int) -> Model:
        """See `Backend.pair_model`."""
        return pair_model(model, size)

    def member_model(self, model: Model, n_others: int = 0) -> Model:
        """See `Backend.member_model`."""
        return member_model(model, n_others)

    def joint_model(self, actor: Model, critic: Model) -> Model | None:
        """See `Backend.joint_model`."""
        return joint_model(actor, critic)

    def predictor(self, model: keras.Model) -> Predictor:
        """See `Backend.predictor`."""
        return KerasPredictor(model, self._randomness)

    def recurrent_predictor(self, model: keras.Model) -> RecurrentPredictor:
        """See `Backend.recurrent_predictor`."""
        return KerasRecurrentPredictor(model)

    def updater(self, objective: Objective | Sequence[Objective], compile: bool | None, key: str = "update") -> Updater:
        """See `Backend.updater`."""
        listed = [objective] if isinstance(objective, Objective) else objective
        in_use = [replace(each, optimizer=self._in_use(each.optimizer)) for each in listed]
        return TFUpdater(in_use, compile, self._randomness)

    def lagged_copy(self, model: keras.Model) -> LaggedModel:
        """See `Backend.lagged_copy`."""
        return LaggedModel(model)

    def device_memory(self, models: Sequence[Model]) -> DeviceMemory | None:
        """See `Backend.device_memory`."""
        device = device_of(models)
        return TFDeviceMemory(device) if device is not None and "GPU" in device else None

    def temperature(self, optimizer: object) -> Temperature:
        """See `Backend.temperature`."""
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ContractError(
                f"alpha_optimizer must be a keras.optimizers.Optimizer, but got {type(optimizer).__name__}."
            )
        refuse_kind("alpha_optimizer", optimizer)
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
        with on(device_of(models)), self._randomness:
            return one_step(loss, models, self._in_use(optimizer))

    def weights(self, models: Mapping[str, Model]) -> dict[str, np.ndarray]:
        """See `Backend.weights`; a path is the variable's position in its model and its name, `0.kernel`."""
        variables = named_variables(models)
        arrays = {key: as_array(variable) for key, variable in {id(v): v for v in variables.values()}.items()}
        return {name: arrays[id(variable)] for name, variable in variables.items()}

    def set_weights(self, models: Mapping[str, Model], weights: Mapping[str, np.ndarray]) -> None:
        """See `Backend.set_weights`."""
        variables = named_variables(models)
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        check_weights(shapes, weights, self.constants(models))
        for name, variable in variables.items():
            variable.assign(weights[name])

    def trainable(self, models: Mapping[str, Model]) -> Collection[str]:
        """See `Backend.trainable`."""
        return {name for name, variable in named_variables(models).items() if variable.trainable}

    def constants(self, models: Mapping[str, Model]) -> Collection[str]:
        """See `Backend.constants`: what is not trainable, but running statistics."""
        return {
            name
            for model_name, model in models.items()
            for name, is_constant in zip(named_variables({model_name: model}), are_constant(model), strict=True)
            if is_constant
        }

    def plain_name(self, name: str) -> str:
        """See `Backend.plain_name`."""
        return plain_name(name)

    def optimizer_state(self, optimizer: object) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """See `Backend.optimizer_state`."""
        return _optimizers.state_of(self._in_use(optimizer))

    def set_optimizer_state(self, optimizer: object, arrays: Mapping[str, np.ndarray], settings: SavedState) -> None:
        """See `Backend.set_optimizer_state`."""
        _optimizers.set_state(self._in_use(optimizer), arrays, settings)

    def expected_moments(self, optimizer: object) -> dict[str, np.ndarray]:
        """See `Backend.expected_moments`; a Keras optimizer that is built has them all."""
        return self.optimizer_state(optimizer)[0]

    def restart_optimizer(self, optimizer: object) -> None:
        """See `Backend.restart_optimizer`."""
        _optimizers.restart(self._in_use(optimizer))

    def set_learning_rates(self, optimizer: object, learning_rates: Sequence[float]) -> None:
        """See `Backend.set_learning_rates`; each optimizer within a `MultiOptimizer` is a group."""
        _optimizers.set_learning_rates(optimizer, learning_rates)

    def learning_rates(self, optimizer: object) -> list[float]:
        """See `Backend.learning_rates`."""
        return _optimizers.learning_rates(optimizer)

    def seed(self, models: Mapping[str, Model], seed: int | None) -> None:
        """See `Backend.seed`."""
        self._randomness.seed(models, seed)

    def random_state(self, models: Mapping[str, Model]) -> dict[str, np.ndarray]:
        """See `Backend.random_state`."""
        return self._randomness.state(models)

    def set_random_state(self, models: Mapping[str, Model], state: Mapping[str, np.ndarray]) -> None:
        """See `Backend.set_random_state`."""
        self._randomness.restore(models, state)
