"""The generic agent for TensorFlow."""

from collections.abc import Callable

from tensor_optix.adapters._policy_gradient import PolicyGradientAgent
from tensor_optix.adapters.backend import Tensor
from tensor_optix.adapters.tensorflow._keras import keras
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.core.types import EpisodeData, HyperparamSet


class TFAgent(PolicyGradientAgent):
    """REINFORCE, or A2C where windows carry `values`, over any Keras model that returns logits.

        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(2)])
        agent = TFAgent(model, keras.optimizers.Adam(), HyperparamSet(params={"learning_rate": 1e-2}))

    Args:
        model: observations (B, ...) → logits (B, n).
        optimizer: any Keras optimizer.
        hyperparams: `learning_rate`, `gamma`, `entropy_coef`; other keys are kept and ignored.
        compute_loss_fn: `(model, episode_data) -> scalar loss tensor`, in place of the policy gradient.
        seed: seed of exploration; None takes one from the system.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
        ContractError: no Keras model or optimizer, or an optimizer bound to other variables.
        ModelShapeError: the model is not built.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet,
        compute_loss_fn: Callable[[keras.Model, EpisodeData], Tensor] | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(TFBackend(), model, optimizer, hyperparams, compute_loss_fn, seed)
