"""Update steps against the textbook loop: zero_grad, backward, clip_grad_norm_, step."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix.adapters.backend import Objective
from tensor_optix.adapters.pytorch import _updater
from tensor_optix.adapters.pytorch._adam import global_norm
from tensor_optix.adapters.pytorch._compiled import CompiledSteps, ProgramChoice
from tensor_optix.adapters.pytorch._updater import TorchUpdater
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tests.adapters.pytorch.textbook import (
    DATA,
    OPTIMIZERS,
    ROWS,
    SCALARS,
    Optimizers,
    Pair,
    adam,
    loss_of,
    networks,
    parameters_of,
    textbook,
)

torch.set_num_threads(1)


# --- eager ---


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bounded", [True, False])
def test_twenty_steps_equal_the_textbook_loop(name: str, bounded: bool) -> None:
    pair = Pair(OPTIMIZERS[name])
    ours = pair.updater(bound="bound" if bounded else None)(DATA, ROWS, SCALARS)
    theirs = textbook(pair.theirs, pair.their_optimizer, bounded=bounded)
    pair.assert_equal()
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("name", ["adam", "sgd with momentum"])
def test_a_frozen_parameter_stays_and_the_others_step_as_in_the_textbook(name: str) -> None:
    models = networks()
    models[0][0].weight.requires_grad_(False)  # type: ignore[index]
    pair = Pair(OPTIMIZERS[name], models)
    frozen = models[0][0].weight.detach().clone()  # type: ignore[index]
    pair.updater()(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()
    assert torch.equal(models[0][0].weight, frozen)  # type: ignore[index]


@pytest.mark.parametrize("name", ["adam", "sgd with momentum"])
def test_a_layer_that_both_models_share_counts_once(name: str) -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
    pair = Pair(OPTIMIZERS[name], [nn.Sequential(trunk, nn.Linear(5, 2)), nn.Sequential(trunk, nn.Linear(5, 1))])
    ours = pair.updater()(DATA, ROWS, SCALARS)
    theirs = textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd with momentum"])
def test_a_parameter_that_the_loss_does_not_use_stays_without_moments(name: str) -> None:
    models = networks()
    models[0].register_parameter("unused", nn.Parameter(torch.ones(3)))
    pair = Pair(OPTIMIZERS[name], models)
    pair.updater()(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()
    assert models[0].unused.tolist() == [1.0, 1.0, 1.0]  # type: ignore[union-attr]


def test_a_parameter_that_only_some_losses_use_steps_with_those() -> None:
    def sometimes(models: Sequence[Any], batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> Any:
        loss, metrics = loss_of(models, batch, scalars)
        return (loss + models[0].extra.square().sum() if float(batch["targets"].sum()) > 0 else loss), metrics

    models = networks()
    models[0].register_parameter("extra", nn.Parameter(torch.ones(3)))
    pair = Pair(adam, models)
    pair.updater(loss=sometimes)(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer, loss=sometimes)
    pair.assert_equal()
    steps = {float(entry["step"]) for entry in pair.our_optimizer.state.values()}
    assert len(steps) == 2


def test_networks_of_doubles_are_trained_as_doubles() -> None:
    pair = Pair(adam, [model.double() for model in networks()])
    pair.updater()(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal(1e-10)


def test_the_users_own_steps_go_on_from_the_same_state() -> None:
    pair = Pair()
    updater = pair.updater()
    for _ in range(2):
        updater(DATA, ROWS[:7], SCALARS)
        textbook(pair.ours, pair.our_optimizer, ROWS[7:])
        textbook(pair.theirs, pair.their_optimizer, ROWS)
    pair.assert_equal()


def test_gradients_left_by_the_user_are_not_added() -> None:
    pair = Pair(OPTIMIZERS["sgd with momentum"])
    for parameter in parameters_of(pair.ours):
        parameter.grad = torch.full_like(parameter, 100.0)
    pair.updater()(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()


def test_a_learning_rate_changed_between_calls_holds_from_then_on() -> None:
    pair = Pair()
    updater = pair.updater()
    for rate in (1e-2, 1e-4, 1e-1):
        for optimizer in (pair.our_optimizer, pair.their_optimizer):
            TorchBackend().set_learning_rates(optimizer, [rate])
        updater(DATA, ROWS, SCALARS)
        textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()


@pytest.mark.parametrize("make", [adam, lambda p: torch.optim.SGD(p, lr=1e-3)], ids=["adam", "sgd"])
def test_the_norm_reported_is_the_one_before_clipping(make: Optimizers) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)

    def squared(models: Sequence[Any], batch: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
        loss = models[0](batch["x"]).square().sum()
        return loss, {"loss": loss}

    updater = TorchUpdater(Objective(squared, [model], make(list(model.parameters())), "bound"), False)
    # d(w·3)²/dw = 2·w·9 = 36 at w = 2
    metrics = updater({"x": np.array([[3.0]], np.float32)}, np.array([[0]]), {"bound": 0.5})
    assert metrics == pytest.approx({"loss": 36.0, "grad_norm": 36.0})


def test_clipping_bounds_the_norm_over_all_weights_together() -> None:
    pair = Pair(lambda p: torch.optim.SGD(p, lr=1.0))
    before = [p.detach().clone() for p in parameters_of(pair.ours)]
    metrics = pair.updater()(DATA, ROWS[:1], {**SCALARS, "bound": 0.01})
    assert metrics["grad_norm"] > 0.01
    moved = [p.detach() - b for p, b in zip(parameters_of(pair.ours), before, strict=True)]
    assert float(global_norm(moved)) == pytest.approx(0.01, rel=1e-3)


def test_minibatches_gathered_in_small_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_updater, "_GATHER_BYTES", 500)
    pair = Pair()
    ours = pair.updater()(DATA, ROWS, SCALARS)
    theirs = textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_same_rows_one_call_at_a_time_give_the_same() -> None:
    pair = Pair()
    updater = pair.updater()
    for row in ROWS:
        updater(DATA, row[None], SCALARS)
    textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()


@pytest.mark.parametrize("inputs", [(), ("observations",)])
@pytest.mark.parametrize("layer", [nn.Identity, partial(nn.LayerNorm, 4)])
def test_one_hot_rows_are_multiplied_only_where_no_weights_can_be_gathered(
    inputs: Sequence[str], layer: Callable[[], nn.Module]
) -> None:
    seen: list[int] = []

    def record(models: Sequence[Any], batch: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
        seen.append(len(batch["observations"].shape))
        loss = models[0](batch["observations"]).square().mean()
        return loss, {"loss": loss}

    def trained(inputs: Sequence[str], *, in_numpy: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(70, 4), layer(), nn.Tanh(), nn.Linear(4, 1))
        objective = Objective(record, [model], adam(list(model.parameters())), inputs=inputs)
        choice = ProgramChoice({}, "update")
        if not in_numpy:
            choice.settle_steps(False)
        TorchUpdater(objective, None, choice=choice)({"observations": rows}, ROWS % 20, {"bound": 0.5})
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    rows = np.eye(70, dtype=np.float32)[np.arange(20) * 3 % 7]
    expected = trained((), in_numpy=False)
    seen.clear()
    torch.testing.assert_close(trained(inputs, in_numpy=True), expected, rtol=1e-4, atol=1e-5)
    assert seen[-1] == (1 if inputs and layer is nn.Identity else 2)


def test_float_actions_reach_the_loss_as_floats() -> None:
    seen: list[torch.dtype] = []

    def record(models: Sequence[Any], batch: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
        seen.append(batch["actions"].dtype)
        loss = (models[0](batch["observations"]) - batch["actions"].float()).square().mean()
        return loss, {"loss": loss}

    model = nn.Linear(3, 1)
    updater = TorchUpdater(Objective(record, [model], adam(list(model.parameters()))), False)
    for dtype in (np.float32, np.float64, np.int32, np.uint8):
        updater({**DATA, "actions": np.ones((40, 1), dtype)}, ROWS[:1], {})
    assert seen == [torch.float32, torch.float32, torch.int64, torch.int64]


def test_models_train_during_the_update_and_are_in_evaluation_mode_after_it_even_if_it_fails() -> None:
    pair = Pair()
    modes: list[bool] = []

    def fails_at_last(models: Sequence[Any], batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> Any:
        modes.extend(model.training for model in models)
        if len(modes) == 6:
            raise RuntimeError("the user's loss")
        return loss_of(models, batch, scalars)

    with pytest.raises(RuntimeError, match="the user's loss"):
        pair.updater(loss=fails_at_last)(DATA, ROWS, SCALARS)
    assert modes == [True] * 6
    assert not any(module.training for model in pair.ours for module in model.modules())


# --- minimise ---


@pytest.mark.parametrize("name", ["adam", "sgd with momentum"])
def test_minimise_is_one_textbook_step_without_clipping(name: str) -> None:
    pair = Pair(OPTIMIZERS[name])
    batch = {key: torch.from_numpy(array) for key, array in DATA.items()}
    modes: list[bool] = []

    def loss() -> torch.Tensor:
        modes.extend(model.training for model in pair.ours)
        return loss_of(pair.ours, batch, SCALARS)[0]

    expected = float(loss().detach())
    modes.clear()
    value, norm = TorchBackend().minimise(loss, pair.ours, pair.our_optimizer)
    reference = textbook(pair.theirs, pair.their_optimizer, np.arange(40)[None], bounded=False)
    pair.assert_equal()
    assert value == pytest.approx(expected, rel=1e-6)
    assert norm == pytest.approx(reference["grad_norm"], rel=1e-5)
    assert set(modes) == {True}
    assert not any(model.training for model in pair.ours)


# --- compiled ---


class Branching(nn.Module):
    """Its forward pass asks for a number, which no whole graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return 2 * y if y.sum().item() > 0 else y


def branching_pair() -> Pair:
    return Pair(adam, [Branching(), networks()[1]])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
def test_what_cannot_be_compiled_runs_as_in_the_textbook_after_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    pair = branching_pair()
    updater = pair.updater(compile=True)
    with caplog.at_level(logging.WARNING, logger=_updater.__name__):
        for _ in range(3):
            updater(DATA, ROWS, SCALARS)
            textbook(pair.theirs, pair.their_optimizer)
            pair.assert_equal()
    (record,) = caplog.records
    assert record.getMessage().startswith("The update runs uncompiled: ")
    assert not updater.is_compiled


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
def test_a_short_first_call_does_not_hide_that_the_update_cannot_be_compiled(caplog: pytest.LogCaptureFixture) -> None:
    pair = branching_pair()
    updater = pair.updater(compile=True)
    with caplog.at_level(logging.WARNING, logger=_updater.__name__):
        for rows in (ROWS[:3], ROWS, ROWS):  # three steps are too few for the compiled graph
            updater(DATA, rows, SCALARS)
            textbook(pair.theirs, pair.their_optimizer, rows)
            pair.assert_equal()
    (record,) = caplog.records
    assert record.getMessage().startswith("The update runs uncompiled: ")
    assert not updater.is_compiled


def test_an_optimizer_that_cannot_be_compiled_runs_as_in_the_textbook_after_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pair = Pair(OPTIMIZERS["adamw"])
    updater = pair.updater(compile=True)
    with caplog.at_level(logging.WARNING, logger=_updater.__name__):
        for _ in range(2):
            updater(DATA, ROWS, SCALARS)
            textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()
    (record,) = caplog.records
    assert "torch.optim.Adam" in record.getMessage()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
def test_left_to_itself_it_compiles_only_after_a_number_of_steps(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_updater, "COMPILE_AFTER_STEPS", 40)
    monkeypatch.setattr(_updater.shutil, "which", lambda _: "/usr/bin/g++")
    updater = branching_pair().updater(compile=None)
    attempts = []
    for _ in range(4):
        with caplog.at_level(logging.WARNING, logger=_updater.__name__):
            updater(DATA, ROWS, SCALARS)
        attempts.append(len(caplog.records))
    assert attempts == [0, 0, 1, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.usefixtures("fresh_compiler")
def test_a_resumed_run_compiles_when_the_one_before_would_have(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_updater, "COMPILE_AFTER_STEPS", 40)
    monkeypatch.setattr(_updater.shutil, "which", lambda _: "/usr/bin/g++")
    pair = branching_pair()
    first = pair.updater(compile=None)
    first(DATA, ROWS, SCALARS)
    first(DATA, ROWS, SCALARS)
    with caplog.at_level(logging.WARNING, logger=_updater.__name__):
        pair.updater(compile=None)(DATA, ROWS, SCALARS)  # another process, with the optimizer's state of the first
    assert len(caplog.records) == 1


@pytest.fixture
def nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program that would be compiled run as it is."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


@pytest.mark.usefixtures("nothing_is_compiled")
def test_a_resumed_run_compiles_for_the_minibatches_that_the_one_before_did() -> None:
    programs: dict[str, str] = {}
    pair = Pair()
    first = pair.updater(compile=True, choice=ProgramChoice(programs, "update"))
    first(DATA, ROWS[:4], SCALARS)
    assert first.is_compiled
    assert list(programs) == ["update"]
    saved = dict(programs)
    resumed = pair.updater(compile=True, choice=ProgramChoice(saved, "update"))
    resumed(DATA, ROWS[:4, :5], SCALARS)  # the one before made these steps uncompiled, too
    assert not resumed.is_compiled
    resumed(DATA, ROWS[4:8], SCALARS)
    assert resumed.is_compiled
    assert saved == programs
    another = pair.updater(compile=True, choice=ProgramChoice({}, "update"))
    another(DATA, ROWS[:4, :5], SCALARS)
    assert another.is_compiled


@pytest.mark.usefixtures("nothing_is_compiled")
def test_an_updater_that_takes_over_a_state_takes_its_program_over() -> None:
    programs: dict[str, str] = {}
    updater = Pair().updater(compile=True, choice=ProgramChoice(programs, "update"))
    updater(DATA, ROWS[:4], SCALARS)
    of_large = dict(programs)
    programs.clear()
    updater(DATA, ROWS[:4, :5], SCALARS)
    assert programs != of_large
    assert updater.is_compiled
    programs.update(update=ProgramChoice.NONE)
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompiledSteps, "__call__", lambda *arguments: steps.append(1))
        updater(DATA, ROWS[:4], SCALARS)
    assert steps == []


def test_left_to_itself_it_never_compiles_without_a_compiler(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_updater, "COMPILE_AFTER_STEPS", 0)
    monkeypatch.setattr(_updater.shutil, "which", lambda _: None)
    pair = branching_pair()
    updater = pair.updater(compile=None)
    updater(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer)
    pair.assert_equal()
    assert caplog.records == []
    assert not updater.is_compiled


def test_denormals_are_flushed_while_learning_and_as_they_were_after() -> None:
    def is_flushed() -> bool:
        return float(torch.full((), 1e-40) * 1.0) == 0.0

    seen = []

    def watched(models: Sequence[Any], batch: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
        seen.append(is_flushed())
        loss = models[0](batch["observations"]).square().mean()
        return loss, {"loss": loss}

    model = nn.Linear(3, 1)
    updater = TorchUpdater(Objective(watched, [model], adam(list(model.parameters()))), False)
    for before in (False, True):
        torch.set_flush_denormal(before)
        updater(DATA, ROWS[:1], {})
        assert is_flushed() is before
    torch.set_flush_denormal(False)
    assert set(seen) == {True}
