"""Compiled update steps against the textbook loop, and what does not compile."""

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch._compiled import UNROLLED, CompiledSteps
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.errors import InvalidArgumentError
from tests.adapters.pytorch.textbook import (
    DATA,
    OPTIMIZERS,
    ROWS,
    SCALARS,
    Pair,
    adam,
    loss_of,
    networks,
    parameters_of,
    textbook,
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize(
    # The graph is the same; that C++ is made of it, which takes half a minute, is looked at in the slow tier.
    "backend",
    ["eager", pytest.param(None, marks=pytest.mark.slow, id="inductor")],
)
def test_compiled_steps_equal_the_textbook_and_neither_new_hyperparams_nor_another_size_compile_again(
    backend: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend is not None:
        compiled = torch.compile
        monkeypatch.setattr(
            torch, "compile", lambda function, **how: compiled(function, **how | {"options": None, "backend": backend})
        )
    torch.manual_seed(0)
    pair = Pair(adam, [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), nn.Linear(3, 1)])
    updater = pair.updater(compile=True)
    graphs = []
    # Ten and seven steps: two groups of four and two over, one group and three over. Five rows are another size.
    for rows, rate, scalars in (
        (ROWS[:10], 1e-2, SCALARS),
        (ROWS[10:17], 3e-3, {"bound": 0.05, "weight": 2.0}),
        (ROWS[:3], 1e-3, SCALARS),
        (ROWS[:8, :5], 1e-2, SCALARS),
        (ROWS, 2e-2, {"bound": 100.0, "weight": 0.1}),
    ):
        for optimizer in (pair.our_optimizer, pair.their_optimizer):
            TorchBackend().set_learning_rates(optimizer, [rate])
        ours = updater(DATA, rows, scalars)
        theirs = textbook(pair.theirs, pair.their_optimizer, rows, scalars)
        pair.assert_equal(1e-5)
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
        assert updater.is_compiled
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs == [1] * 5


def steps_of(optimizer: str) -> CompiledSteps:
    models = networks()
    trained = parameters_of(models)
    return CompiledSteps([(Objective(loss_of, models, OPTIMIZERS[optimizer](trained), "bound"), trained)])


@pytest.mark.parametrize(
    "optimizer", sorted(OPTIMIZERS.keys() - {"adam", "adam with other betas", "adam in another order"})
)
def test_what_is_no_plain_adam_is_refused(optimizer: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"only a plain torch\.optim\.Adam"):
        steps_of(optimizer)


def test_fewer_minibatches_than_a_call_takes_are_left_to_the_caller() -> None:
    steps = steps_of("adam")
    block = {name: torch.from_numpy(array[ROWS[: UNROLLED - 1]]) for name, array in DATA.items()}
    assert steps(block, SCALARS) == (0, [])
    assert not steps.has_run
