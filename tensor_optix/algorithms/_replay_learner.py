"""What DQN and SAC share: the replay memory, and how many gradient steps a window is due."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tensor_optix.adapters._checks import refuse_non_finite_window
from tensor_optix.adapters._device_memory import DeviceMemory
from tensor_optix.adapters._ops import Tensor
from tensor_optix.algorithms.replay.drawn import Drawn, gathered
from tensor_optix.algorithms.replay.layout import Sized, check_layout, check_progress
from tensor_optix.algorithms.replay.mirror import Mirror
from tensor_optix.algorithms.replay.replay_buffer import ReplayBuffer
from tensor_optix.algorithms.replay.rows import MOST_FRAMES
from tensor_optix.core.normalizers import RAW, RawWindow
from tensor_optix.core.search_space import Hyperparam
from tensor_optix.core.types import EpisodeData, Params, Space
from tensor_optix.errors import CheckpointMismatchError, HyperparamError, InvalidArgumentError
from tensor_optix.support.memory import free_memory, transition_bytes
from tensor_optix.support.plain import Json, SavedState

logger = logging.getLogger(__name__)

_SAMPLED_BYTES = 128 << 20
"""Minibatches are sampled ahead in blocks of at most this size."""

REPLAY_HYPERPARAMS: Mapping[str, Hyperparam] = {
    "batch_size": Hyperparam(default=64, low=1, high=10**6, integer=True, doc="Transitions per gradient step"),
    "replay_capacity": Hyperparam(default=100_000, low=1, high=10**10, integer=True, doc="Transitions remembered"),
    "learning_starts": Hyperparam(
        default=1000,
        low=1,
        high=10**10,
        integer=True,
        doc="Transitions before the first gradient step (at least batch_size, at most replay_capacity)",
    ),
    "updates_per_step": Hyperparam(default=1.0, low=0.0, low_open=True, high=1000.0, doc="Gradient steps per step"),
}
"""Rows that the tables of both algorithms begin from."""


class ReplayLearner:
    """Remembers windows and turns the gradient steps that they are due into minibatches.

    Nothing is due before `learning_starts` transitions are remembered; after that T·`updates_per_step` steps per window
    of T steps, a fraction being carried over.

    Args:
        on_device: where minibatches are gathered from copies of the memory; None: in numpy.
    """

    def __init__(self, on_device: DeviceMemory | None = None) -> None:
        self.gradient_steps = 0
        """Made so far."""
        self._memory: ReplayBuffer | None = None
        self._on_device = on_device
        self._mirror = self._new_mirror()
        self._owed = 0.0
        self._due = 0
        self._raw: RawWindow | None = None
        self._is_announced = False

    def _new_mirror(self) -> Mirror | None:
        return None if self._on_device is None else Mirror(self._on_device)

    def __len__(self) -> int:
        return len(self._memory) if self._memory is not None else 0

    def check(self, params: Params) -> None:
        """Raise `HyperparamError` where the sizes do not fit each other, or what is remembered already."""
        if params["batch_size"] > params["replay_capacity"]:
            raise HyperparamError(
                f"batch_size must be at most replay_capacity, but got batch_size={params['batch_size']}, "
                f"replay_capacity={params['replay_capacity']}."
            )
        if self._memory is not None and self._memory.capacity != params["replay_capacity"]:
            raise HyperparamError(
                f"replay_capacity cannot be changed once the memory holds something: it is {self._memory.capacity}, "
                f"but got {params['replay_capacity']}. Make a new agent."
            )

    def announce(self, params: Params, observation_space: Space, action_space: Space) -> None:
        """Log what the memory will take, once, and refuse one that is larger than the free memory.

        Raises:
            InvalidArgumentError: it does not fit.
        """
        if self._is_announced or self._memory is not None:
            return
        self._is_announced = True
        size = params["replay_capacity"] * transition_bytes(observation=observation_space, action=action_space)
        free = free_memory()
        # Frames that are stacked along the first axis are kept once, so a stack takes a share of that.
        shape = observation_space.shape
        is_stack = len(shape) > 1 and shape[0] == min(shape) and 2 <= shape[0] <= MOST_FRAMES
        least = size // (shape[0] if is_stack else 1)
        logger.info(
            "Replay memory: %s transitions, %s%.2f GiB.",
            f"{params['replay_capacity']:,}",
            "at most " if is_stack else "",
            size / 2**30,
        )
        if free is not None and least > free:
            raise InvalidArgumentError(
                f"A replay memory of {params['replay_capacity']:,} transitions takes {least / 2**30:.1f} GiB, but only "
                f"{free / 2**30:.1f} GiB of memory are free. Lower replay_capacity."
            )

    def remember(self, window: EpisodeData, params: Params) -> None:
        """Remember a window, and count the gradient steps that it is due.

        Args:
            window: what was collected.
            params: the hyper-parameters in force.
        """
        if self._memory is None:
            self._memory = ReplayBuffer(params["replay_capacity"])
        raw: RawWindow | None = window.metadata.get(RAW)
        if raw is not None:  # the statistics of normalisation move on: what is remembered is normalised when sampled
            window = replace(
                window,
                observations=raw.observations,
                next_observations=raw.next_observations,
                rewards=raw.rewards,
            )
        # By those of this window, also where the steps are made while the next one is collected.
        self._raw = None if raw is None else raw.with_own_statistics()
        self._memory.add(window)
        self._copy_to_device()
        self._due = 0
        starts = min(max(params["learning_starts"], params["batch_size"]), params["replay_capacity"])
        # A ring of stacked frames keeps a few less than its capacity.
        if len(self._memory) >= min(starts, self._memory.most):
            self._owed += window.length * params["updates_per_step"]
            self._due = int(self._owed)
            self._owed -= self._due

    def _copy_to_device(self) -> None:
        if self._mirror is None or self._memory is None or self._mirror.follow(self._memory):
            return
        self._mirror = None
        logger.warning(
            "The device has no room for the replay memory of %.2f GiB: minibatches are gathered in main memory. Lower "
            "replay_capacity where that is slow.",
            self._memory.nbytes / 2**30,
        )

    def skip(self) -> None:
        """Leave out the gradient steps that are due."""
        self._due = 0

    def update(
        self, params: Params, rng: np.random.Generator, step: Callable[[dict[str, Tensor]], dict[str, float]]
    ) -> dict[str, float]:
        """Make the gradient steps that are due; one that raises leaves them due.

        Args:
            params: the hyper-parameters in force.
            rng: where the choice of transitions comes from.
            step: makes one gradient step per minibatch of its argument, (K, B, ...) by name, numpy's or on the device,
                and returns each metric's mean over them.

        Returns:
            The means over all steps, none if no step was due.
        """
        due = self._due
        if not due or self._memory is None:
            return {}
        sums: dict[str, float] = {}
        for n_steps in self._blocks(due, params["batch_size"]):
            means = step(self._gathered(self._memory, self._memory.draw(n_steps, params["batch_size"], rng)))
            self.gradient_steps += n_steps
            for name, mean in means.items():
                sums[name] = sums.get(name, 0.0) + mean * n_steps
        self._due = 0
        return {name: total / due for name, total in sums.items()} | {"n_updates": float(due)}

    def _gathered(self, memory: ReplayBuffer, drawn: Drawn) -> dict[str, Tensor]:
        raw = self._raw
        if self._mirror is not None:
            return self._mirror.gather(drawn, {} if raw is None else raw.scalings)
        batches = gathered(drawn, memory.rings)
        batches["terminated"] = batches["terminated"].astype(np.float32)
        return batches if raw is None else raw.normalized(batches)

    def _blocks(self, due: int, batch_size: int) -> list[int]:
        """Return the numbers of steps to sample for at a time."""
        assert self._memory is not None  # noqa: S101 - for the type checker; the caller has made it
        most = max(1, _SAMPLED_BYTES // (self._memory.sampled_bytes * batch_size))
        # A power of two, so that a compiled program sees few different numbers of steps.
        most = 1 << (most.bit_length() - 1)
        return [most] * (due // most) + ([due % most] if due % most else [])

    def state(self, *, with_memory: bool) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """Return what `restore` goes on from; without the memory it has to be filled anew."""
        has_memory = with_memory and self._memory is not None
        arrays, memory = self._memory.state() if has_memory and self._memory is not None else ({}, None)
        return arrays, {"memory": memory, "gradient_steps": self.gradient_steps, "owed": self._owed}

    def restore(self, arrays: Mapping[str, np.ndarray], values: SavedState) -> None:
        """Go on from `state`, all or nothing."""
        progress, memory = check_progress(values), None
        if progress.memory is not None:
            memory = ReplayBuffer(progress.memory["capacity"])
            memory.restore(arrays, progress.memory)
        self._memory, self.gradient_steps, self._owed = memory, progress.gradient_steps, progress.owed
        self._mirror = self._new_mirror()
        self.skip()


def check_saved_learner(arrays: Mapping[str, Sized], values: object, params: Params, most_capacity: int) -> None:
    """Raise a typed error unless what `ReplayLearner.state` saved fits an agent.

    Args:
        arrays: what is said of the arrays.
        values: the values beside them.
        params: the hyper-parameters that were saved with them.
        most_capacity: what the agent was made for; a file does not decide how much memory is reserved.
    """
    ReplayLearner().check(params)
    progress = check_progress(values)
    if progress.memory is None:
        if arrays:
            raise CheckpointMismatchError(f"The training state has {sorted(arrays)} of a replay memory, and no memory.")
        return
    if params["replay_capacity"] > most_capacity:
        raise CheckpointMismatchError(
            f"The saved replay memory has capacity {params['replay_capacity']}, the agent's has {most_capacity}. Make "
            f"the agent with replay_capacity={params['replay_capacity']}."
        )
    check_layout(arrays, progress.memory, params["replay_capacity"])


def check_window(data: EpisodeData) -> None:
    """Raise `BadDataError` naming the first array of a window that holds a NaN or an infinity."""
    names = ("observations", "next_observations", "rewards", "actions")
    arrays = {name: np.asarray(getattr(data, name)) for name in names if getattr(data, name) is not None}
    refuse_non_finite_window(arrays, data.episode_id)
