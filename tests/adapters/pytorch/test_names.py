"""Names of weights without what wrappers add to them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import HyperparamSet
from tensor_optix.adapters.pytorch._names import plain_names, plain_paths, unwrapped, without_wrappers
from tensor_optix.adapters.saving.tensorfile import load_tensors, save_tensors
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tests.fakes.torch_models import Wrapper, adam, dense

PLAIN = {"0.weight", "0.bias", "2.weight", "2.bias"}


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


class Named(nn.Module):
    """Whoever has another module beside, or a weight, is no wrapper."""

    def __init__(self, *, beside: bool) -> None:
        super().__init__()
        self.module = nn.Linear(2, 1)
        if beside:
            self.head = nn.Linear(1, 1)
        else:
            self.scale = nn.Parameter(torch.ones(1))


WRAPPERS: dict[str, Any] = {
    "compiled": compiled,
    "data parallel": nn.DataParallel,
    "own": Wrapper,
    "several": lambda model: compiled(nn.DataParallel(Wrapper(model))),
    "within": lambda model: nn.Sequential(compiled(model[0]), model[1], Wrapper(model[2])),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapper_adds_nothing_to_the_names(kind: str) -> None:
    model = WRAPPERS[kind](dense(2))
    assert set(plain_paths(model).values()) == PLAIN
    assert plain_names(model, (name for name, _ in model.named_parameters())) == PLAIN
    assert {without_wrappers(path) for path in model.state_dict()} == PLAIN


@pytest.mark.parametrize("beside", [True, False])
def test_a_module_that_is_more_than_a_wrapper_keeps_its_names(beside: bool) -> None:
    assert {"module.weight", "module.bias"} <= set(plain_paths(Named(beside=beside)).values())


def test_a_wrapper_that_stands_under_two_names_is_none_under_either() -> None:
    shared = compiled(nn.Linear(2, 2))
    model = nn.ModuleDict({"first": shared, "second": shared})
    assert set(plain_paths(model).values()) == {
        f"{name}.{weight}" for name in ("first", "second") for weight in ("weight", "bias")
    }


def test_what_computes_the_same_is_unwrapped_and_nothing_else() -> None:
    model = dense(2)
    assert unwrapped(compiled(nn.DataParallel(model))) is model
    own = Wrapper(model)
    assert unwrapped(own) is own


def agent(wrap: Any = lambda model: model, seed: int = 0) -> TorchPPOAgent:
    torch.manual_seed(seed)
    actor, critic = wrap(dense(2)), wrap(dense(1))
    return TorchPPOAgent(actor, critic, adam(actor, critic), HyperparamSet({}), seed=0)


@pytest.mark.parametrize("kind", [*WRAPPERS])
def test_weights_move_between_wrapped_and_plain_models(kind: str, tmp_path: Path) -> None:
    wrapped, plain = agent(WRAPPERS[kind], 1), agent()
    observations = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    for source, target in ((wrapped, plain), (agent(seed=2), wrapped)):
        path = str(tmp_path / str(id(source)))
        source.save_weights(path)
        target.load_weights(path)
        np.testing.assert_allclose(source.action_probs(observations), target.action_probs(observations), rtol=1e-6)


def test_weights_that_were_saved_with_a_wrappers_names_are_read(tmp_path: Path) -> None:
    source, target = agent(seed=1), agent()
    source.save_weights(str(tmp_path / "now"))
    tensors, meta = load_tensors(str(tmp_path / "now"))
    before = {name: name.replace("actor.", "actor._orig_mod.module.") for name in tensors}
    order = [before[name] for name in meta["order"]]
    save_tensors(str(tmp_path / "then"), {before[n]: t for n, t in tensors.items()}, {**meta, "order": order})
    target.load_weights(str(tmp_path / "then"))
    assert all(np.array_equal(array, source.snapshot()[0][name]) for name, array in target.snapshot()[0].items())
