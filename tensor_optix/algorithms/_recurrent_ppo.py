"""Recurrent PPO: the one recipe, over a `Backend`; constructors are in `torch_recurrent_ppo`, `tf_recurrent_ppo`.

The loss is PPO's. What a policy remembers is stored at collection: a window says with what each environment's episode
went on, and from there the sequences are gone through again. Minibatches hold whole sequences; where an episode begins
within one, the memory is zero, and padding weighs nothing.

Source: Proximal Policy Optimization Algorithms (Schulman et al., 2017); Recurrent Experience Replay in Distributed
Reinforcement Learning (Kapturowski et al., 2019) for stored states; the conventions of `RecurrentPPO` in sb3-contrib.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.adapters._checks import refuse_non_finite_window, warn_of_missing_bounds
from tensor_optix.adapters._inputs import is_recurrent
from tensor_optix.adapters._numpy_ops import NUMPY_OPS
from tensor_optix.adapters.backend import Backend, Model, Objective, Tensor
from tensor_optix.algorithms._action_masks import checked_masks, window_masks
from tensor_optix.algorithms._distributions import Distribution, as_distribution, masked
from tensor_optix.algorithms._losses import ppo_loss
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS, PPO_SCALARS, action_size
from tensor_optix.algorithms._sequences import Sequences, most_rows, packed_in_rows, pass_over, stacked
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.search_space import Hyperparam, HyperparamTable
from tensor_optix.core.trajectory_buffer import compute_gae, explained_variance, make_minibatches
from tensor_optix.core.types import Action, EpisodeData, HyperparamSet, Memory, Observation, Space
from tensor_optix.errors import ContractError, ModelShapeError, SpaceError

RECURRENT_PPO_HYPERPARAMS = HyperparamTable(
    "recurrent PPO",
    {
        **PPO_HYPERPARAMS,
        "minibatch_size": Hyperparam(
            default=256, low=1, high=10**9, integer=True, doc="Steps per minibatch, in whole rows of sequences"
        ),
        "sequence_length": Hyperparam(
            default=64,
            low=1,
            high=10**5,
            integer=True,
            doc="Steps that gradients flow through; longer episodes are cut",
        ),
    },
)


class RecurrentPPOAgent(BuiltInAgent, BaseAgent):
    """Acts with a memory that is handed in and out (`ActsRecurrently`), and learns from sequences.

    `act` is for a loop of one's own: it remembers the episode until `begin_episode`. `act_batch` takes each row for the
    first of an episode. The loop calls neither.

    Args:
        backend: the framework.
        network: called with (observations (B, T, ...), memory (B, S), begins (B, T)), it returns
            [distribution parameters ‖ value] (B, T, P + 1) and the memory (B, S); its attribute `memory_size` is S.
        optimizer: the framework's optimizer over its weights.
        hyperparams: overrides of `RECURRENT_PPO_HYPERPARAMS`.
        distribution: what the parameters mean: a name, or the object.
        seed: seed of exploration and minibatch order; None takes one from the system.
        compile: True, False, or None for what is usual in the framework.

    Raises:
        HyperparamError: an unknown key that looks misspelt, or a value out of its range.
        InvalidArgumentError: an unknown distribution.
        ContractError: a network without `memory_size`.
    """

    def __init__(
        self,
        backend: Backend,
        network: Model,
        optimizer: object,
        hyperparams: HyperparamSet,
        distribution: str | Distribution,
        seed: int | None,
        compile: bool | None,
    ) -> None:
        network = backend.member_model(network, n_others=2)
        backend.check({"network": network}, {"optimizer": (optimizer, ("network",))})
        if not is_recurrent(network):
            raise ContractError(
                f"A recurrent network must have an attribute memory_size, the number of entries in its memory, but "
                f"{type(network).__name__} has {getattr(network, 'memory_size', None)!r}."
            )
        super().__init__(
            backend,
            RECURRENT_PPO_HYPERPARAMS,
            {"network": network},
            {"optimizer": optimizer},
            ("exploration", "order"),
            seed,
        )
        self._memory_size: int = network.memory_size
        self._distribution = as_distribution(distribution)
        self._predict = backend.recurrent_predictor(network)
        objective = Objective(self._loss, (network,), optimizer, max_grad_norm="max_grad_norm")
        self._update = backend.updater(objective, compile)
        self._own_memory: Memory = None
        self._has_warned = False
        self.set_hyperparams(hyperparams)

    # --- acting ---

    @property
    def action_range(self) -> tuple[float, float] | None:
        """(-1, 1) of a Gaussian policy, whose actions are clipped to it; None where actions are choices."""
        return (-1.0, 1.0) if self._distribution.name == "gaussian" else None

    def act_recurrent(
        self,
        observations: object,
        memories: Sequence[Memory],
        *,
        action_masks: object = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return one action per row, drawn or greedy, and the memories (S,) after it; see `ActsRecurrently`.

        Raises:
            BadDataError: masks of another shape, or a row that allows nothing.
            SpaceError: masks for a Gaussian policy.
        """
        begins = np.array([[memory is None] for memory in memories])
        outputs, after = self._predict(np.asarray(observations)[:, None], stacked(memories, self._memory_size), begins)
        params = outputs[:, 0, :-1]
        if action_masks is not None:
            params = masked(NUMPY_OPS, params, checked_masks(self._distribution, action_masks, *params.shape))
        if deterministic:
            return self._distribution.mode(params), list(after)
        return self._distribution.sample(params, self._generators["exploration"]), list(after)

    def begin_episode(self) -> None:
        """Forget the episode that `act` has seen."""
        self._own_memory = None

    def act(self, observation: Observation, *, deterministic: bool = False) -> Action:
        """Return an action, drawn or greedy, for the next observation of the episode since `begin_episode`."""
        actions, (self._own_memory,) = self.act_recurrent(
            np.asarray(observation)[None], [self._own_memory], deterministic=deterministic
        )
        return actions[0] if actions[0].ndim else int(actions[0])

    def act_batch(self, observations: Observation, *, deterministic: bool = False) -> np.ndarray:
        """Return one action per row, each taken for the first observation of an episode."""
        return self.act_recurrent(observations, [None] * len(observations), deterministic=deterministic)[0]

    def act_masked(self, observations: Observation, action_masks: object, *, deterministic: bool = False) -> np.ndarray:
        """Return one allowed action per row, each taken for the first observation of an episode."""
        memories = [None] * len(observations)
        return self.act_recurrent(observations, memories, action_masks=action_masks, deterministic=deterministic)[0]

    # --- learning ---

    def window_log_probs(self, window: EpisodeData) -> np.ndarray:
        """Return log π(a|s) (T,) float32 of a window's actions, whoever chose them, with the memory of their episodes.

        Raises:
            BadDataError: actions that this policy could not have drawn, or masks of another shape.
        """
        length = int(self._hyperparams.params["sequence_length"])
        outputs = pass_over(self._predict, window, self._memory_size, length).outputs
        return self._log_probs(window, outputs, window_masks(self._distribution, window, outputs.shape[-1] - 1))

    def _log_probs(self, window: EpisodeData, outputs: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
        params, actions = outputs[:, :-1], np.asarray(window.actions)
        self._distribution.check_actions(actions, window.length, params.shape[-1])
        if masks is not None:
            params = masked(NUMPY_OPS, params, masks)
        return self._distribution.log_prob_and_entropy(NUMPY_OPS, params, actions)[0].astype(np.float32)

    def learn(self, episode_data: EpisodeData) -> dict[str, float]:
        """Make `n_epochs` passes of clipped-surrogate updates over a window's sequences, and return diagnostics."""
        p = self._hyperparams.params
        length = int(p["sequence_length"])
        passed = pass_over(self._predict, episode_data, self._memory_size, length)
        masks = window_masks(self._distribution, episode_data, passed.outputs.shape[-1] - 1)
        log_probs = self._log_probs(episode_data, passed.outputs, masks)
        ends = episode_data.segment_ends()
        values = passed.outputs[:, -1] if episode_data.values is None else np.asarray(episode_data.values, np.float32)
        next_values = np.append(values[1:], 0.0)
        next_values[ends] = passed.final_values
        advantages, targets = compute_gae(
            episode_data.rewards, values, next_values, episode_data.terminated, ends, p["gamma"], p["gae_lambda"]
        )
        window = {
            "observations": np.asarray(episode_data.observations),
            "actions": np.asarray(episode_data.actions),
            "old_log_probs": log_probs if episode_data.log_probs is None else np.asarray(episode_data.log_probs),
            "advantages": advantages,
            "targets": targets,
        }
        refuse_non_finite_window(window, episode_data.episode_id)
        if masks is not None:
            window["action_masks"] = masks
        sequences = packed_in_rows(passed.pieces, self._memory_size, length)
        per_minibatch = max(1, int(p["minibatch_size"]) // length)
        rows = make_minibatches(len(sequences.steps), per_minibatch, p["n_epochs"], self._generators["order"])
        data = _in_rows(window, sequences, most_rows(len(values), episode_data.n_envs, length))
        diagnostics = self._update(data, rows, {name: p[name] for name in PPO_SCALARS})
        diagnostics["explained_var"] = explained_variance(values, targets)
        diagnostics["n_updates"] = float(len(rows))
        return diagnostics

    def _loss(
        self, models: Sequence[Model], batch: Mapping[str, Tensor], scalars: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one minibatch of sequences, under the backend's gradient."""
        outputs, _ = models[0](batch["observations"], batch["memory"], batch["begin_masks"])
        params = outputs[..., :-1]
        if "action_masks" in batch:
            params = masked(self._backend.ops, params, batch["action_masks"])
        log_prob, entropy = self._distribution.log_prob_and_entropy(self._backend.ops, params, batch["actions"])
        result = ppo_loss(
            self._backend.ops,
            log_prob=log_prob,
            old_log_prob=batch["old_log_probs"],
            advantage=batch["advantages"],
            value=outputs[..., -1],
            target_return=batch["targets"],
            entropy=entropy,
            clip_ratio=scalars["clip_ratio"],
            vf_coef=scalars["vf_coef"],
            entropy_coef=scalars["entropy_coef"],
            weights=batch["weights"],
        )
        metrics = result._asdict()
        return metrics.pop("loss"), metrics

    # --- does it fit? ---

    def check_spaces(self, observation_space: Space, action_space: object) -> None:
        """Try the network on one observation and compare its output with the action space.

        Raises:
            SpaceError: the distribution cannot serve the action space.
            ModelShapeError: the network refuses the observation, or its output has another size.
        """
        size = action_size(self._distribution, action_space)
        if not self._has_warned:
            self._has_warned = warn_of_missing_bounds(action_space)
        shape = getattr(observation_space, "shape", None)
        if shape is None:
            raise SpaceError(f"Observations must be one array, but the space is {observation_space}. Flatten it.")
        memory, begins = np.zeros((2, self._memory_size), np.float32), np.ones((2, 1), bool)
        try:
            outputs, after = self._predict(np.zeros((2, 1, *shape), observation_space.dtype), memory, begins)
        except Exception as error:
            raise ModelShapeError(
                f"The network cannot take observations (B, T, ...) of shape {(2, 1, *shape)}, memory {memory.shape} "
                f"and begins (2, 1): {error}. Its input must fit the observation space {observation_space}."
            ) from error
        if outputs.shape != (2, 1, size + 1) or after.shape != memory.shape:
            raise ModelShapeError(
                f"The network returns outputs {outputs.shape} and memory {after.shape}, but (2, 1, {size + 1}), the "
                f"distribution's parameters and the value, and {memory.shape} are needed for the action space "
                f"{action_space}."
            )


def _in_rows(window: Mapping[str, np.ndarray], sequences: Sequences, least: int) -> dict[str, np.ndarray]:
    """Return a window's arrays (T, ...) as `least` rows or more of sequences (R, L, ...), and what belongs to these."""
    rows = {
        **{name: array[sequences.steps] for name, array in window.items()},
        "weights": sequences.valid.astype(np.float32),
        "begin_masks": sequences.begins,
        "memory": sequences.memory,
    }
    missing = max(least - len(sequences.steps), 0)  # rows that no minibatch takes
    return {name: np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) for name, array in rows.items()}
