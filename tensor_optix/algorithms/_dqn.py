"""Deep Q-Network: the one recipe, over a `Backend`. The constructors are in `torch_dqn` and `tf_dqn`.

Source: Human-level control through deep reinforcement learning (Mnih et al., 2015); Deep Reinforcement Learning with
Double Q-learning (van Hasselt et al., 2016).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.adapters._checks import check_action_masks, check_actions, check_output
from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.backend import Backend, Objective
from tensor_optix.adapters.saving.store import Extra, part_of
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.adapters.saving.weights import check_specs
from tensor_optix.algorithms._distributions import masked
from tensor_optix.algorithms._losses import huber_td_loss, squared_td_loss, td_target
from tensor_optix.algorithms._replay_learner import (
    REPLAY_HYPERPARAMS,
    ReplayLearner,
    check_saved_learner,
    check_window,
    run_steps,
)
from tensor_optix.core.search_space import Hyperparam, HyperparamTable, Param
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import BadDataError, CheckpointMismatchError, HyperparamError, InvalidArgumentError, SpaceError

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


class DQNAgent(BuiltInAgent):
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

    learns_off_policy = True
    """Of whoever's actions: each is remembered with what came of it."""

    def __init__(
        self,
        backend: Backend,
        q_network: Any,
        n_actions: int,
        optimizer: Any,
        hyperparams: HyperparamSet,
        *,
        seed: int | None,
        compile: bool | None,
        save_replay: bool,
    ) -> None:
        backend.check({"q_network": q_network}, {"optimizer": (optimizer, ("q_network",))})
        if not isinstance(n_actions, int | np.integer) or n_actions < 1:
            raise InvalidArgumentError(f"n_actions must be an integer of at least 1, but got {n_actions!r}.")
        super().__init__(
            backend,
            DQN_HYPERPARAMS,
            {"q_network": q_network},
            {"optimizer": optimizer},
            ("exploration", "replay"),
            seed,
        )
        self._n_actions = int(n_actions)
        self._q_network, self._target = q_network, backend.lagged_copy(q_network)
        self._optimizer, self._compile = optimizer, compile
        self._values = backend.predictor(q_network)
        self._learner = ReplayLearner()
        self._save_replay = save_replay
        self._updaters: dict[tuple[bool, bool], Any] = {}
        self.set_hyperparams(hyperparams)

    # --- acting ---

    def act(self, observation: Any) -> int:
        """Return a random action with probability ε, else the greedy one."""
        rng = self._generators["exploration"]
        if rng.random() < self._hyperparams.params["epsilon"]:
            return int(rng.integers(self._n_actions))
        return int(self._values.one(observation).argmax())

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> np.ndarray:
        """Return one action per row, ε-greedy or greedy, from one forward pass."""
        return self._explored(self._values(observations), None, deterministic)

    def act_masked(self, observations: Any, action_masks: Any, *, deterministic: bool = False) -> np.ndarray:
        """Return one allowed action per row.

        Args:
            observations: (B, ...).
            action_masks: (B, n) bool.
            deterministic: True for the greedy action.
        """
        values, masks = self._values(observations), np.asarray(action_masks, bool)
        check_action_masks(masks, len(values), (self._n_actions,))
        return self._explored(masked(NUMPY_OPS, values, masks), masks, deterministic)

    def action_probs(self, observations: Any, action_masks: Any = None) -> np.ndarray:
        """Return (B, n) the ε-greedy probability of each action, 0 for those that `action_masks` (B, n) forbid."""
        values = self._values(observations)
        masks = np.ones(values.shape, bool) if action_masks is None else np.asarray(action_masks, bool)
        check_action_masks(masks, len(values), (self._n_actions,))
        epsilon = self._hyperparams.params["epsilon"]
        probs = epsilon * masks / masks.sum(-1, keepdims=True)
        probs[np.arange(len(probs)), masked(NUMPY_OPS, values, masks).argmax(-1)] += 1.0 - epsilon
        return probs

    def _explored(self, values: np.ndarray, masks: np.ndarray | None, deterministic: bool) -> np.ndarray:
        greedy = values.argmax(-1)
        if deterministic:
            return greedy
        rng = self._generators["exploration"]
        if masks is None:
            drawn = rng.integers(self._n_actions, size=greedy.shape)
        else:  # the largest of independent random numbers, among those allowed
            drawn = np.where(masks, rng.random(values.shape), -1.0).argmax(-1)
        return np.where(rng.random(greedy.shape) < self._hyperparams.params["epsilon"], drawn, greedy)

    # --- learning ---

    def learn(self, episode_data: EpisodeData) -> dict[str, float]:
        """Remember the window, make the gradient steps that it is due, let ε decay, and return diagnostics.

        Raises:
            BadDataError: a window that is not finite, whose actions are not below n, or without `next_observations`.
        """
        p = self._hyperparams.params
        check_window(episode_data)
        check_actions(np.asarray(episode_data.actions), episode_data.length, n=self._n_actions)
        self._check_masks(episode_data)
        synced_before = self._learner.gradient_steps // p["target_update_freq"]
        means = self._learner.learn(episode_data, p, self._generators["replay"], self._make_steps)
        diagnostics = {"loss": 0.0, "mean_q": 0.0, "grad_norm": 0.0, "n_updates": 0.0, **(means or {})}
        synced = self._learner.gradient_steps // p["target_update_freq"] - synced_before
        p["epsilon"] = max(p["epsilon"] * p["epsilon_decay"], min(p["epsilon_min"], p["epsilon"]))
        return {
            **diagnostics,
            "epsilon": p["epsilon"],
            "buffer_size": float(len(self._learner)),
            "target_updated": float(synced > 0),
        }

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

    def _make_steps(self, batches: dict[str, np.ndarray]) -> dict[str, float]:
        p, n_steps = self._hyperparams.params, len(batches["rewards"])
        made = self._learner.gradient_steps + 1 + np.arange(n_steps)
        rates = (made % p["target_update_freq"] == 0).astype(np.float32)
        scalars = {name: float(p[name]) for name in ("gamma", "huber_delta", "max_grad_norm")}
        return run_steps(self._updater(), batches, scalars, rates)

    def _updater(self) -> Any:
        # Another formula is another program; a number in it is not.
        p = self._hyperparams.params
        formula = bool(p["double_q"]), p["huber_delta"] > 0.0
        if formula not in self._updaters:
            objective = Objective(
                partial(self._loss, *formula),
                (self._q_network,),
                self._optimizer,
                max_grad_norm="max_grad_norm",
                reads=(self._target,),
                lagged=(self._target,),
            )
            self._updaters[formula] = self._backend.updater(objective, self._compile)
        return self._updaters[formula]

    def _loss(
        self,
        is_double: bool,
        is_huber: bool,
        models: Sequence[Any],
        batch: Mapping[str, Any],
        scalars: Mapping[str, Any],
    ) -> tuple[Any, dict[str, Any]]:
        """The loss of one minibatch, under the backend's gradient."""
        ops, (q_network, target_network) = self._backend.ops, models
        following = batch["next_observations"]

        def next_value() -> Any:
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

    def _allowed(self, values: Any, batch: Mapping[str, Any]) -> Any:
        masks = batch.get("next_action_masks")
        return values if masks is None else masked(self._backend.ops, values, masks)

    # --- hyper-parameters and saving ---

    def _resolved(self, params: Mapping[str, Any]) -> dict[str, Any]:
        resolved = super()._resolved({**params, "double_q": _as_flag(params.get("double_q", 0))})
        self._learner.check(resolved)
        return resolved

    @property
    def _learned_models(self) -> Mapping[str, Any]:
        return {**self._models, "target": self._target}

    def load_weights(self, path: str) -> None:
        """Read the network's weights, and make the target network equal to it."""
        super().load_weights(path)
        self._synchronise()

    def _synchronise(self) -> None:
        weights = self._backend.weights({"target": self._q_network})
        self._backend.set_weights({"target": self._target}, weights)

    def _extra_state(self) -> Extra:
        arrays, values = self._learner.state(with_memory=self._save_replay)
        targets = self._backend.weights({"target": self._target})
        return {**{f"replay.{n}": a for n, a in arrays.items()}, **targets}, {"learner": values}

    def _check_extra_state(
        self, arrays: Mapping[str, TensorSpec], values: Mapping[str, Any], params: Mapping[str, Any]
    ) -> None:
        if values.keys() != {"learner"}:
            raise CheckpointMismatchError(f"The training state has {sorted(values)}, where DQN has ['learner'].")
        replay = part_of(arrays, "replay")
        check_saved_learner(replay, values["learner"], params, self._hyperparams.params["replay_capacity"])
        others = {name: spec for name, spec in arrays.items() if not name.startswith("replay.")}
        check_specs(self._backend.weights({"target": self._target}), others)

    def _take_extra_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        learner = ReplayLearner()
        learner.restore(part_of(arrays, "replay"), values["learner"])
        self._backend.set_weights({"target": self._target}, {n: a for n, a in arrays.items() if n.startswith("target")})
        self._learner = learner

    # --- does it fit? ---

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Try the network on one observation and compare its output with the action space.

        Raises:
            SpaceError: the action space is not Discrete from 0.
            ModelShapeError: the network refuses the observation, or its output has another size.
            InvalidArgumentError: the replay memory is larger than the free memory.
        """
        n = getattr(action_space, "n", None)
        if n is None or action_space.shape != () or getattr(action_space, "start", 0) != 0:
            raise SpaceError(
                f"DQN serves Discrete actions from 0, but the space is {action_space}. Use SAC for Box actions, "
                f"PPO for MultiDiscrete and MultiBinary ones."
            )
        if n != self._n_actions:
            raise SpaceError(f"The agent was made for n_actions={self._n_actions}, but the space is {action_space}.")
        check_output("q_network", self._values, observation_space, (self._n_actions,), action_space)
        self._learner.announce(self._hyperparams.params, observation_space, action_space)


def _as_flag(value: Any) -> int:
    """Return 0 or 1 for a flag, which may come as a bool."""
    if isinstance(value, bool | np.bool_):
        return int(value)
    if value in (0, 1):
        return int(value)
    raise HyperparamError(f"DQN: hyper-parameter 'double_q' must be True or False, but got {value!r}.")
