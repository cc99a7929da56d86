"""REINFORCE and A2C over any model that returns logits: the generic agent of both frameworks.

∇J ≈ Σ ∇log π(aₜ|sₜ)·Âₜ, where Aₜ = Gₜ (REINFORCE) or Aₜ = Gₜ − V(sₜ) (A2C, where the window carries values), and Â is A
normalised over the window. Subtracting V does not bias the gradient and reduces its variance.
Source: Simple Statistical Gradient-Following Algorithms (Williams, 1992); Asynchronous Methods (Mnih et al., 2016).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.adapters._checks import check_actions, check_output, refuse_non_finite_window
from tensor_optix.adapters.backend import Backend, Model, Objective, Tensor
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import Hyperparam, HyperparamTable, Param
from tensor_optix.core.trajectory_buffer import discounted_returns, explained_variance
from tensor_optix.core.types import Diagnostics, EpisodeData, HyperparamSet, Observation, Space
from tensor_optix.errors import SpaceError

POLICY_GRADIENT_HYPERPARAMS = HyperparamTable(
    "the generic agent",
    {
        "learning_rate": Hyperparam(
            default=1e-3,
            low=0.0,
            low_open=True,
            high=1.0,
            tune=Param(1e-5, 1e-1, "log"),
            doc="Optimizer's learning rate",
        ),
        "gamma": Hyperparam(default=0.99, low=0.0, high=1.0, doc="Discount factor (γ)"),
        "entropy_coef": Hyperparam(default=0.0, low=0.0, high=10.0, doc="Entropy bonus weight"),
    },
)


class PolicyGradientAgent(BuiltInAgent, BaseAgent):
    """Acts by sampling from the softmax of a model's logits, and learns by one gradient step per window.

    Args:
        backend: the framework.
        model: observations (B, ...) → logits (B, n).
        optimizer: the framework's optimizer over the model's weights.
        hyperparams: overrides of `POLICY_GRADIENT_HYPERPARAMS`; other keys are kept and ignored.
        compute_loss_fn: `(model, episode_data) -> scalar loss tensor`, in place of the policy gradient.
        seed: seed of exploration; None takes one from the system.
    """

    def __init__(
        self,
        backend: Backend,
        model: Model,
        optimizer: object,
        hyperparams: HyperparamSet,
        compute_loss_fn: Callable[[Model, EpisodeData], object] | None,
        seed: int | None,
    ) -> None:
        model = backend.member_model(model)
        backend.check({"model": model}, {"optimizer": (optimizer, ("model",))})
        super().__init__(
            backend, POLICY_GRADIENT_HYPERPARAMS, {"model": model}, {"optimizer": optimizer}, ("exploration",), seed
        )
        self._model = model
        self._optimizer = optimizer
        self._compute_loss_fn = compute_loss_fn
        self._policy = backend.predictor(model)
        self._update = backend.updater(Objective(self._loss, (model,), optimizer), compile=False)
        self.set_hyperparams(hyperparams)

    def act(self, observation: Observation, *, deterministic: bool = False) -> int:
        """Return an action for one observation, drawn or greedy."""
        logits = self._policy.one(observation)
        return int(logits.argmax(-1) if deterministic else self._sample(logits))

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> np.ndarray:
        """Return one action per row, drawn or greedy."""
        logits = self._policy(observations)
        return logits.argmax(-1) if deterministic else self._sample(logits)

    def _sample(self, logits: np.ndarray) -> np.ndarray:
        return (logits + self._generators["exploration"].gumbel(size=logits.shape)).argmax(-1)

    def learn(self, episode_data: EpisodeData) -> Diagnostics:
        """Make one gradient step on the window; returns are computed per episode segment, never across an end."""
        if self._compute_loss_fn is not None:
            loss_fn = self._compute_loss_fn
            loss, grad_norm = self._backend.minimise(
                lambda: loss_fn(self._model, episode_data), (self._model,), self._optimizer
            )
            return {"loss": loss, "grad_norm": grad_norm, "baseline_type": "custom", "explained_variance": 0.0}
        returns = discounted_returns(
            episode_data.rewards, episode_data.segment_ends(), self._hyperparams.params["gamma"]
        )
        values = episode_data.values
        advantages = returns if values is None else returns - np.asarray(values, np.float32)
        window = {
            "observations": np.asarray(episode_data.observations),
            "actions": np.asarray(episode_data.actions),
            "advantages": (advantages - advantages.mean()) / (advantages.std() + 1e-8),
        }
        refuse_non_finite_window(window, episode_data.episode_id)
        check_actions(window["actions"], len(returns), n=self._policy(window["observations"][:1]).shape[-1])
        scalars = {"entropy_coef": self._hyperparams.params["entropy_coef"]}
        diagnostics = self._update(window, np.arange(len(returns))[None], scalars)
        return {
            "loss": diagnostics["loss"],
            "grad_norm": diagnostics["grad_norm"],
            "baseline_type": "none" if values is None else "values",
            "explained_variance": 0.0 if values is None else explained_variance(values, returns),
        }

    def _loss(
        self, models: Sequence[Model], batch: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        ops = self._backend.ops
        log_probs = ops.log_softmax(models[0](batch["observations"]))
        chosen = ops.gather(log_probs, batch["actions"])
        entropy = -ops.mean(ops.sum(ops.exp(log_probs) * log_probs))
        loss = -ops.mean(chosen * batch["advantages"]) - scalars["entropy_coef"] * entropy
        return loss, {"loss": loss}

    def check_spaces(self, observation_space: object, action_space: Space) -> None:
        """Try the model on one observation and compare its output with the action space.

        Raises:
            SpaceError: the action space is not Discrete.
            ModelShapeError: the model refuses the observation, or its output has another size.
        """
        n = getattr(action_space, "n", None)
        if n is None or action_space.shape != () or getattr(action_space, "start", 0) != 0:
            raise SpaceError(f"The generic agent serves Discrete actions from 0, but the space is {action_space}.")
        check_output("model", self._policy, observation_space, (int(n),), action_space)
