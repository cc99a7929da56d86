"""The generic agent on any module that returns logits: acting, custom losses, files, refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch.torch_agent import TorchAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import (
    CheckpointMismatchError,
    ContractError,
    HyperparamError,
    NonFiniteError,
)
from tests.fakes.policy_gradient import agent_of, linear, window

torch.set_num_threads(1)


def test_a_custom_loss_replaces_the_policy_gradient() -> None:
    model = linear()
    seen: list[tuple[Any, Any]] = []

    def imitation(given: nn.Module, data: EpisodeData) -> torch.Tensor:
        seen.append((given, data))
        return nn.functional.cross_entropy(given(torch.from_numpy(data.observations)), torch.from_numpy(data.actions))

    data = window()
    twin = linear()
    expected = imitation(twin, data)
    expected.backward()
    seen.clear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    agent = TorchAgent(model, optimizer, HyperparamSet({"learning_rate": 0.1}), compute_loss_fn=imitation)
    diagnostics = agent.learn(data)
    assert seen == [(model, data)]
    assert diagnostics["loss"] == pytest.approx(float(expected.detach()), rel=1e-6)
    gradients = [p.grad for p in twin.parameters()]
    norm = torch.linalg.vector_norm(torch.cat([g.reshape(-1) for g in gradients if g is not None]))
    assert diagnostics["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    for ours, theirs, gradient in zip(model.parameters(), twin.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * gradient)
    assert set(diagnostics) == {"loss", "grad_norm", "baseline_type", "explained_variance"}


# --- acting ---


IMAGE_MODELS = {
    "conv": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
    "flatten": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)),
    "batch norm": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)),
}


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_one_image_is_acted_on_as_a_batch_of_one(name: str) -> None:
    torch.manual_seed(0)
    model = IMAGE_MODELS[name]()
    one, many = agent_of(model), agent_of(model)
    for image in np.random.default_rng(0).standard_normal((20, 1, 4, 4)).astype(np.float32):
        action = one.act(image)
        assert type(action) is int
        assert action == many.act_batch(image[None])[0]


def test_one_row_is_acted_on_by_a_model_that_normalises_batches() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert agent_of(model).act(np.ones(3, np.float32)) in (0, 1)


def test_the_same_seed_draws_the_same_actions() -> None:
    first, second = agent_of(linear()), agent_of(linear())
    second.act(np.zeros(3, np.float32))
    second.seed(0)
    observations = np.zeros((40, 3), np.float32)
    np.testing.assert_array_equal(first.act_batch(observations), second.act_batch(observations))


# --- hyper-parameters, files, spaces ---


def test_defaults_are_filled_in_and_the_learning_rate_is_the_optimizers_own() -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.7)
    agent = TorchAgent(model, optimizer, HyperparamSet({"mine": "kept"}))
    assert agent.get_hyperparams().params == {"learning_rate": 0.7, "gamma": 0.99, "entropy_coef": 0.0, "mine": "kept"}
    assert optimizer.param_groups[0]["lr"] == 0.7


@pytest.mark.parametrize(
    "params", [{"gama": 0.9}, {"gamma": 1.5}, {"learning_rate": 0}, {"entropy_coef": float("nan")}]
)
def test_hyperparams_that_are_misspelt_or_out_of_range_are_refused_and_nothing_changes(params: dict[str, Any]) -> None:
    agent = agent_of(linear(), lr=0.1)
    before = agent.get_hyperparams().params
    with pytest.raises(HyperparamError, match=next(iter(params))):
        agent.set_hyperparams(HyperparamSet({**before, **params}))
    assert agent.get_hyperparams().params == before
    with pytest.raises(HyperparamError):
        agent_of(linear(), **{"lr": 0.1, **params})


def test_weights_survive_a_file_and_another_model_refuses_them(tmp_path: Path) -> None:
    path = str(tmp_path / "w")
    source, target = linear(seed=0), linear(seed=1)
    agent_of(source).save_weights(path)
    agent_of(target).load_weights(path)
    assert torch.equal(source[0].weight, target[0].weight)
    with pytest.raises(CheckpointMismatchError, match=r"model\.0\.weight.*\(2, 3\).*\(2, 5\)"):
        agent_of(linear(5)).load_weights(path)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = linear()
    nn.init.constant_(model[0].bias, float("nan"))
    with pytest.raises(NonFiniteError, match=r"model\.0\.bias"):
        agent_of(model).save_weights(str(tmp_path / "w"))
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_agent_learns_and_acts_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    path = str(tmp_path / "state")

    def adam_agent(seed: int) -> tuple[nn.Sequential, TorchAgent]:
        model = linear(seed=seed)
        return model, TorchAgent(model, torch.optim.Adam(model.parameters()), HyperparamSet({}), seed=seed)

    first, agent = adam_agent(0)
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.03, "gamma": 0.5}))
    agent.learn(window())
    agent.act_batch(np.zeros((5, 3)))
    agent.save_training_state(path)
    second, resumed = adam_agent(9)
    resumed.load_training_state(path)
    for one in (agent, resumed):
        one.learn(window())
    assert torch.equal(first[0].weight, second[0].weight)
    assert resumed.get_hyperparams().params == agent.get_hyperparams().params
    observations = np.zeros((50, 3), np.float32)
    np.testing.assert_array_equal(agent.act_batch(observations), resumed.act_batch(observations))


def normalising(seed: int) -> tuple[nn.Module, torch.optim.Adam, TorchAgent]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters())
    return model, optimizer, TorchAgent(model, optimizer, HyperparamSet({}), seed=seed)


def test_counters_without_axes_survive_in_model_and_optimizer(tmp_path: Path) -> None:
    model, _, agent = normalising(0)
    agent.learn(window())
    agent.save_weights(str(tmp_path / "weights"))
    agent.save_training_state(str(tmp_path / "state"))
    other, optimizer, resumed = normalising(1)
    for load, path in ((resumed.load_weights, "weights"), (resumed.load_training_state, "state")):
        load(str(tmp_path / path))
        assert other.state_dict().keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name
    assert other.state_dict()["1.num_batches_tracked"].shape == ()
    assert {(entry["step"].shape, float(entry["step"])) for entry in optimizer.state.values()} == {((), 1.0)}


def test_weights_alone_are_no_training_state_and_change_nothing(tmp_path: Path) -> None:
    agent_of(linear(seed=0)).save_weights(str(tmp_path / "w"))
    model = linear(seed=1)
    with pytest.raises(CheckpointMismatchError, match="holds weights only"):
        agent_of(model).load_training_state(str(tmp_path / "w"))
    assert torch.equal(model[0].weight, linear(seed=1)[0].weight)


@pytest.mark.parametrize(
    ("model", "optimizer", "message"),
    [
        (linear(), torch.optim.SGD(linear().parameters()), r"does not train 'model\.0\.weight' of shape \(2, 3\)"),
        (linear(), "adam", r"optimizer must be a torch\.optim\.Optimizer, but got str"),
        (lambda x: x, torch.optim.SGD(linear().parameters()), r"model must be a torch\.nn\.Module, but got function"),
    ],
    ids=["misses weights", "no optimizer", "no module"],
)
def test_parts_that_do_not_belong_together_are_refused_by_name(model: Any, optimizer: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        TorchAgent(model, optimizer, HyperparamSet({}))
