"""Adam with the paper's epsilon, so that both frameworks make the same steps."""

from typing import Any

from tensor_optix.adapters.backend import Tensor
from tensor_optix.adapters.tensorflow._keras import Variable, keras


class PaperAdam(keras.optimizers.Adam):
    """θ ← θ − α·m̂/(√v̂ + ε), with ε added *after* the bias correction, as in the paper's algorithm and in PyTorch.

    Keras adds it before (its "epsilon hat"), which makes ε some thirty times larger in the first steps.
    Source: Adam: A Method for Stochastic Optimization (Kingma and Ba, 2015).
    """

    def update_step(self, gradient: Tensor, variable: Variable, learning_rate: Tensor) -> None:
        """Make one step on one variable."""
        ops: Any = keras.ops
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations, variable.dtype) + 1.0
        correction1 = 1.0 - ops.power(ops.cast(self.beta_1, variable.dtype), step)
        correction2 = 1.0 - ops.power(ops.cast(self.beta_2, variable.dtype), step)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * (1.0 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1.0 - self.beta_2))
        self.assign_sub(variable, (rate / correction1) * m / (ops.sqrt(v / correction2) + self.epsilon))
