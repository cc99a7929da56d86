"""Target networks and the replay learner of an agent: copied, saved and restored together."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.algorithms._off_policy import TargetsAndLearner
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError
from tests.algorithms.off_policy import window

torch.set_num_threads(1)
BACKEND = TorchBackend()
PARAMS: dict[str, Any] = {"batch_size": 4, "replay_capacity": 100, "learning_starts": 4, "updates_per_step": 1.0}


def network() -> nn.Linear:
    return nn.Linear(3, 2)


def made(online: nn.Module | None = None, *, save_replay: bool = True) -> TargetsAndLearner:
    return TargetsAndLearner(BACKEND, {"target": online or network()}, save_replay=save_replay)


def weights(targets: TargetsAndLearner) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in BACKEND.weights(targets.targets).items()}


def learned(targets: TargetsAndLearner) -> TargetsAndLearner:
    targets.learner.remember(window(8), PARAMS)
    targets.learner.update(PARAMS, np.random.default_rng(0), lambda batches: {})
    return targets


def header(arrays: dict[str, np.ndarray]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(array.dtype, array.shape) for name, array in arrays.items()}


def test_a_target_begins_as_its_network_and_stays_until_it_is_copied_again() -> None:
    online = network()
    targets = made(online)
    before = weights(targets)
    assert np.array_equal(before["target.weight"], online.weight.detach().numpy())
    with torch.no_grad():
        online.weight.add_(1.0)
    assert np.array_equal(weights(targets)["target.weight"], before["target.weight"])
    targets.synchronise()
    assert np.array_equal(weights(targets)["target.weight"], online.weight.detach().numpy())


@pytest.mark.parametrize("save_replay", [True, False])
def test_what_is_saved_is_restored(save_replay: bool) -> None:
    first, again = learned(made(save_replay=save_replay)), made()
    arrays, values = first.state()
    assert any(name.startswith("replay.") for name in arrays) is save_replay
    again.check_saved(header(arrays), values, PARAMS, 100)
    again.restore(arrays, values)
    assert all(np.array_equal(array, weights(again)[name]) for name, array in weights(first).items())
    assert again.learner.gradient_steps == 8
    assert len(again.learner) == (8 if save_replay else 0)


def test_targets_of_another_shape_are_refused_by_their_header() -> None:
    arrays, values = learned(made()).state()
    wider = {**header(arrays), "target.weight": TensorSpec(np.dtype(np.float32), (4, 3))}
    with pytest.raises(CheckpointMismatchError, match=r"target\.weight"):
        made().check_saved(wider, values, PARAMS, 100)
    with pytest.raises(CheckpointMismatchError, match="capacity"):
        made().check_saved(header(arrays), values, PARAMS, 99)


def test_a_state_that_is_damaged_changes_neither_targets_nor_learner() -> None:
    targets = learned(made())
    before, learner = weights(targets), targets.learner
    arrays, values = learned(made()).state()
    with pytest.raises(CheckpointCorruptError, match="gradient_steps"):
        targets.restore(arrays, {"learner": {**values["learner"], "gradient_steps": -1}})
    assert targets.learner is learner
    assert all(np.array_equal(array, weights(targets)[name]) for name, array in before.items())
