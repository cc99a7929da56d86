"""Steps in numpy against the same agents' steps in PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import HyperparamSet
from tensor_optix.adapters.pytorch._compiled import ProgramChoice
from tensor_optix.adapters.pytorch._dense_steps import DenseSteps
from tensor_optix.adapters.pytorch._predictor import LogStd
from tensor_optix.adapters.pytorch._updater import TorchUpdater
from tensor_optix.algorithms._distributions import MultiCategorical
from tensor_optix.algorithms.torch_dqn import TorchDQNAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.algorithms.torch_sac import TorchSACAgent
from tensor_optix.core.types import EpisodeData
from tests.adapters.pytorch.textbook import DATA, ROWS, SCALARS, Pair, adam, loss_of, textbook

N = 96


def stack(n_in: int, n_out: int, *last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, n_out), *last)


Made = tuple[Any, list[nn.Module]]
"""An agent, and its networks."""


def ppo(distribution: Any, size: int, *last: nn.Module, n_in: int = 3) -> Made:
    actor, critic = stack(n_in, size, *last), stack(n_in, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-3)
    params = {"n_epochs": 3, "minibatch_size": 32, "entropy_coef": 0.02, "learning_rate": 3e-3}
    agent = TorchPPOAgent(actor, critic, optimizer, HyperparamSet(params), distribution=distribution, seed=0)
    return agent, [actor, critic]


def dqn(*, n_in: int = 3, **params: Any) -> Made:
    network = stack(n_in, 4)
    params = {"batch_size": 16, "learning_starts": 1, "target_update_freq": 5, "train_freq": 2, **params}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    return TorchDQNAgent(network, 4, optimizer, HyperparamSet(params), seed=0), [network]


def sac() -> Made:
    actor, first, second = stack(3, 4), stack(5, 1), stack(5, 1)
    log_alpha = torch.zeros(1, requires_grad=True)
    pairs = [actor.parameters(), [*first.parameters(), *second.parameters()], [log_alpha]]
    optimizers = [torch.optim.Adam(parameters, lr=1e-3) for parameters in pairs]
    params = {"batch_size": 16, "learning_starts": 1, "train_freq": 2}
    agent = TorchSACAgent(actor, first, second, 2, *optimizers, HyperparamSet(params), seed=0)
    return agent, [actor, first, second]


def window(
    actions: np.ndarray,
    masks: np.ndarray | None = None,
    observe: Callable[[np.random.Generator], np.ndarray] = lambda rng: rng.standard_normal((N, 3)),
) -> EpisodeData:
    rng = np.random.default_rng(1)
    ends = np.arange(N) % 10 == 9
    return EpisodeData(
        observations=observe(rng).astype(np.float32),
        actions=actions,
        rewards=rng.standard_normal(N).tolist(),
        terminated=ends,
        truncated=np.zeros(N, bool),
        infos=[],
        episode_id=0,
        next_observations=observe(rng).astype(np.float32),
        action_masks=masks,
        next_action_masks=masks,
    )


RNG = np.random.default_rng(2)
CHOICES, NUMBERS = RNG.integers(0, 4, N), np.tanh(RNG.standard_normal((N, 2))).astype(np.float32)
SEVERAL = np.stack([RNG.integers(0, 3, N), RNG.integers(0, 2, N)], -1)
MASKS = RNG.random((N, 4)) < 0.5
MASKS[np.arange(N), CHOICES] = True


def one_hot(rng: np.random.Generator) -> np.ndarray:
    return np.eye(70)[rng.integers(0, 40, N)]


AGENTS: dict[str, tuple[Callable[[], Made], EpisodeData]] = {
    "ppo": (lambda: ppo("categorical", 4), window(CHOICES)),
    "ppo with masks": (lambda: ppo("categorical", 4), window(CHOICES, MASKS)),
    "ppo with several choices": (lambda: ppo(MultiCategorical([3, 2]), 5), window(SEVERAL)),
    "ppo with numbers": (lambda: ppo("gaussian", 2, LogStd(2)), window(NUMBERS)),
    "ppo with one-hot observations": (lambda: ppo("categorical", 4, n_in=70), window(CHOICES, observe=one_hot)),
    "dqn": (dqn, window(CHOICES)),
    "dqn with one-hot observations": (lambda: dqn(n_in=70), window(CHOICES, observe=one_hot)),
    "double dqn with masks": (lambda: dqn(double_q=1), window(CHOICES, MASKS)),
    "dqn with a linear loss": (lambda: dqn(huber_delta=0.5), window(CHOICES)),
    "sac": (sac, window(NUMBERS)),
}


def learned(name: str, *, is_dense: bool) -> tuple[dict[str, float], np.ndarray, dict[str, str]]:
    """Return diagnostics, all weights and the programs chosen after two windows."""
    torch.manual_seed(0)
    make, data = AGENTS[name]
    with pytest.MonkeyPatch.context() as patch:
        if not is_dense:
            patch.setattr(DenseSteps, "agree", lambda *_: False)
        agent, networks = make()
        agent.learn(data)
        found = agent.learn(data)
    weights = torch.cat([p.detach().reshape(-1) for network in networks for p in network.parameters()])
    return found, weights.numpy(), agent._backend.programs


@pytest.mark.parametrize("name", AGENTS)
def test_two_windows_are_learned_as_in_pytorch(name: str) -> None:
    ours, weights, programs = learned(name, is_dense=True)
    theirs, expected, others = learned(name, is_dense=False)
    assert set(programs.values()) == {"numpy"}
    assert set(others.values()) == {"framework"}
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=2e-5)


def squared(models: Sequence[Any], batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> Any:
    loss = ((models[1](batch["observations"])[..., 0] - batch["targets"]) ** 2).mean()
    loss = loss * scalars["weight"] + models[0](batch["observations"]).tanh().mean()
    return loss, {"loss": loss}


@pytest.mark.parametrize("bounded", [True, False])
def test_a_loss_of_the_users_own_is_taken(bounded: bool) -> None:
    pair, programs = Pair(), dict[str, str]()
    updater = pair.updater(loss=squared, bound="bound" if bounded else None, choice=ProgramChoice(programs, "update"))
    for _ in range(2):
        ours = updater(DATA, ROWS, SCALARS)
        theirs = textbook(pair.theirs, pair.their_optimizer, bounded=bounded, loss=squared)
    pair.assert_equal(1e-5)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert programs == {"update.steps": "numpy"}


def lying(models: Sequence[Any], batch: Mapping[str, Any], scalars: Mapping[str, Any]) -> Any:
    """A loss that asks what it is given."""
    loss, metrics = squared(models, batch, scalars)
    return loss * (1.0 if isinstance(loss, torch.Tensor) else 2.0), metrics


@pytest.mark.parametrize("loss", [loss_of, lying], ids=["a function that the tape does not know", "another gradient"])
def test_where_the_first_gradients_differ_pytorch_makes_all_steps(loss: Any) -> None:
    pair, programs = Pair(), dict[str, str]()
    updater = pair.updater(loss=loss, choice=ProgramChoice(programs, "update"))
    updater(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer, loss=loss)
    pair.assert_equal()
    assert programs == {"update.steps": "framework"}


@pytest.mark.parametrize("is_dense", [True, False])
def test_a_resumed_run_goes_on_with_the_program_that_it_had(is_dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = DenseSteps.__call__
    monkeypatch.setattr(DenseSteps, "__call__", lambda *arguments: made.append(1) or make(*arguments))
    monkeypatch.setattr(DenseSteps, "agree", lambda *_: not is_dense)
    choice = ProgramChoice({}, "update")
    choice.settle_steps(is_dense)
    Pair().updater(loss=squared, choice=choice)(DATA, ROWS, SCALARS)
    assert bool(made) == is_dense


def test_a_first_minibatch_without_a_finite_gradient_is_left_to_pytorch() -> None:
    programs: dict[str, str] = {}
    Pair().updater(loss=squared, choice=ProgramChoice(programs, "update"))(DATA, ROWS, {**SCALARS, "weight": np.nan})
    assert programs == {"update.steps": "framework"}


def test_freezing_and_unfreezing_a_layer_is_seen() -> None:
    pair, programs = Pair(), dict[str, str]()
    updater = pair.updater(loss=squared, choice=ProgramChoice(programs, "update"))
    for trains in (True, False, True):
        for models in (pair.ours, pair.theirs):
            models[0][0].weight.requires_grad_(trains)  # type: ignore[index]
        updater(DATA, ROWS, SCALARS)
        for parameter in pair.theirs[0].parameters():
            parameter.grad = None
        textbook(pair.theirs, pair.their_optimizer, loss=squared)
    pair.assert_equal(1e-5)


def test_a_layer_that_is_exchanged_is_seen() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    other = nn.Sequential(nn.Linear(3, 2))
    pair = Pair(adam, [other, model])
    updater = pair.updater(loss=squared)
    updater(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer, loss=squared)
    for models in (pair.ours, pair.theirs):
        models[1][1] = nn.GELU()  # type: ignore[index]
    updater(DATA, ROWS, SCALARS)
    textbook(pair.theirs, pair.their_optimizer, loss=squared)
    pair.assert_equal(1e-5)


def test_compile_true_compiles_and_does_not_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    programs: dict[str, str] = {}
    updater: TorchUpdater = Pair().updater(loss=squared, compile=True, choice=ProgramChoice(programs, "update"))
    updater(DATA, ROWS, SCALARS)
    assert updater.is_compiled
    assert list(programs) == ["update"]
