"""Soft Actor-Critic: the one recipe, over a `Backend`. The constructors are in `torch_sac` and `tf_sac`.

Source: Soft Actor-Critic Algorithms and Applications (Haarnoja et al., 2018).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tensor_optix.adapters._checks import check_actions, check_box, check_output, check_pair_output
from tensor_optix.adapters.backend import TARGET_RATE, Backend, Model, Objective, Tensor
from tensor_optix.adapters.saving.store import Extra, part_of, without_part
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.algorithms import _squashed_gaussian as squashed_gaussian
from tensor_optix.algorithms._losses import sac_actor_loss, sac_alpha_loss, sac_critic_loss, td_target
from tensor_optix.algorithms._off_policy import TargetsAndLearner
from tensor_optix.algorithms._off_policy_agent import OffPolicyAgent
from tensor_optix.algorithms._replay_learner import REPLAY_HYPERPARAMS, check_window
from tensor_optix.algorithms._update_beside import Said
from tensor_optix.algorithms.noise import noise_named
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import Hyperparam, HyperparamTable, Param
from tensor_optix.core.types import EpisodeData, HyperparamSet, Observation, Space
from tensor_optix.errors import CheckpointMismatchError, InvalidArgumentError, SpaceError
from tensor_optix.support.plain import SavedState

SAC_HYPERPARAMS = HyperparamTable(
    "SAC",
    {
        "learning_rate": Hyperparam(
            default=3e-4,
            low=0.0,
            low_open=True,
            high=1.0,
            tune=Param(1e-5, 3e-3, "log"),
            doc="Adam learning rate of all three optimizers",
        ),
        "gamma": Hyperparam(default=0.99, low=0.0, high=1.0, doc="Discount factor (γ)"),
        "tau": Hyperparam(
            default=0.005, low=0.0, low_open=True, high=1.0, doc="Share of the critics in their targets per step (τ)"
        ),
        **REPLAY_HYPERPARAMS,
        "batch_size": Hyperparam(default=256, low=1, high=10**6, integer=True, doc="Transitions per gradient step"),
        "replay_capacity": Hyperparam(
            default=1_000_000, low=1, high=10**10, integer=True, doc="Transitions remembered"
        ),
        "log_alpha_init": Hyperparam(default=0.0, low=-20.0, high=20.0, doc="log of the temperature at the start"),
    },
)
_NOISE = "noise"
"""Under this name the exploration noise is saved."""


class SACAgent(OffPolicyAgent, BaseAgent):
    """Acts by a squashed Gaussian, learns from a replay memory; everything framework-specific is behind `backend`.

    y = r + γ·(1 − terminated)·(min(Q₁, Q₂)_target(s′, a′) − α·log π(a′|s′)),  a′ ~ π(·|s′)

    Args:
        backend: the framework.
        models: `actor` (observations → [mean ‖ log_std] (B, 2A)), `critic1` and `critic2`
            ([observations ‖ actions], or both as two inputs, → (B, 1)).
        action_dim: A.
        optimizers: `actor_optimizer`, `critic_optimizer` (over both critics) and `alpha_optimizer`.
        hyperparams: overrides of `SAC_HYPERPARAMS`.
        exploration_noise: `"white"`, or `"pink"`: correlated in time.
        seed: seed of exploration, of the choice of transitions and of the updates; None takes one from the system.
        compile: True, False, or None to compile the update once a run proves to be long.
        save_replay: keep the replay memory in `save_training_state`.

    Raises:
        HyperparamError: a key that looks misspelt, a value out of range, or `batch_size` above `replay_capacity`.
        InvalidArgumentError: `action_dim` below 1, or an unknown kind of noise.
    """

    action_range = (-1.0, 1.0)
    """Of tanh."""

    def __init__(
        self,
        backend: Backend,
        models: Mapping[str, Model],
        action_dim: int,
        optimizers: Mapping[str, object],
        hyperparams: HyperparamSet,
        *,
        exploration_noise: str,
        seed: int | None,
        compile: bool | None,
        save_replay: bool,
    ) -> None:
        trained = {"actor_optimizer": ("actor",), "critic_optimizer": ("critic1", "critic2")}
        if not isinstance(action_dim, int | np.integer) or action_dim < 1:
            raise InvalidArgumentError(f"action_dim must be an integer of at least 1, but got {action_dim!r}.")
        critics = {name: backend.pair_model(models[name], int(action_dim)) for name in trained["critic_optimizer"]}
        models = {**models, "actor": backend.member_model(models["actor"]), **critics}
        backend.check(models, {name: (optimizers[name], names) for name, names in trained.items()})
        self._temperature = backend.temperature(optimizers["alpha_optimizer"])
        self._action_dim, self._exploration_noise = int(action_dim), exploration_noise
        learned = {**models, "temperature": self._temperature}
        super().__init__(backend, SAC_HYPERPARAMS, learned, optimizers, ("exploration", "replay", "update"), seed)
        self._critics = (models["critic1"], models["critic2"])
        online = {"target1": models["critic1"], "target2": models["critic2"]}
        self._off_policy = TargetsAndLearner(backend, online, save_replay=save_replay)
        self._policy = backend.predictor(models["actor"])
        self._critic_outputs = tuple(backend.predictor(critic) for critic in self._critics)
        self.set_hyperparams(hyperparams)
        self._set_log_alpha(self._hyperparams.params["log_alpha_init"])
        self._updater = backend.updater(self._objectives(models["actor"], optimizers), compile)

    def _objectives(self, actor: Model, optimizers: Mapping[str, object]) -> list[Objective]:
        """One update step: the critics, then the actor, then the temperature; the targets follow the critics."""
        targets = tuple(self._off_policy.targets.values())
        return [
            Objective(
                self._critic_loss,
                self._critics,
                optimizers["critic_optimizer"],
                reads=(*targets, actor, self._temperature),
                lagged=targets,
                name="critic",
            ),
            Objective(
                self._actor_loss,
                (actor,),
                optimizers["actor_optimizer"],
                reads=(*self._critics, self._temperature),
                name="actor",
            ),
            Objective(self._alpha_loss, (self._temperature,), optimizers["alpha_optimizer"], name="alpha"),
        ]

    def seed(self, seed: int | None) -> None:
        """Restart the random generators, and the noise that comes from one."""
        super().seed(seed)
        self._noise = noise_named(self._exploration_noise, self._action_dim)

    # --- acting ---

    def act(self, observation: Observation, *, deterministic: bool = False) -> np.ndarray:
        """Return an action for one observation, drawn or tanh(μ): float32 (A,) in (−1, 1)."""
        return self._chosen(self._acting(deterministic).one(observation)[None], deterministic)[0]

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> np.ndarray:
        """Return one action per row, drawn or tanh(μ), from one forward pass."""
        return self._chosen(self._acting(deterministic)(observations), deterministic)

    def _chosen(self, params: np.ndarray, deterministic: bool) -> np.ndarray:
        if deterministic:
            return squashed_gaussian.mode(params)
        return squashed_gaussian.sample(params, self._noise.draw(len(params), self._generators["exploration"]))

    # --- learning ---

    def learn(self, episode_data: EpisodeData) -> dict[str, float]:
        """Remember the window, make the gradient steps that it is due, and return diagnostics.

        Raises:
            BadDataError: a window that is not finite, or whose actions are not (T, A).
        """
        check_window(episode_data)
        check_actions(np.asarray(episode_data.actions), episode_data.length, size=self._action_dim)
        return {**self._learned(episode_data), "buffer_size": float(len(self._off_policy.learner))}

    def _update(self) -> Said:
        of_steps = ("actor_loss", "critic_loss", "alpha_loss", "entropy", "mean_q", "n_updates")
        return {
            **dict.fromkeys(of_steps, 0.0),
            **super()._update(),
            "alpha": math.exp(float(self._log_alpha().reshape(()))),
        }

    def _make_steps(self, batches: dict[str, Tensor]) -> dict[str, float]:
        p, rng = self._hyperparams.params, self._generators["update"]
        n_steps, batch_size = batches["rewards"].shape
        for name in ("noise", "next_noise"):
            batches[name] = rng.standard_normal((n_steps, batch_size, self._action_dim), np.float32)
        return self._updater.on_batches(batches, {"gamma": float(p["gamma"]), TARGET_RATE: float(p["tau"])})

    def _critic_loss(
        self, models: Sequence[Model], batch: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        critic1, critic2, target1, target2, actor, temperature = models
        ops = self._backend.ops

        def next_value() -> Tensor:
            following = batch["next_observations"]
            action, log_prob = squashed_gaussian.sample_with_log_prob(ops, actor(following), batch["next_noise"])
            pair = ops.concat([following, action])
            return ops.minimum(target1(pair)[..., 0], target2(pair)[..., 0]) - (
                ops.exp(temperature(following)) * log_prob
            )

        target = td_target(
            reward=batch["rewards"],
            terminated=batch["terminated"],
            next_q=ops.no_gradient(next_value),
            gamma=scalars["gamma"],
        )
        pair = ops.concat([batch["observations"], batch["actions"]])
        q1, q2 = critic1(pair)[..., 0], critic2(pair)[..., 0]
        loss = sac_critic_loss(ops, q1=q1, q2=q2, target=target)
        return loss, {"critic_loss": loss, "mean_q": ops.mean(ops.minimum(q1, q2))}

    def _actor_loss(
        self, models: Sequence[Model], batch: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        actor, critic1, critic2, temperature = models
        ops, observations = self._backend.ops, batch["observations"]
        action, log_prob = squashed_gaussian.sample_with_log_prob(ops, actor(observations), batch["noise"])
        pair = ops.concat([observations, action])
        alpha = ops.no_gradient(lambda: ops.exp(temperature(observations)))
        loss = sac_actor_loss(ops, log_prob=log_prob, q1=critic1(pair)[..., 0], q2=critic2(pair)[..., 0], alpha=alpha)
        return loss, {"actor_loss": loss, "entropy": -ops.mean(log_prob)}

    def _alpha_loss(
        self, models: Sequence[Model], batch: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        log_alpha = models[0](batch["observations"])
        loss = sac_alpha_loss(
            self._backend.ops,
            log_alpha=log_alpha,
            entropy=scalars["entropy"],
            target_entropy=-float(self._action_dim),
        )
        return loss, {"alpha_loss": loss}

    def _log_alpha(self) -> np.ndarray:
        (log_alpha,) = self._backend.weights({"temperature": self._temperature}).values()
        return log_alpha

    def _set_log_alpha(self, value: float) -> None:
        weights = self._backend.weights({"temperature": self._temperature})
        filled = {name: np.full(log_alpha.shape, value, np.float32) for name, log_alpha in weights.items()}
        self._backend.set_weights({"temperature": self._temperature}, filled)

    # --- saving ---

    def _extra_state(self) -> Extra:
        arrays, values = super()._extra_state()
        noise, position = self._noise.state()
        return {**{f"{_NOISE}.{name}": array for name, array in noise.items()}, **arrays}, {**values, "noise": position}

    def _check_extra_state(
        self, arrays: Mapping[str, TensorSpec], values: Mapping[str, object], params: Mapping[str, object]
    ) -> None:
        if "noise" not in values:
            raise CheckpointMismatchError(f"The training state has {sorted(values)}, where SAC has learner and noise.")
        others = {name: value for name, value in values.items() if name != "noise"}
        super()._check_extra_state(without_part(arrays, _NOISE), others, params)
        self._noise.check_saved(part_of(arrays, _NOISE), values["noise"])

    def _take_extra_state(self, arrays: Mapping[str, np.ndarray], values: SavedState) -> None:
        noise = noise_named(self._exploration_noise, self._action_dim)
        noise.restore(part_of(arrays, _NOISE), values["noise"])
        super()._take_extra_state(without_part(arrays, _NOISE), values)
        self._noise = noise

    # --- does it fit? ---

    def check_spaces(self, observation_space: Space, action_space: object) -> None:
        """Try the models on one observation and action, and compare their outputs with the action space.

        Raises:
            SpaceError: the action space is no bounded `Box` of A floats, or the observations are no vectors.
            ModelShapeError: a model refuses its input, or its output has another size.
            InvalidArgumentError: the replay memory is larger than the free memory.
        """
        check_box("SAC", self._action_dim, action_space)
        if len(getattr(observation_space, "shape", None) or ()) != 1:
            raise SpaceError(
                f"SAC joins observations and actions, so observations must be vectors, but the space is "
                f"{observation_space}. Flatten it, or use PPO."
            )
        check_output("actor", self._policy, observation_space, (2 * self._action_dim,), action_space)
        size = observation_space.shape[0] + self._action_dim
        for name, predict in zip(("critic1", "critic2"), self._critic_outputs, strict=True):
            check_pair_output(name, predict, size, f"{observation_space.shape[0]} + {self._action_dim}")
        self._off_policy.learner.announce(self._hyperparams.params, observation_space, action_space)
