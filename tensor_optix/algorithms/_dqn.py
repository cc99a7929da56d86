"""Deep Q-Network: the one recipe, over a `Backend`. The constructors are in `torch_dqn` and `tf_dqn`.

Source: Human-level control through deep reinforcement learning (Mnih et al., 2015); Deep Reinforcement Learning with
Double Q-learning (van Hasselt et al., 2016).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tensor_optix.adapters._checks import check_action_masks, check_actions, check_output
from tensor_optix.adapters.backend import TARGET_RATE, Backend, Model, Objective, Tensor, Updater
from tensor_optix.algorithms import _epsilon_greedy as epsilon_greedy
from tensor_optix.algorithms._distributions import masked
from tensor_optix.algorithms._losses import huber_td_loss, squared_td_loss, td_target
from tensor_optix.algorithms._off_policy import TargetsAndLearner
from tensor_optix.algorithms._off_policy_agent import OffPolicyAgent
from tensor_optix.algorithms._replay_learner import REPLAY_HYPERPARAMS, check_window
from tensor_optix.algorithms._update_beside import Said
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import Hyperparam, HyperparamTable, Param
from tensor_optix.core.types import EpisodeData, HyperparamSet, Observation, Space
from tensor_optix.errors import BadDataError, HyperparamError, InvalidArgumentError, SpaceError

DQN_HYPERPARAMS = HyperparamTable(
    "DQN",
    {
        "learning_rate": Hyperparam(
            default=1e-3, low=0.0, low_open=True, high=1.0, tune=Param(1e-5, 1e-2, "log"), doc="Adam learning rate"
        ),
        "gamma": Hyperparam(default=0.99, low=0.0, high=1.0, doc="Discount factor (γ)"),
        "epsilon": Hyperparam(default=1.0, low=0.0, high=1.0, doc="Share of random actions, now"),
        "epsilon_min": Hyperparam(default=0.05, low=0.0, high=1.0, doc="Where its decay ends"),
        "epsilon_decay": Hyperparam(default=0.995, low=0.0, high=1.0, doc="Factor of epsilon per window"),
        "target_update_freq": Hyperparam(
            default=100, low=1, high=10**9, integer=True, doc="Gradient steps between copies to the target network"
        ),
        **REPLAY_HYPERPARAMS,
        "updates_per_step": Hyperparam(
            default=0.25, low=0.0, low_open=True, high=1000.0, doc="Gradient steps per step"
        ),
        "double_q": Hyperparam(
            default=0, low=0, high=1, integer=True, doc="1: the online network chooses the next action (double DQN)"
        ),
        "huber_delta": Hyperparam(
            default=0.0, low=0.0, high=1e9, doc="Where the squared error turns linear; 0 = nowhere"
        ),
        "max_grad_norm": Hyperparam(default=10.0, low=0.0, low_open=True, high=1e9, doc="Gradient clipping norm"),
    },
)


class DQNAgent(OffPolicyAgent, BaseAgent):
    """Acts ε-greedily, learns from a replay memory; everything framework-specific is behind `backend`.

    y = r + γ·(1 − terminated)·maxₐ Q_target(s′, a), or Q_target(s′, argmaxₐ Q(s′, a)) with `double_q`.

    Args:
        backend: the framework.
        q_network: observations (B, ...) → values of all actions (B, n).
        n_actions: n.
        optimizer: the framework's optimizer over the network's weights.
        hyperparams: overrides of `DQN_HYPERPARAMS`.
        seed: seed of exploration and of the choice of transitions; None takes one from the system.
        compile: True, False, or None to compile the update once a run proves to be long.
        save_replay: keep the replay memory in `save_training_state`.

    Raises:
        HyperparamError: an unknown key that looks misspelt, a value out of its range, or `batch_size` above
            `replay_capacity`.
        InvalidArgumentError: `n_actions` below 1.
    """

    def __init__(
        self,
        backend: Backend,
        q_network: Model,
        n_actions: int,
        optimizer: object,
        hyperparams: HyperparamSet,
        *,
        seed: int | None,
        compile: bool | None,
        save_replay: bool,
    ) -> None:
        q_network = backend.member_model(q_network)
        backend.check({"q_network": q_network}, {"optimizer": (optimizer, ("q_network",))})
        if not isinstance(n_actions, int | np.integer) or n_actions < 1:
            raise InvalidArgumentError(f"n_actions must be an integer of at least 1, but got {n_actions!r}.")
        models, generators = {"q_network": q_network}, ("exploration", "replay")
        super().__init__(backend, DQN_HYPERPARAMS, models, {"optimizer": optimizer}, generators, seed)
        self._n_actions = int(n_actions)
        self._q_network, self._optimizer, self._compile = q_network, optimizer, compile
        self._off_policy = TargetsAndLearner(backend, {"target": q_network}, save_replay=save_replay)
        self._policy = backend.predictor(q_network)
        self._updaters: dict[tuple[bool, bool], Updater] = {}
        self.set_hyperparams(hyperparams)

    # --- acting ---

    def act(self, observation: Observation, *, deterministic: bool = False) -> int:
        """Return a random action with probability ε, else the greedy one."""
        rng = self._generators["exploration"]
        if not deterministic and rng.random() < self._hyperparams.params["epsilon"]:
            return int(rng.integers(self._n_actions))
        return int(self._acting(deterministic).one(observation).argmax())

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> np.ndarray:
        """Return one action per row, ε-greedy or greedy, from one forward pass."""
        return self._chosen(self._acting(deterministic)(observations), None, deterministic)

    def act_masked(self, observations: object, action_masks: object, *, deterministic: bool = False) -> np.ndarray:
        """Return one allowed action per row.

        Args:
            observations: (B, ...).
            action_masks: (B, n) bool.
            deterministic: True for the greedy action.
        """
        values = self._acting(deterministic)(observations)
        return self._chosen(values, self._checked_masks(action_masks, values), deterministic)

    def action_probs(self, observations: object, action_masks: object = None) -> np.ndarray:
        """Return (B, n) the ε-greedy probability of each action, 0 for those that `action_masks` (B, n) forbid."""
        self.join()
        values = self._policy(observations)
        masks = None if action_masks is None else self._checked_masks(action_masks, values)
        return epsilon_greedy.probabilities(values, masks, self._hyperparams.params["epsilon"])

    def _checked_masks(self, action_masks: object, values: np.ndarray) -> np.ndarray:
        masks = np.asarray(action_masks, bool)
        check_action_masks(masks, len(values), (self._n_actions,))
        return masks

    def _chosen(self, values: np.ndarray, masks: np.ndarray | None, deterministic: bool) -> np.ndarray:
        if deterministic:
            return epsilon_greedy.mode(values, masks)
        rng = self._generators["exploration"]
        return epsilon_greedy.choose(values, masks, self._hyperparams.params["epsilon"], rng)

    # --- learning ---

    def learn(self, episode_data: EpisodeData) -> dict[str, float]:
        """Remember the window, make the gradient steps that it is due, let ε decay, and return diagnostics.

        Raises:
            BadDataError: a window that is not finite, or whose actions are not below n.
        """
        p = self._hyperparams.params
        check_window(episode_data)
        check_actions(np.asarray(episode_data.actions), episode_data.length, n=self._n_actions)
        self._check_masks(episode_data)
        diagnostics = self._learned(episode_data)
        p["epsilon"] = max(p["epsilon"] * p["epsilon_decay"], min(p["epsilon_min"], p["epsilon"]))
        return {**diagnostics, "epsilon": p["epsilon"], "buffer_size": float(len(self._off_policy.learner))}

    def _update(self) -> Said:
        learner, every = self._off_policy.learner, self._hyperparams.params["target_update_freq"]
        synced_before = learner.gradient_steps // every
        means = super()._update()
        synced = learner.gradient_steps // every - synced_before
        nothing = {"loss": 0.0, "mean_q": 0.0, "grad_norm": 0.0, "n_updates": 0.0}
        return {**nothing, **means, "target_updated": float(synced > 0)}

    def _check_masks(self, data: EpisodeData) -> None:
        """Refuse a window in which a forbidden action was taken, or that goes on where nothing is allowed."""
        if data.action_masks is not None:
            taken = np.asarray(data.action_masks, bool)[np.arange(data.length), np.asarray(data.actions)]
            if not taken.all():
                raise BadDataError(
                    f"The action of row {int(taken.argmin())} of window {data.episode_id} is forbidden by its mask. "
                    f"Draw actions with act_masked where the environment has masks."
                )
        if data.next_action_masks is not None:  # a death has no future, so nothing needs to be allowed after it
            masks = np.asarray(data.next_action_masks, bool)[~np.asarray(data.terminated, bool)]
            check_action_masks(masks, len(masks), (self._n_actions,))

    def _make_steps(self, batches: dict[str, Tensor]) -> dict[str, float]:
        p, n_steps = self._hyperparams.params, len(batches["rewards"])
        made = self._off_policy.learner.gradient_steps + 1 + np.arange(n_steps)
        rates = (made % p["target_update_freq"] == 0).astype(np.float32)
        scalars = {name: float(p[name]) for name in ("gamma", "huber_delta", "max_grad_norm")}
        return self._updater().on_batches(batches, scalars, {TARGET_RATE: rates})

    def _updater(self) -> Updater:
        # Another formula is another program; a number in it is not.
        p = self._hyperparams.params
        formula = bool(p["double_q"]), p["huber_delta"] > 0.0
        if formula not in self._updaters:
            target = self._off_policy.targets["target"]
            objective = Objective(
                partial(self._loss, *formula),
                (self._q_network,),
                self._optimizer,
                max_grad_norm="max_grad_norm",
                reads=(target,),
                lagged=(target,),
                inputs=("observations", "next_observations"),
            )
            self._updaters[formula] = self._backend.updater(objective, self._compile, f"update{formula}")
        return self._updaters[formula]

    def _loss(
        self,
        is_double: bool,
        is_huber: bool,
        models: Sequence[Model],
        batch: Mapping[str, Tensor],
        scalars: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one minibatch, under the backend's gradient."""
        ops, (q_network, target_network) = self._backend.ops, models
        following = batch["next_observations"]

        def next_value() -> Tensor:
            if is_double:
                chosen = ops.argmax(self._allowed(q_network(following), batch))
                return ops.gather(target_network(following), chosen)
            return ops.max(self._allowed(target_network(following), batch))

        target = td_target(
            reward=batch["rewards"],
            terminated=batch["terminated"],
            next_q=ops.no_gradient(next_value),
            gamma=scalars["gamma"],
        )
        q = ops.gather(q_network(batch["observations"]), batch["actions"])
        if is_huber:
            loss = huber_td_loss(ops, q=q, target=target, huber_delta=scalars["huber_delta"])
        else:
            loss = squared_td_loss(ops, q=q, target=target)
        return loss, {"loss": loss, "mean_q": ops.mean(q)}

    def _allowed(self, values: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        masks = batch.get("next_action_masks")
        return values if masks is None else masked(self._backend.ops, values, masks)

    # --- hyper-parameters ---

    def _resolved(self, params: Mapping[str, object]) -> dict[str, Any]:
        return super()._resolved({**params, "double_q": _as_flag(params.get("double_q", 0))})

    # --- does it fit? ---

    def check_spaces(self, observation_space: object, action_space: Space) -> None:
        """Try the network on one observation and compare its output with the action space.

        Raises:
            SpaceError: the action space is not Discrete.
            ModelShapeError: the network refuses the observation, or its output has another size.
            InvalidArgumentError: the replay memory is larger than the free memory.
        """
        n = getattr(action_space, "n", None)
        if n is None or action_space.shape != ():
            raise SpaceError(
                f"DQN serves Discrete actions, but the space is {action_space}. Use SAC for Box actions, "
                f"PPO for MultiDiscrete and MultiBinary ones."
            )
        if n != self._n_actions:
            raise SpaceError(f"The agent was made for n_actions={self._n_actions}, but the space is {action_space}.")
        check_output("q_network", self._policy, observation_space, (self._n_actions,), action_space)
        self._off_policy.learner.announce(self._hyperparams.params, observation_space, action_space)


def _as_flag(value: object) -> int:
    """Return 0 or 1 for a flag, which may come as a bool."""
    if value in (0, 1):
        return int(value)
    raise HyperparamError(f"DQN: hyper-parameter 'double_q' must be True or False, but got {value!r}.")
