"""DQN for TensorFlow."""

from tensor_optix.adapters.tensorflow._keras import keras
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.algorithms._dqn import DQNAgent
from tensor_optix.core.types import HyperparamSet


class TFDQNAgent(DQNAgent):
    """Deep Q-Network with your own Keras model.

        q_network = keras.Sequential(
            [keras.layers.Input((4,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2)]
        )
        agent = TFDQNAgent(
            q_network=q_network,
            n_actions=2,
            optimizer=keras.optimizers.Adam(1e-3),
            hyperparams=HyperparamSet(params={"learning_rate": 1e-3, "batch_size": 64}),
        )

    Args:
        q_network: any built Keras model: observations (B, ...) → values of all actions (B, n).
        n_actions: n, the number of actions.
        optimizer: any Keras optimizer that is not bound to other variables; `learning_rate` is put in force in it.
        hyperparams: overrides of `DQN_HYPERPARAMS`; keys not in that table are kept and ignored.
        seed: seed of exploration and of the choice of transitions; None takes one from the system.
        compile: True compiles the update with XLA, falling back with a warning; False runs the plain graph; None
            compiles unless a model has convolutions.
        save_replay: False leaves the replay memory out of `save_training_state`.

    Raises:
        HyperparamError: an unknown key that looks misspelt, a value out of its range, or `batch_size` above
            `replay_capacity`.
        ContractError: no Keras model or optimizer, or an optimizer bound to other variables.
        ModelShapeError: the model is not built.
    """

    def __init__(
        self,
        q_network: keras.Model,
        n_actions: int,
        optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet,
        *,
        seed: int | None = None,
        compile: bool | None = None,
        save_replay: bool = True,
    ) -> None:
        super().__init__(
            TFBackend(),
            q_network,
            n_actions,
            optimizer,
            hyperparams,
            seed=seed,
            compile=compile,
            save_replay=save_replay,
        )
