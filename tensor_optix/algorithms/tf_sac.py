"""SAC for TensorFlow."""

from tensor_optix.adapters.tensorflow._keras import keras
from tensor_optix.adapters.tensorflow.backend import TFBackend
from tensor_optix.algorithms._sac import SACAgent
from tensor_optix.core.types import HyperparamSet


class TFSACAgent(SACAgent):
    """Soft Actor-Critic with your own Keras models.

        def network(inputs, outputs):
            return keras.Sequential(
                [keras.layers.Input((inputs,)), keras.layers.Dense(256, "relu"), keras.layers.Dense(outputs)]
            )

        agent = TFSACAgent(
            actor=network(3, 2 * 1), critic1=network(3 + 1, 1), critic2=network(3 + 1, 1), action_dim=1,
            actor_optimizer=keras.optimizers.Adam(3e-4),
            critic_optimizer=keras.optimizers.Adam(3e-4),
            alpha_optimizer=keras.optimizers.Adam(3e-4),
            hyperparams=HyperparamSet(params={"learning_rate": 3e-4}),
        )

    Args:
        actor: any built Keras model: observations (B, ...) → [mean ‖ log_std] (B, 2A).
        critic1: any built Keras model: [observations ‖ actions] (B, O + A), or both as two inputs in this order, →
            value (B, 1).
        critic2: the same with weights of its own.
        action_dim: A, the number of action dimensions.
        actor_optimizer: any Keras optimizer that is not bound to other variables, for the actor's weights.
        critic_optimizer: any Keras optimizer that is not bound to other variables, for the weights of both critics.
        alpha_optimizer: the same, for log α.
        hyperparams: overrides of `SAC_HYPERPARAMS`; keys not in that table are kept and ignored. `learning_rate` is put
            in force in all three optimizers.
        exploration_noise: `"white"`, or `"pink"`: correlated in time, which explores farther.
        seed: seed of exploration, of the choice of transitions and of the updates; None takes one from the system.
        compile: True compiles the update with XLA, falling back with a warning; False runs the plain graph; None
            compiles unless a model has convolutions.
        save_replay: False leaves the replay memory out of `save_training_state`.

    Raises:
        HyperparamError: an unknown key that looks misspelt, a value out of its range, or `batch_size` above
            `replay_capacity`.
        ContractError: no Keras model or optimizer, or an optimizer bound to other variables.
        ModelShapeError: a model is not built.
    """

    def __init__(
        self,
        actor: keras.Model,
        critic1: keras.Model,
        critic2: keras.Model,
        action_dim: int,
        actor_optimizer: keras.optimizers.Optimizer,
        critic_optimizer: keras.optimizers.Optimizer,
        alpha_optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet,
        *,
        exploration_noise: str = "white",
        seed: int | None = None,
        compile: bool | None = None,
        save_replay: bool = True,
    ) -> None:
        super().__init__(
            TFBackend(),
            {"actor": actor, "critic1": critic1, "critic2": critic2},
            action_dim,
            {
                "actor_optimizer": actor_optimizer,
                "critic_optimizer": critic_optimizer,
                "alpha_optimizer": alpha_optimizer,
            },
            hyperparams,
            exploration_noise=exploration_noise,
            seed=seed,
            compile=compile,
            save_replay=save_replay,
        )
