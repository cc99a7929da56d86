"""PPO for TensorFlow."""

from tensor_optix.adapters.tensorflow._keras import keras
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.algorithms._distributions import Distribution
from tensor_optix.algorithms._ppo import PPOAgent
from tensor_optix.core.types import HyperparamSet


class TFPPOAgent(PPOAgent):
    """Proximal Policy Optimization with your own Keras models.

        actor = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(64, "tanh"), keras.layers.Dense(2)])
        critic = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(64, "tanh"), keras.layers.Dense(1)])
        agent = TFPPOAgent(
            actor=actor,
            critic=critic,
            optimizer=keras.optimizers.Adam(3e-4),
            hyperparams=HyperparamSet(params={"learning_rate": 3e-4, "clip_ratio": 0.2}),
        )

    The whole update of a window, every epoch and minibatch and the optimizer, is one XLA program. Tuning
    `learning_rate`, `clip_ratio`, `entropy_coef` or `n_epochs` compiles nothing again.

    Args:
        actor: any built Keras model: observations (B, ...) → logits (B, n) or (B, Σ nvec), or [mean ‖ log_std] (B, 2A).
        critic: any built Keras model: observations (B, ...) → value (B, 1).
        optimizer: any Keras optimizer that is not bound to other variables; `learning_rate` is put in force in it.
        hyperparams: overrides of `PPO_HYPERPARAMS`; keys not in that table are kept and ignored.
        distribution: `"categorical"` for Discrete actions, `"gaussian"` for Box actions, `MultiCategorical(nvec)` for
            MultiDiscrete and MultiBinary actions.
        seed: seed of exploration and minibatch order; None takes one from the system.
        compile: True compiles the update with XLA, falling back with a warning; False runs the plain graph; None
            compiles unless a model has convolutions.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
        ContractError: no Keras model or optimizer, or an optimizer bound to other variables.
        ModelShapeError: a model is not built.
    """

    def __init__(
        self,
        actor: keras.Model,
        critic: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet,
        *,
        distribution: str | Distribution = "categorical",
        seed: int | None = None,
        compile: bool | None = None,
    ) -> None:
        super().__init__(
            TFBackend(),
            {"actor": actor, "critic": critic},
            optimizer,
            hyperparams,
            distribution=distribution,
            seed=seed,
            compile=compile,
        )
