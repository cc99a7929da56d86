"""Optimizers and layers at a start: the same as ever, and PyTorch's compiler is not imported for them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tensor_optix.adapters.pytorch import _without_compiler
from tensor_optix.adapters.pytorch._without_compiler import (
    step_without_compiler,
    unfilled,
    without_compiler,
)

NOT_IMPORTED = "torch.a_compiler_that_nobody_has_imported"
"""In the place of the true one, which stays as it is: half imported again, it would compile nothing any more."""
METHODS = ("add_param_group", "state_dict", "load_state_dict")
A_RUNS_START = """
import sys
from tensor_optix import make_agent
agent = make_agent("{env}", "{algorithm}", "torch", seed=0)
agent.save_weights("{folder}/agent")
agent.load_weights("{folder}/agent")
agent.save_training_state("{folder}/state")
agent.load_training_state("{folder}/state")
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def methods() -> list[object]:
    return [vars(torch.optim.Optimizer)[name] for name in METHODS]


def test_the_methods_of_optimizers_are_plain_meanwhile_and_as_before_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_without_compiler, "_COMPILER", NOT_IMPORTED)
    before = methods()
    with without_compiler(), without_compiler():
        assert not any(hasattr(method, "__wrapped__") for method in methods())
    assert methods() == before


def test_where_the_compiler_is_imported_it_is_told_what_not_to_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", torch)
    before = methods()
    with without_compiler():
        assert methods() == before


def test_an_optimizer_made_meanwhile_steps_and_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_without_compiler, "_COMPILER", NOT_IMPORTED)
    weight = nn.Parameter(torch.ones(3))
    with without_compiler():
        optimizer = torch.optim.Adam([weight], lr=0.5)
    monkeypatch.undo()
    weight.grad = torch.ones(3)
    optimizer.step()
    with without_compiler():
        state = optimizer.state_dict()
        other = torch.optim.Adam([nn.Parameter(torch.ones(3))])
        other.load_state_dict(state)
    assert torch.allclose(weight, torch.full((3,), 0.5))
    assert other.param_groups[0]["lr"] == 0.5
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], state["state"][0]["exp_avg"])


class Doubled(torch.optim.SGD):
    """A user's own, whose `step` is not PyTorch's."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        super().step()
        super().step()


@pytest.mark.parametrize(("kind", "expected"), [(torch.optim.SGD, 0.5), (Doubled, 0.0)])
def test_a_step_is_the_usual_one(kind: type[torch.optim.SGD], expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = kind([weight], lr=0.5)
    weight.grad = torch.ones(3)
    monkeypatch.setattr(_without_compiler, "_COMPILER", NOT_IMPORTED)
    with torch.no_grad():
        step_without_compiler(optimizer)
    monkeypatch.undo()
    assert torch.equal(weight, torch.full((3,), expected))


@pytest.mark.parametrize(
    ("kind", "arguments"), [(nn.Linear, (3, 5)), (nn.Conv2d, (2, 4, 3)), (nn.LSTM, (3, 5)), (nn.GRU, (3, 5))]
)
def test_an_unfilled_layer_has_the_weights_of_its_kind_and_draws_nothing(
    kind: type[nn.Module], arguments: tuple[int, ...]
) -> None:
    usual, before = kind(*arguments), torch.get_rng_state()
    layer = unfilled(kind, *arguments)
    assert torch.equal(torch.get_rng_state(), before)
    shapes = [(name, p.shape, p.dtype, p.device, p.requires_grad) for name, p in usual.named_parameters()]
    assert [(name, p.shape, p.dtype, p.device, p.requires_grad) for name, p in layer.named_parameters()] == shapes
    layer.load_state_dict(usual.state_dict())
    inputs = torch.ones(2, 2, 6, 6) if kind is nn.Conv2d else torch.ones(2, 4, 3)
    expected, found = usual(inputs), layer(inputs)
    assert torch.equal(*((x if isinstance(x, torch.Tensor) else x[0]) for x in (expected, found)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "algorithm"), [("CartPole-v1", "ppo"), ("CartPole-v1", "recurrent_ppo"), ("Pendulum-v1", "sac")]
)
def test_a_fresh_process_makes_saves_and_loads_an_agent_without_the_compiler(
    env: str, algorithm: str, tmp_path: Path
) -> None:
    code = A_RUNS_START.format(env=env, algorithm=algorithm, folder=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
