"""What agents ask of a Keras optimizer: its parts, its state, its rates, a step, and a new start."""

from collections.abc import Mapping, Sequence

import numpy as np

from tensor_optix.adapters.backend import Optimizer, Tensor
from tensor_optix.adapters.saving.weights import check_weights
from tensor_optix.adapters.tensorflow._keras import Variable, keras
from tensor_optix.adapters.tensorflow._variables import as_array
from tensor_optix.errors import CheckpointMismatchError, ContractError, HyperparamError
from tensor_optix.support.plain import Json


def check_optimizer(name: str, optimizer: Optimizer, variables: Sequence[Variable]) -> None:
    """Raise `ContractError` unless an optimizer can train the variables; one that is not built is built for them."""
    refuse_kind(name, optimizer)
    if not optimizer.built:
        optimizer.build(list(variables))
        return
    bound = {id(v) for v in bound_variables(optimizer)}
    strange = [v.path for v in variables if v.trainable and id(v) not in bound]
    if strange:
        raise ContractError(
            f"{name} is already bound to other variables; it does not train {strange[0]!r}. "
            f"Give each agent an optimizer of its own."
        )


def refuse_kind(name: str, optimizer: Optimizer) -> None:
    """Raise `ContractError` for an optimizer that keeps the weights a second time, which loading the best leaves."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    for part in (inner, *getattr(inner, "optimizers", ())):
        if type(part).__name__ == "ScheduleFreeAdamW":
            raise ContractError(
                f"{name} is ScheduleFreeAdamW, which keeps the weights a second time, and goes on from those where the "
                f"loop goes back to its best policy. Use AdamW."
            )
        if part.use_ema:
            raise ContractError(
                f"{name} keeps an average of the weights, which stays where it was when the loop goes back to its best "
                f"policy. Make it with use_ema=False."
            )


def bound_variables(optimizer: Optimizer) -> list[Variable]:
    """Return the weights that an optimizer was built for."""
    return list(getattr(optimizer, "inner_optimizer", optimizer)._trainable_variables)


def scales_loss(optimizer: Optimizer) -> bool:
    """Return whether an optimizer takes the gradients of its `scale_loss(loss)` instead of those of the loss."""
    return hasattr(optimizer, "inner_optimizer") or optimizer.loss_scale_factor is not None


def apply_gradients(optimizer: Optimizer, pairs: Sequence[tuple[Tensor, Variable]]) -> None:
    """Make one step on (gradient, variable) pairs, which need not be all that the optimizer was built for."""
    if not hasattr(optimizer, "optimizers"):
        optimizer.apply_gradients(list(pairs))
        return
    # A MultiOptimizer takes a gradient of every variable or none.
    home = {key: optimizer.optimizers[i] for key, i in optimizer._var_to_optimizer_idx.items()}
    for part in optimizer.optimizers:
        own = [(gradient, v) for gradient, v in pairs if home[optimizer._var_key(v)] is part]
        if own:
            part.apply_gradients(own)
    optimizer.iterations.assign_add(1)


def state_of(optimizer: Optimizer) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
    """See `Backend.optimizer_state`."""
    arrays = {str(i): as_array(variable) for i, variable in enumerate(optimizer.variables)}
    return arrays, {"kind": type(optimizer).__name__}


def set_state(optimizer: Optimizer, arrays: Mapping[str, np.ndarray], settings: Mapping[str, object]) -> None:
    """See `Backend.set_optimizer_state`."""
    expected = {str(i): tuple(variable.shape) for i, variable in enumerate(optimizer.variables)}
    if settings.get("kind") != type(optimizer).__name__:
        raise CheckpointMismatchError(
            f"The saved optimizer is {settings.get('kind')!r}, this is {type(optimizer).__name__!r}."
        )
    check_weights(expected, arrays)
    for i, variable in enumerate(optimizer.variables):
        variable.assign(arrays[str(i)])


def restart(optimizer: Optimizer) -> None:
    """See `Backend.restart_optimizer`."""
    if hasattr(optimizer, "inner_optimizer"):
        optimizer.step_counter.assign(0)
        optimizer.dynamic_scale.assign(optimizer.initial_scale)
    if hasattr(optimizer, "optimizers"):
        optimizer.iterations.assign(0)
    for part in _parts(optimizer):
        fresh = type(part).from_config(part.get_config())
        fresh.build(bound_variables(part))
        for variable, new in zip(part.variables, fresh.variables, strict=True):
            variable.assign(new)


def learning_rates(optimizer: Optimizer) -> list[float]:
    """See `Backend.learning_rates`; Keras keeps them in float32, here they are the numbers that were given."""
    _refuse_schedule(optimizer)
    return [float(str(np.float32(as_array(part.learning_rate)))) for part in _parts(optimizer)]


def set_learning_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    """See `Backend.set_learning_rates`."""
    _refuse_schedule(optimizer)
    for part, rate in zip(_parts(optimizer), rates, strict=True):
        part.learning_rate = rate


def _parts(optimizer: Optimizer) -> list[Optimizer]:
    """Return what makes the steps: one optimizer, or those of a `MultiOptimizer`."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return [part for part in inner.optimizers if part.built] if hasattr(inner, "optimizers") else [inner]


def _refuse_schedule(optimizer: Optimizer) -> None:
    for part in _parts(optimizer):
        if not isinstance(part._learning_rate, keras.Variable):
            is_schedule = isinstance(part._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
            kind = "LearningRateSchedule" if is_schedule else "function for its learning rate"
            raise HyperparamError(
                f"The optimizer follows a {kind}, so learning_rate cannot be put in force. "
                f"Give it a number: the loop tunes it while training."
            )
