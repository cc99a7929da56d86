"""Proximal Policy Optimization: the one recipe, over a `Backend`. The constructors are in `torch_ppo` and `tf_ppo`.

Source: Proximal Policy Optimization Algorithms (Schulman et al., 2017).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.adapters._ahead import CompilesAhead
from tensor_optix.adapters._checks import check_output, refuse_non_finite_window, warn_of_missing_bounds
from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.backend import Backend, Model, Objective, Tensor
from tensor_optix.algorithms._action_masks import checked_masks, window_masks
from tensor_optix.algorithms._distributions import (
    Distribution,
    as_argument,
    as_distribution,
    distribution_for,
    masked,
)
from tensor_optix.algorithms._forward import in_chunks
from tensor_optix.algorithms._losses import ppo_loss
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import Hyperparam, HyperparamTable, Param, Signal
from tensor_optix.core.trajectory_buffer import compute_gae, explained_variance, make_minibatches
from tensor_optix.core.types import Action, EpisodeData, HyperparamSet, Observation
from tensor_optix.errors import SpaceError

PPO_HYPERPARAMS = HyperparamTable(
    "PPO",
    {
        "learning_rate": Hyperparam(
            default=3e-4,
            low=0.0,
            low_open=True,
            high=1.0,
            tune=Param(1e-5, 1e-2, "log", signal=Signal("approx_kl", 0.002, 0.02, order=1.5)),
            doc="Adam learning rate",
        ),
        "clip_ratio": Hyperparam(
            default=0.2, low=0.0, low_open=True, high=1.0, tune=Param(0.05, 0.4), doc="PPO clipping epsilon (ε)"
        ),
        "entropy_coef": Hyperparam(
            default=0.01, low=0.0, high=10.0, tune=Param(0.0, 0.1), doc="Entropy bonus weight (c₂)"
        ),
        "vf_coef": Hyperparam(default=0.5, low=0.0, high=100.0, doc="Value loss weight (c₁)"),
        "gamma": Hyperparam(default=0.99, low=0.0, high=1.0, doc="Discount factor (γ)"),
        "gae_lambda": Hyperparam(default=0.95, low=0.0, high=1.0, doc="GAE smoothing (0 = TD, 1 = MC)"),
        "n_epochs": Hyperparam(default=10, low=1, high=1000, integer=True, doc="Update epochs per window"),
        "minibatch_size": Hyperparam(default=64, low=1, high=10**9, integer=True, doc="Minibatch size"),
        "max_grad_norm": Hyperparam(
            default=0.5, low=0.0, low_open=True, high=1e9, doc="Gradient clipping norm, over all weights"
        ),
    },
)

PPO_SCALARS = ("clip_ratio", "entropy_coef", "vf_coef", "max_grad_norm", "learning_rate")


class PPOAgent(BuiltInAgent, BaseAgent):
    """Acts and learns; everything framework-specific is behind `backend`.

    `act` remembers nothing: `learn` computes the old log-probabilities and the values from the window it is given,
    unless the window carries them (then another policy has acted).

    Args:
        backend: the framework.
        models: `actor` (observations → distribution parameters) and `critic` (observations → (B, 1)). Layers that both
            begin with are run once for both, but for dense stacks.
        optimizer: the framework's optimizer over both models' weights.
        hyperparams: overrides of `PPO_HYPERPARAMS`.
        distribution: what the actor's output means: a name, or the object.
        seed: seed of exploration and minibatch order; None takes one from the system.
        compile: True, False, or None to compile the update once a run proves to be long.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
        InvalidArgumentError: an unknown distribution.
    """

    def __init__(
        self,
        backend: Backend,
        models: Mapping[str, Model],
        optimizer: object,
        hyperparams: HyperparamSet,
        distribution: str | Distribution,
        seed: int | None,
        compile: bool | None,
    ) -> None:
        models = {name: backend.member_model(model) for name, model in models.items()}
        backend.check(models, {"optimizer": (optimizer, ("actor", "critic"))})
        super().__init__(backend, PPO_HYPERPARAMS, models, {"optimizer": optimizer}, ("exploration", "order"), seed)
        self._actor, self._critic = models["actor"], models["critic"]
        self._distribution = as_distribution(distribution)
        self._policy = backend.predictor(self._actor)
        self._value = backend.predictor(self._critic)
        # Dense stacks are trained as they are: running a trunk twice in numpy takes less than once in the framework.
        joint = backend.joint_model(self._actor, self._critic) if self._policy.frozen() is None else None
        self._both = None if joint is None else backend.predictor(joint)
        trained = (self._actor, self._critic) if joint is None else (joint,)
        objective = Objective(self._loss, trained, optimizer, max_grad_norm="max_grad_norm", inputs=("observations",))
        self._update = backend.updater(objective, compile)
        self._has_warned = False
        self.set_hyperparams(hyperparams)

    # --- acting ---

    @property
    def action_range(self) -> tuple[float, float] | None:
        """(-1, 1) of a Gaussian policy, whose actions are clipped to it; None where actions are choices."""
        return (-1.0, 1.0) if self._distribution.name == "gaussian" else None

    def act(self, observation: Observation, *, deterministic: bool = False) -> Action:
        """Return an action for one observation, drawn or greedy: an int, int64 (K,) of K choices, or float32 (A,)."""
        action = self._choose(self._policy.one(observation), deterministic)
        return action if action.ndim else int(action)

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> np.ndarray:
        """Return one action per row, drawn or greedy, from one forward pass."""
        return self._choose(self._policy(observations), deterministic)

    def act_masked(self, observations: object, action_masks: object, *, deterministic: bool = False) -> np.ndarray:
        """Return one action per row, drawn or greedy among those whose logits `action_masks` (B, P) allows.

        Raises:
            BadDataError: masks of another shape, or a row that allows nothing.
            SpaceError: a Gaussian policy.
        """
        params = self._policy(observations)
        masks = checked_masks(self._distribution, action_masks, *params.shape)
        return self._choose(masked(NUMPY_OPS, params, masks), deterministic)

    def action_probs(self, observations: object, action_masks: object = None) -> np.ndarray | None:
        """Return π(·|s) (B, n) for one discrete choice, None for several at once or for numbers; see `act_masked`."""
        if self._distribution.name != "categorical":
            return None
        params = self._policy(observations)
        if action_masks is not None:
            params = masked(NUMPY_OPS, params, checked_masks(self._distribution, action_masks, *params.shape))
        return np.exp(NUMPY_OPS.log_softmax(params))

    def action_log_probs(self, observations: object, actions: Action, action_masks: object = None) -> np.ndarray:
        """Return log π(a|s) (B,) float32, whichever policy chose the actions; see `act_masked` for the masks.

        Raises:
            BadDataError: actions that this policy could not have drawn, or masks of another shape.
        """
        params = in_chunks(self._policy, np.asarray(observations))
        return self._log_probs(params, np.asarray(actions), action_masks)

    def _log_probs(self, params: np.ndarray, actions: np.ndarray, action_masks: object) -> np.ndarray:
        self._distribution.check_actions(actions, *params.shape)
        if action_masks is not None:
            params = masked(NUMPY_OPS, params, checked_masks(self._distribution, action_masks, *params.shape))
        return self._distribution.log_prob_and_entropy(NUMPY_OPS, params, actions)[0].astype(np.float32)

    def _choose(self, params: np.ndarray, deterministic: bool) -> np.ndarray:
        if deterministic:
            return self._distribution.mode(params)
        return self._distribution.sample(params, self._generators["exploration"])

    # --- learning ---

    def learn(self, episode_data: EpisodeData) -> dict[str, float]:
        """Make `n_epochs` passes of clipped-surrogate minibatch updates over one window, and return diagnostics."""
        p = self._hyperparams.params
        observations = np.asarray(episode_data.observations)
        actions = np.asarray(episode_data.actions)
        size = self._policy(observations[:1]).shape[-1]
        self._distribution.check_actions(actions, episode_data.length, size)
        masks = window_masks(self._distribution, episode_data, size)
        log_probs, values = self._of_window(episode_data, observations, actions, masks)
        next_values = self._next_values(episode_data, values)
        advantages, targets = compute_gae(
            episode_data.rewards,
            values,
            next_values,
            episode_data.terminated,
            episode_data.segment_ends(),
            p["gamma"],
            p["gae_lambda"],
        )
        window = {
            "observations": observations,
            "actions": actions,
            "old_log_probs": log_probs,
            "advantages": advantages,
            "targets": targets,
        }
        refuse_non_finite_window(window, episode_data.episode_id)
        if masks is not None:
            window["action_masks"] = masks
        rows = make_minibatches(len(advantages), p["minibatch_size"], p["n_epochs"], self._generators["order"])
        diagnostics = self._update(window, rows, {name: p[name] for name in PPO_SCALARS})
        diagnostics["explained_var"] = explained_variance(values, targets)
        diagnostics["n_updates"] = float(len(rows))
        return diagnostics

    def compile_ahead(self, observations: np.ndarray) -> None:
        """See `BuiltInAgent.compile_ahead`."""
        if not isinstance(self._update, CompilesAhead):
            return
        p, size = self._hyperparams.params, len(observations)
        numbers = np.zeros(size, np.float32)
        window = {
            "observations": observations,
            "actions": np.repeat(self.act_batch(observations[:1], deterministic=True), size, axis=0),
            **dict.fromkeys(("old_log_probs", "advantages", "targets"), numbers),
        }
        rows = make_minibatches(size, p["minibatch_size"], p["n_epochs"], np.random.default_rng(0))
        self._update.compile_ahead(window, rows, {name: p[name] for name in PPO_SCALARS})

    def _loss(
        self, models: Sequence[Model], batch: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one minibatch, under the backend's gradient."""
        ops, (first, *rest) = self._backend.ops, models
        outputs = first(batch["observations"])
        params = outputs if rest else outputs[..., :-1]
        if "action_masks" in batch:
            params = masked(ops, params, batch["action_masks"])
        log_prob, entropy = self._distribution.log_prob_and_entropy(ops, params, batch["actions"])
        result = ppo_loss(
            ops,
            log_prob=log_prob,
            old_log_prob=batch["old_log_probs"],
            advantage=batch["advantages"],
            value=rest[0](batch["observations"])[..., 0] if rest else outputs[..., -1],
            target_return=batch["targets"],
            entropy=entropy,
            clip_ratio=scalars["clip_ratio"],
            vf_coef=scalars["vf_coef"],
            entropy_coef=scalars["entropy_coef"],
        )
        metrics = result._asdict()
        return metrics.pop("loss"), metrics

    def _of_window(
        self, data: EpisodeData, observations: np.ndarray, actions: np.ndarray, masks: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return log π(aₜ|sₜ) and V(sₜ), (T,) each: those that the window carries, else the models' own."""
        both = None
        if self._both is not None and (data.values is None or data.log_probs is None):
            both = in_chunks(self._both, observations)
        if data.values is not None:
            values = np.asarray(data.values, np.float32)
        else:
            values = in_chunks(self._value, observations)[:, 0] if both is None else both[:, -1]
        if data.log_probs is not None:
            return np.asarray(data.log_probs, np.float32), values
        params = in_chunks(self._policy, observations) if both is None else both[:, :-1]
        return self._log_probs(params, actions, masks), values

    def _next_values(self, data: EpisodeData, values: np.ndarray) -> np.ndarray:
        """Return V(s′ₜ) (T,)."""
        next_values = np.empty_like(values)
        next_values[:-1] = values[1:]
        ends = np.flatnonzero(data.segment_ends())
        if data.next_observations is None:
            # Nothing is known of what followed: a cut is taken for the end of the task.
            next_values[ends] = 0.0
        else:
            next_values[ends] = in_chunks(self._value, np.asarray(data.next_observations)[ends])[:, 0]
        return next_values

    # --- does it fit? ---

    def check_spaces(self, observation_space: object, action_space: object) -> None:
        """Try the models on one observation and compare their outputs with the action space.

        Raises:
            SpaceError: the distribution cannot serve the action space.
            ModelShapeError: a model refuses the observation, or its output has another size.
        """
        expected = action_size(self._distribution, action_space)
        if not self._has_warned:
            self._has_warned = warn_of_missing_bounds(action_space)
        check_output("actor", self._policy, observation_space, (expected,), action_space)
        check_output("critic", self._value, observation_space, (1,), action_space)


def action_size(distribution: Distribution, action_space: object) -> int:
    """Return the number of parameters that a distribution needs for an action space.

    Raises:
        SpaceError: it cannot serve the space.
    """
    expected = distribution.output_size(action_space)
    if expected is None:
        fitting = distribution_for(action_space)
        remedy = (
            f"Pass distribution={as_argument(fitting)}."
            if fitting
            else "PPO serves Discrete, MultiDiscrete, MultiBinary, and Box of floats."
        )
        raise SpaceError(f"A {as_argument(distribution)} policy cannot serve the action space {action_space}. {remedy}")
    return expected
