"""Acting in numpy: equal to the module, and never stale."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tensor_optix.adapters.pytorch import _predictor
from tensor_optix.adapters.pytorch._predictor import LogStd, TorchPredictor
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.errors import ContractError

torch.set_num_threads(1)

OBSERVATIONS = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)


def net(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8, bias=bias), nn.Tanh(), nn.Linear(8, 3, bias=bias))


def dense_stacks() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return {
        "tanh": net(),
        "relu": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)),
        "sigmoid": nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2)),
        "silu": nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 2)),
        "relu in place": nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)),
        "activation last": nn.Sequential(nn.Linear(4, 2), nn.Tanh()),
        "one layer": nn.Linear(4, 2),
        "nested": nn.Sequential(
            nn.Sequential(nn.Linear(4, 8), nn.Tanh()), nn.Sequential(nn.Sequential(nn.Linear(8, 2)))
        ),
        "no bias": net(bias=False),
        "identity and dropout": nn.Sequential(nn.Linear(4, 8), nn.Identity(), nn.Dropout(0.5), nn.Linear(8, 2)),
        "log_std": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2), LogStd(2, initial=-0.7)),
        "float64": net().double(),
    }


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * 2


class LoudLinear(nn.Linear):
    """A subclass is not a Linear layer: it may compute anything."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 100


class SumOfBranches(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[0](x) + self[1](x)


class LastOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x.unsqueeze(-2))[0][..., -1, :]


def hooked(register: Callable[[nn.Sequential], Any]) -> nn.Module:
    module = net()
    register(module)
    return module


def other_modules() -> dict[str, nn.Module]:
    torch.manual_seed(2)
    return {
        "custom": Custom(),
        "custom inside": nn.Sequential(Custom(), nn.Tanh(), nn.Linear(2, 2)),
        "subclass of Linear": nn.Sequential(LoudLinear(4, 2)),
        "subclass of Sequential": SumOfBranches(nn.Linear(4, 2), nn.Linear(4, 2)),
        "gru": LastOutput(),
        "layer norm": nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)),
        "batch norm": nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)),
        "gelu": nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)),
        "activation first": nn.Sequential(nn.Tanh(), nn.Linear(4, 2)),
        "relu first": nn.Sequential(nn.ReLU(), nn.Linear(4, 2)),
        "hook": hooked(lambda m: m.register_forward_hook(lambda _, __, out: out * 3)),
        "hook on a layer": hooked(lambda m: m[0].register_forward_hook(lambda _, __, out: out * 3)),
        "pre-hook on a layer": hooked(lambda m: m[2].register_forward_pre_hook(lambda _, args: (args[0] * 3,))),
        "weight norm": hooked(lambda m: nn.utils.parametrizations.weight_norm(m[0])),
        "conv": nn.Sequential(nn.Unflatten(-1, (1, 4)), nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(6, 2)),
    }


def through_torch(module: nn.Module, observations: Any = OBSERVATIONS) -> np.ndarray:
    parameter = next(module.parameters())
    with torch.no_grad():
        return module.eval()(torch.as_tensor(observations).to(parameter.dtype)).numpy()


def assert_fresh(predict: Callable[[Any], np.ndarray], module: nn.Module) -> None:
    np.testing.assert_allclose(predict(OBSERVATIONS), through_torch(module), rtol=1e-5, atol=1e-6)


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the forward passes that do without PyTorch."""
    calls: list[int] = []
    original = _predictor._dense.forward

    def counted(layers: Any, x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return original(layers, x)

    monkeypatch.setattr(_predictor._dense, "forward", counted)
    return calls


# --- equal ---


@pytest.mark.parametrize("name", dense_stacks())
def test_a_dense_stack_acts_in_numpy_with_the_modules_own_output(name: str, forwards: list[int]) -> None:
    module = dense_stacks()[name]
    predict = TorchBackend().predictor(module)
    tolerance = 1e-12 if name == "float64" else 1e-5
    expected = through_torch(module)
    result = predict(OBSERVATIONS)
    assert forwards == [7]
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(predict(OBSERVATIONS[0]), expected[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", other_modules())
def test_any_other_module_acts_through_torch(name: str, forwards: list[int]) -> None:
    module = other_modules()[name]
    predict = TorchBackend().predictor(module)
    np.testing.assert_allclose(predict(OBSERVATIONS), through_torch(module), rtol=1e-6, atol=1e-6)
    assert forwards == []


@pytest.mark.parametrize("module", [net(), Custom()], ids=["dense", "other"])
def test_a_prediction_is_a_new_array_without_gradients(module: nn.Module) -> None:
    predict = TorchBackend().predictor(module)
    observations = OBSERVATIONS.copy()
    first = predict(observations)
    kept = first.copy()
    second = predict(observations * 2)
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(observations, OBSERVATIONS)
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("module", [net(), Custom()], ids=["dense", "other"])
@pytest.mark.parametrize("convert", [np.ndarray.tolist, lambda x: x.astype(np.float64), lambda x: list(x)])
def test_observations_may_be_any_array_like(module: nn.Module, convert: Callable) -> None:
    predict = TorchBackend().predictor(module)
    np.testing.assert_allclose(predict(convert(OBSERVATIONS)), predict(OBSERVATIONS), rtol=1e-6)


def test_observations_of_integers_are_taken_as_numbers() -> None:
    for module in (net(), Custom()):
        predict = TorchBackend().predictor(module)
        pixels = np.array([[0, 255, 3, 4]], np.uint8)
        np.testing.assert_allclose(predict(pixels), predict(pixels.astype(np.float32)), rtol=1e-6)


@pytest.mark.parametrize("first", [nn.ReLU(inplace=True), nn.SiLU(inplace=True)], ids=["relu", "silu"])
def test_a_first_layer_that_works_in_place_leaves_the_callers_observations_alone(first: nn.Module) -> None:
    predict = TorchBackend().predictor(nn.Sequential(first, nn.Linear(4, 2)))
    observations = OBSERVATIONS.copy()
    predict(observations)
    predict.one(observations[0])
    np.testing.assert_array_equal(observations, OBSERVATIONS)


# --- never stale ---


def by_optimizer(module: nn.Sequential) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module(torch.ones(1, 4)).sum().backward()
    optimizer.step()


def by_load_state_dict(module: nn.Sequential, assign: bool = False) -> None:
    module.load_state_dict({name: torch.randn_like(t) for name, t in module.state_dict().items()}, assign=assign)


def by_data_assignment(module: nn.Sequential) -> None:
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter)


def by_copy_in_place(module: nn.Sequential) -> None:
    for parameter in module.parameters():
        parameter.data.copy_(torch.randn_like(parameter))


def by_a_new_parameter(module: nn.Sequential) -> None:
    module[0].weight = nn.Parameter(torch.randn(8, 4))
    module[2].bias = nn.Parameter(torch.randn(3))


def by_an_initialiser(module: nn.Sequential) -> None:
    nn.init.constant_(module[2].weight, 0.3)


def by_another_dtype(module: nn.Sequential) -> None:
    module.double()
    nn.init.constant_(module[0].weight, 0.3)


def by_shared_memory(module: nn.Sequential) -> None:
    module.share_memory()
    nn.init.constant_(module[0].weight, 0.3)


def by_one_entry(module: nn.Sequential) -> None:
    with torch.no_grad():
        module[0].weight[0, 0] = 5.0


def by_losing_a_bias(module: nn.Sequential) -> None:
    module[2].bias = None


CHANGES: list[Callable[[nn.Sequential], None]] = [
    by_optimizer,
    by_load_state_dict,
    lambda module: by_load_state_dict(module, assign=True),
    by_data_assignment,
    by_copy_in_place,
    by_a_new_parameter,
    by_an_initialiser,
    by_another_dtype,
    by_shared_memory,
    by_one_entry,
    by_losing_a_bias,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_of_the_weights_shows_in_the_next_prediction(change: Callable[[nn.Sequential], None]) -> None:
    module = net()
    predict = TorchBackend().predictor(module)
    before = predict(OBSERVATIONS)
    for _ in range(2):
        change(module)
        assert_fresh(predict, module)
    assert not np.allclose(before, predict(OBSERVATIONS))


def another_layer(module: nn.Sequential) -> None:
    module[0] = nn.Linear(4, 4)


def another_activation(module: nn.Sequential) -> None:
    module[1] = nn.ReLU()


def one_more_layer(module: nn.Sequential) -> None:
    module.append(nn.Linear(3, 2))


def a_bias_gained(module: nn.Sequential) -> None:
    module[0].bias = nn.Parameter(torch.ones(4))


def a_hook(module: nn.Sequential) -> None:
    module.register_forward_hook(lambda _, __, output: output * 3)


def a_hook_on_a_layer(module: nn.Sequential) -> None:
    module[2].register_forward_pre_hook(lambda _, inputs: (inputs[0] * 3,))


def transposed_in_place(module: nn.Sequential) -> None:
    weight = module[0].weight
    address = weight.data_ptr()
    weight.data = weight.data.t()
    assert weight.data_ptr() == address


def weight_norm(module: nn.Sequential) -> None:
    nn.utils.parametrizations.weight_norm(module[0])
    with torch.no_grad():
        module[0].parametrizations.weight.original0.mul_(2)  # type: ignore[union-attr]


def pruning(module: nn.Sequential) -> None:
    prune.l1_unstructured(module[0], "weight", 0.5)


@pytest.mark.parametrize(
    "change",
    [
        another_layer,
        another_activation,
        one_more_layer,
        a_bias_gained,
        a_hook,
        a_hook_on_a_layer,
        transposed_in_place,
        weight_norm,
        pruning,
    ],
    ids=lambda change: change.__name__,
)
def test_a_change_of_the_make_shows_in_the_next_prediction(change: Callable[[nn.Sequential], None]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 3))
    predict, single = TorchBackend().predictor(module), TorchBackend().predictor(module)
    before = predict(OBSERVATIONS)
    change(module)
    assert_fresh(predict, module)
    np.testing.assert_allclose(single.one(OBSERVATIONS[0]), through_torch(module)[0], rtol=1e-5, atol=1e-6)
    after = predict(OBSERVATIONS)
    assert before.shape != after.shape or not np.allclose(before, after)


def test_a_module_turned_to_a_number_that_numpy_lacks_acts_through_torch(forwards: list[int]) -> None:
    module = net()
    predict = TorchBackend().predictor(module)
    before = predict(OBSERVATIONS)
    forwards.clear()
    module.to(torch.bfloat16)
    with torch.no_grad():
        expected = module(torch.from_numpy(OBSERVATIONS).to(torch.bfloat16)).float().numpy()
    np.testing.assert_array_equal(predict(OBSERVATIONS), expected)
    np.testing.assert_allclose(predict.one(OBSERVATIONS[0]), before[0], atol=0.02)
    assert forwards == []


def test_a_new_log_std_shows_in_the_next_prediction() -> None:
    module = nn.Sequential(nn.Linear(4, 2), LogStd(2))
    predict = TorchBackend().predictor(module)
    with torch.no_grad():
        module[1].log_std.fill_(-1.5)
    np.testing.assert_array_equal(predict(OBSERVATIONS)[:, 2:], np.full((7, 2), -1.5, np.float32))
    module[1].log_std = nn.Parameter(torch.tensor([1.0, 2.0]))
    np.testing.assert_array_equal(predict(OBSERVATIONS)[0, 2:], [1.0, 2.0])


def test_a_module_turned_to_another_kind_of_number_goes_on_in_numpy(forwards: list[int]) -> None:
    module = net()
    predict = TorchBackend().predictor(module)
    module.double()
    assert predict(OBSERVATIONS).dtype == np.float64
    assert forwards == [7]


# --- dropout ---


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 2)),
        nn.Sequential(nn.Linear(4, 64), nn.LayerNorm(64), nn.Dropout(0.5), nn.Linear(64, 2)),
    ],
    ids=["dense", "other"],
)
def test_dropout_is_inactive_while_acting(module: nn.Module) -> None:
    predict = TorchBackend().predictor(module.train())
    np.testing.assert_array_equal(predict(OBSERVATIONS), predict(OBSERVATIONS))
    assert_fresh(predict, module)


# --- LogStd ---


def test_log_std_is_a_free_weight_appended_to_the_mean() -> None:
    layer = LogStd(2, initial=0.5)
    assert [name for name, _ in layer.named_parameters()] == ["log_std"]
    output = layer(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert output.tolist() == [[1.0, 2.0, 0.5, 0.5], [3.0, 4.0, 0.5, 0.5]]
    output[:, 2:].sum().backward()
    assert layer.log_std.grad is not None
    assert layer.log_std.grad.tolist() == [2.0, 2.0]


def test_a_module_without_parameters_is_predicted_too() -> None:
    np.testing.assert_allclose(TorchPredictor(nn.Tanh())(OBSERVATIONS), np.tanh(OBSERVATIONS), rtol=1e-6)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return x, None


def test_a_module_that_returns_no_tensor_is_refused_with_what_it_returns() -> None:
    with pytest.raises(ContractError, match=r"must return one torch\.Tensor, but returned a tuple of Tensor, NoneType"):
        TorchPredictor(Pair())(np.zeros((2, 3)))
