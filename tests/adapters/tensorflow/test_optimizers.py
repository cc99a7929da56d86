"""Keras optimizers: what is refused, rates, steps on some of the variables, and a new start."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tensor_optix.adapters.tensorflow import _optimizers
from tensor_optix.errors import CheckpointMismatchError, ContractError, HyperparamError

K = keras.optimizers


def variables() -> list[Any]:
    return [keras.Variable(np.full((2, 3), 0.5, np.float32), name="kernel"), keras.Variable(np.ones(3), name="bias")]


def several() -> Any:
    return K.MultiOptimizer(K.OptimizerMap(K.Adam(1e-3), {".*bias": K.SGD(1e-2)}))


MADE: dict[str, Any] = {
    "adam": lambda: K.Adam(1e-2),
    "nadam": lambda: K.Nadam(1e-2),
    "adagrad": lambda: K.Adagrad(1e-2),
    "ftrl": lambda: K.Ftrl(1e-2),
    "scaled": lambda: K.LossScaleOptimizer(K.Adam(1e-2), initial_scale=4.0, dynamic_growth_steps=2),
    "several": several,
}


def stepped(optimizer: Any, on: list[Any], steps: int) -> None:
    for i in range(steps):
        gradients = [tf.fill(v.shape, 0.1 * (i + 1)) for v in on]
        _optimizers.apply_gradients(optimizer, list(zip(gradients, on, strict=True)))


@pytest.mark.parametrize("kind", MADE)
def test_a_restarted_optimizer_makes_the_steps_of_a_new_one(kind: str) -> None:
    used, optimizer = variables(), MADE[kind]()
    _optimizers.check_optimizer("optimizer", optimizer, used)
    stepped(optimizer, used, 3)
    new, other = variables(), MADE[kind]()
    for ours, theirs in zip(new, used, strict=True):
        ours.assign(theirs)
    _optimizers.check_optimizer("optimizer", other, new)
    _optimizers.restart(optimizer)
    for one, theirs in ((optimizer, used), (other, new)):
        stepped(one, theirs, 3)
    for ours, theirs in zip(used, new, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_several_optimizers_are_groups_and_step_on_some_of_their_variables() -> None:
    both, optimizer = variables(), several()
    _optimizers.check_optimizer("optimizer", optimizer, both)
    assert sorted(_optimizers.learning_rates(optimizer)) == [1e-3, 1e-2]
    rates = [2.0 * rate for rate in _optimizers.learning_rates(optimizer)]
    _optimizers.set_learning_rates(optimizer, rates)
    assert _optimizers.learning_rates(optimizer) == rates
    _optimizers.apply_gradients(optimizer, [(tf.ones(3), both[1])])  # the kernel is frozen
    np.testing.assert_allclose(both[1].numpy(), 1.0 - 2e-2, rtol=1e-6)
    np.testing.assert_array_equal(both[0].numpy(), 0.5)


def test_state_comes_back_and_that_of_another_kind_is_refused() -> None:
    both, optimizer = variables(), K.Adam()
    _optimizers.check_optimizer("optimizer", optimizer, both)
    stepped(optimizer, both, 2)
    arrays, settings = _optimizers.state_of(optimizer)
    stepped(optimizer, both, 1)
    _optimizers.set_state(optimizer, arrays, settings)
    assert all(np.array_equal(array, arrays[name]) for name, array in _optimizers.state_of(optimizer)[0].items())
    with pytest.raises(CheckpointMismatchError, match="The saved optimizer is 'SGD', this is 'Adam'"):
        _optimizers.set_state(optimizer, arrays, {"kind": "SGD"})


def test_an_optimizer_of_other_variables_is_refused() -> None:
    optimizer = K.Adam()
    optimizer.build(variables())
    with pytest.raises(ContractError, match="already bound to other variables"):
        _optimizers.check_optimizer("optimizer", optimizer, variables())


@pytest.mark.parametrize(
    ("rate", "kind"),
    [(K.schedules.ExponentialDecay(1e-3, 10, 0.9), "LearningRateSchedule"), (lambda: 1e-3, "function")],
)
def test_a_rate_that_is_no_number_is_refused(rate: Any, kind: str) -> None:
    for optimizer in (K.Adam(rate), K.LossScaleOptimizer(K.SGD(rate))):
        with pytest.raises(HyperparamError, match=f"follows a {kind}.*Give it a number"):
            _optimizers.learning_rates(optimizer)


@pytest.mark.parametrize(
    ("made", "remedy"),
    [
        (lambda: K.ScheduleFreeAdamW(), "Use AdamW"),
        (lambda: K.LossScaleOptimizer(K.SGD(use_ema=True)), "use_ema=False"),
        (lambda: K.MultiOptimizer(K.OptimizerMap(K.Adam(), {".*bias": K.SGD(use_ema=True)})), "use_ema=False"),
    ],
)
def test_a_second_copy_of_the_weights_is_refused(made: Any, remedy: str) -> None:
    with pytest.raises(ContractError, match=remedy):
        _optimizers.refuse_kind("optimizer", made())


def test_who_scales_the_loss_is_known() -> None:
    assert _optimizers.scales_loss(K.LossScaleOptimizer(K.Adam()))
    assert _optimizers.scales_loss(K.Adam(loss_scale_factor=8.0))
    assert not _optimizers.scales_loss(K.Adam())
