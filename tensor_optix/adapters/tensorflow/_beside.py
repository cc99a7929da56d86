"""XLA's compilation in a thread, which needs no lock of Python's, while environments are measured and play."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from tensor_optix.adapters.backend import Tensor
from tensor_optix.adapters.tensorflow._keras import tf


class Traced(Protocol):
    """A concrete function."""

    @property
    def variables(self) -> Sequence[Tensor]:
        """What it reads and writes."""
        ...

    @property
    def captured_inputs(self) -> Sequence[Tensor]:
        """What it is run on beside its arguments, the handles of its variables among them."""
        ...


def compile_beside(traced: Traced, arguments: Sequence[object]) -> threading.Thread | None:
    """Begin to compile a traced program, and return the thread; None where it cannot be run on other variables.

    XLA compiles what is run, so it is run, on variables that stand in for its own: whoever runs it with its own finds
    it compiled, or waits for the rest, and nothing that somebody reads or writes meanwhile is touched.

    Args:
        traced: what XLA is to compile.
        arguments: what it is to be run on; it should do nothing with them that takes long.
    """
    run: Callable[[list[Tensor], list[Tensor]], object] | None = getattr(traced, "_call_flat", None)
    stand_ins = {id(own.handle): tf.Variable(tf.zeros(own.shape, own.dtype)) for own in traced.variables}
    captured = [stand_ins[id(one)].handle if id(one) in stand_ins else one for one in traced.captured_inputs]
    known = [one is not own for one, own in zip(captured, traced.captured_inputs, strict=True)]
    is_resource = [one.dtype == tf.resource for one in captured]
    if run is None or known != is_resource:
        return None
    inputs = list(tf.nest.flatten(arguments))

    def compile_it() -> None:
        with contextlib.suppress(Exception):  # whoever runs the program meets the same error, and says it
            run(inputs, captured)
        stand_ins.clear()

    thread = threading.Thread(target=compile_it, name="compiling")
    thread.start()
    return thread
