"""What is compiled, run as it is written: the textbook's steps on flat vectors, written back in place."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.backend import TARGET_RATE, Objective
from tensor_optix.adapters.pytorch._adam import AdamState
from tensor_optix.adapters.pytorch._program import Group, Program
from tensor_optix.errors import InvalidArgumentError
from tests.adapters.pytorch.textbook import (
    DATA,
    OPTIMIZERS,
    ROWS,
    SCALARS,
    Pair,
    adam,
    assert_close,
    loss_of,
    networks,
    parameters_of,
    textbook,
)

RATE = 1e-2
"""Of the textbook's `adam`."""


def chunk(rows: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array[rows]) for array in DATA.values()]


@pytest.mark.parametrize("name", ["adam", "adam with other betas"])
def test_unrolled_steps_are_those_of_the_textbook(name: str) -> None:
    pair = Pair(OPTIMIZERS[name])
    group = Group(Objective(loss_of, pair.ours, pair.our_optimizer, "bound"), parameters_of(pair.ours))
    state = AdamState(pair.our_optimizer, group.parameters)
    constants = (*state.group["betas"], state.group["eps"])
    steps = Program([group], [constants], 4, list(DATA), list(SCALARS), []).function()
    flat, found = group.gather(state), []
    for first in range(0, 8, 4):
        knobs = torch.tensor([RATE, *SCALARS.values()])
        found.append(steps(flat, knobs, torch.empty(4, 0), chunk(ROWS[first : first + 4])))
    group.scatter(state, flat)
    expected = textbook(pair.theirs, pair.their_optimizer, ROWS[:8])
    pair.assert_equal(1e-5)
    means = torch.cat(found).mean(0).tolist()
    assert dict(zip(("policy_loss", "value_loss", "grad_norm"), means, strict=True)) == pytest.approx(
        expected, rel=1e-4
    )


def test_a_state_that_is_gathered_and_scattered_is_the_one_it_was() -> None:
    pair = Pair()
    textbook(pair.ours, pair.our_optimizer, ROWS[:3])
    textbook(pair.theirs, pair.their_optimizer, ROWS[:3])
    group = Group(Objective(loss_of, pair.ours, pair.our_optimizer), parameters_of(pair.ours))
    state = AdamState(pair.our_optimizer, group.parameters)
    flat = group.gather(state)
    assert [tensor.shape for tensor in flat] == [(sum(group.sizes),)] * 3 + [()]
    with torch.no_grad():
        for parameter in group.parameters:
            parameter.zero_()
    group.scatter(state, flat)
    pair.assert_equal(0.0)


def squared(models: Sequence[Any], batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    loss = models[0](batch["observations"]).square().mean() * scalars["weight"]
    return loss, {"loss": loss}


def test_lagged_copies_follow_and_what_differs_by_step_is_read_by_step() -> None:
    torch.manual_seed(0)
    model, lagged = nn.Linear(3, 2), nn.Linear(3, 2)
    before = [p.detach().clone() for p in lagged.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    group = Group(Objective(squared, [model], optimizer, lagged=[lagged]), list(model.parameters()))
    state = AdamState(optimizer, group.parameters)
    steps = Program([group], [(0.9, 0.999, 1e-8)], 2, ["observations"], ["weight"], [TARGET_RATE]).function()
    flat = group.gather(state)
    observations = torch.from_numpy(DATA["observations"][ROWS[:2]])
    steps(flat, torch.tensor([RATE, 1.0]), torch.tensor([[0.0], [0.25]]), [observations])  # copies follow at the second
    group.scatter(state, flat)
    expected = [0.25 * new.detach() + 0.75 * old for new, old in zip(model.parameters(), before, strict=True)]
    assert_close([p.detach() for p in lagged.parameters()], expected)


def test_copies_that_cannot_be_one_vector_are_refused() -> None:
    frozen = networks()
    frozen[0][0].weight.requires_grad_(False)  # type: ignore[index]
    trained = [p for p in parameters_of(frozen) if p.requires_grad]
    with pytest.raises(InvalidArgumentError, match="frozen or shared weights do not compile"):
        Group(Objective(loss_of, frozen, adam(trained), lagged=networks()), trained)
    models, copies = [nn.BatchNorm1d(3)], [nn.BatchNorm1d(3)]
    with pytest.raises(InvalidArgumentError, match="running statistics do not compile"):
        Group(Objective(loss_of, models, adam(parameters_of(models)), lagged=copies), parameters_of(models))


def test_each_program_has_separate_code() -> None:
    pair = Pair()
    group = Group(Objective(loss_of, pair.ours, pair.our_optimizer), parameters_of(pair.ours))
    made = [Program([group], [(0.9, 0.999, 1e-8)], 1, list(DATA), list(SCALARS), []) for _ in range(2)]
    codes = {program.function().__code__ for program in made}
    assert len(codes) == 2  # compiled code is cached by it
