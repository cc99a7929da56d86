"""Recurrent PPO for TensorFlow."""

from tensor_optix.adapters.tensorflow._keras import keras
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.algorithms._distributions import Distribution
from tensor_optix.algorithms._recurrent_ppo import RecurrentPPOAgent
from tensor_optix.core.types import HyperparamSet


class TFRecurrentPPOAgent(RecurrentPPOAgent):
    """Proximal Policy Optimization with a recurrent network of your own, or one of `make_agent`'s.

    The network is called with `(observations (B, T, ...), memory (B, S), begins (B, T) bool)` and returns
    `(outputs (B, T, P + 1), memory (B, S))`: the distribution's parameters and, last, the value; then what is
    remembered after the last step. Its attribute `memory_size` is S. Where `begins` is True it goes on from zeros.

    Args:
        network: such a built Keras model.
        optimizer: any Keras optimizer that is not bound to other variables. Its own rate is the default of
            `learning_rate`.
        hyperparams: overrides of `RECURRENT_PPO_HYPERPARAMS`; keys not in that table are kept and ignored.
        distribution: `"categorical"` for Discrete actions, `"gaussian"` for Box actions, `MultiCategorical(nvec)` for
            MultiDiscrete and MultiBinary actions.
        seed: seed of exploration and minibatch order; None takes one from the system.
        compile: True compiles the update with XLA, falling back with a warning; False runs the plain graph; None
            compiles unless the network has convolutions.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
        InvalidArgumentError: an unknown distribution.
        ContractError: no Keras model or optimizer, an optimizer bound to other variables, or no `memory_size`.
    """

    def __init__(
        self,
        network: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet,
        *,
        distribution: str | Distribution = "categorical",
        seed: int | None = None,
        compile: bool | None = None,
    ) -> None:
        super().__init__(
            TFBackend(), network, optimizer, hyperparams, distribution=distribution, seed=seed, compile=compile
        )
