"""A program that is compiled in a thread, on variables that stand in for its own."""

from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from tensor_optix.adapters.tensorflow._beside import compile_beside


def adding(variable: tf.Variable, constant: Any = 0.0) -> Any:
    def add(x: Any) -> Any:
        variable.assign_add(x + constant)
        return variable + 0.0

    return tf.function(add, jit_compile=True).get_concrete_function(tf.constant(1.0))


def test_the_own_variables_stay_as_they_are_and_the_program_works() -> None:
    variable = tf.Variable(tf.constant(5.0))
    traced = adding(variable, tf.constant(2.0))  # a constant of outside is captured, too
    thread = compile_beside(traced, [tf.constant(1.0)])
    assert thread is not None
    thread.join()
    assert float(variable) == 5.0
    assert float(traced(tf.constant(1.0))) == 8.0


def test_what_fails_is_left_to_whoever_runs_it() -> None:
    variable = tf.Variable(tf.constant(5.0))
    traced = adding(variable)
    thread = compile_beside(traced, [tf.constant([[1.0, 2.0]])])
    assert thread is not None
    thread.join()
    assert float(traced(tf.constant(1.0))) == 6.0


def test_a_program_that_cannot_be_run_on_other_variables_is_left_alone() -> None:
    of_another_version: Any = SimpleNamespace(variables=[], captured_inputs=[])
    assert compile_beside(of_another_version, []) is None
    handle = tf.Variable(tf.constant(1.0)).handle
    strange: Any = SimpleNamespace(variables=[], captured_inputs=[handle], _call_flat=lambda *_: None)
    assert compile_beside(strange, []) is None
