"""Learning rates: the optimizer's own where nobody names one, and the ratios of its groups whatever is in force."""

from typing import Any

import keras
import pytest
import torch

from tensor_optix import HyperparamSet
from tensor_optix.adapters._architecture import Architecture
from tensor_optix.adapters._rates import LearningRates
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms._builders import builder_for
from tensor_optix.algorithms._dqn import DQN_HYPERPARAMS
from tensor_optix.algorithms.tf_ppo import TFPPOAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.algorithms.torch_sac import TorchSACAgent
from tensor_optix.errors import HyperparamError

A, C = torch.nn.Linear(4, 2), torch.nn.Linear(4, 1)


def ppo(optimizer: torch.optim.Optimizer, **params: Any) -> TorchPPOAgent:
    return TorchPPOAgent(A, C, optimizer, HyperparamSet(params), seed=0)


def keras_ppo(optimizer: Any, **params: Any) -> TFPPOAgent:
    actor, critic = (keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(n)]) for n in (2, 1))
    return TFPPOAgent(actor, critic, optimizer, HyperparamSet(params), seed=0)


def grouped(*rates: float) -> torch.optim.Optimizer:
    models = (A, C)
    return torch.optim.Adam([{"params": m.parameters(), "lr": r} for m, r in zip(models, rates, strict=True)])


def rates_of(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_the_optimizers_own_rate_is_the_default(kind: Any) -> None:
    optimizer = kind([*A.parameters(), *C.parameters()], lr=1e-5)
    agent = ppo(optimizer, gamma=0.9)
    assert rates_of(optimizer) == [1e-5]
    assert agent.get_hyperparams().params["learning_rate"] == 1e-5
    agent.set_hyperparams(HyperparamSet({"learning_rate": 2e-3}))
    agent.set_hyperparams(HyperparamSet({"gamma": 0.8}))
    assert rates_of(optimizer) == [1e-5]


@pytest.mark.parametrize("kind", [keras.optimizers.Adam, keras.optimizers.SGD])
def test_a_keras_optimizers_own_rate_is_the_default(kind: Any) -> None:
    optimizer = kind(1e-5)
    agent = keras_ppo(optimizer, gamma=0.9)
    assert float(optimizer.learning_rate) == pytest.approx(1e-5)
    assert agent.get_hyperparams().params["learning_rate"] == 1e-5


def test_a_rate_that_is_named_is_put_in_force() -> None:
    optimizer = torch.optim.Adam([*A.parameters(), *C.parameters()], lr=1e-5)
    ppo(optimizer, learning_rate=3e-4)
    assert rates_of(optimizer) == [3e-4]


@pytest.mark.parametrize("given", [(3e-4, 1e-3), (1e-2, 1e-5), (1e-4, 0.0)])
def test_groups_keep_their_ratios(given: tuple[float, float]) -> None:
    optimizer = grouped(*given)
    agent = ppo(optimizer)
    assert rates_of(optimizer) == pytest.approx(given)
    for rate in (0.5, 1e-3, 0.1):
        agent.set_hyperparams(HyperparamSet({"learning_rate": rate}))
        first, second = rates_of(optimizer)
        assert first == rate
        assert second == pytest.approx(rate * given[1] / given[0])
        assert agent.effective_hyperparams()["learning_rate"] == pytest.approx(rate)


def test_a_first_group_at_rest_stays_at_rest() -> None:
    optimizer = grouped(0.0, 1e-3)
    agent = ppo(optimizer)
    assert agent.get_hyperparams().params["learning_rate"] == 1e-3
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.5}))
    assert rates_of(optimizer) == [0.0, 0.5]


def sac(rates: tuple[float, float, float], **params: Any) -> list[float]:
    actor, one, two = torch.nn.Linear(3, 2), torch.nn.Linear(4, 1), torch.nn.Linear(4, 1)
    parameters = (actor.parameters(), [*one.parameters(), *two.parameters()], [torch.zeros(1, requires_grad=True)])
    optimizers: Any = [torch.optim.Adam(p, lr=r) for p, r in zip(parameters, rates, strict=True)]
    TorchSACAgent(actor, one, two, 1, *optimizers, hyperparams=HyperparamSet(params), seed=0)
    return [rates_of(optimizer)[0] for optimizer in optimizers]


def test_several_optimizers_keep_their_rates_unless_one_is_named() -> None:
    assert sac((1e-4, 1e-3, 3e-3)) == pytest.approx([1e-4, 1e-3, 3e-3])
    assert sac((1e-4, 1e-3, 3e-3), learning_rate=2e-4) == [2e-4] * 3


@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_ready_agents_have_the_rate_of_their_table(framework: str) -> None:
    builder = builder_for(framework, 0)
    network = builder.network(
        Architecture(input_shape=(4,), hidden=(4,), outputs=2, activation="relu", initial="uniform")
    )
    agent: Any = builder.dqn(network, 2, HyperparamSet({"gamma": 0.9}))
    assert agent.get_hyperparams().params["learning_rate"] == DQN_HYPERPARAMS["learning_rate"].default


def test_an_own_rate_out_of_range_is_refused() -> None:
    with pytest.raises(HyperparamError, match=r"'learning_rate' must be a number in \(0, 1\], but got 2.0"):
        ppo(torch.optim.SGD([*A.parameters(), *C.parameters()], lr=2.0))


S = torch.optim.lr_scheduler
SCHEDULERS: list[Any] = [
    lambda o: S.StepLR(o, 2),
    lambda o: S.ExponentialLR(o, 0.9),
    lambda o: S.CosineAnnealingLR(o, 2),
    lambda o: S.CosineAnnealingWarmRestarts(o, 2),
    lambda o: S.OneCycleLR(o, 1e-2, total_steps=10),
    lambda o: S.CyclicLR(o, 1e-4, 1e-2, cycle_momentum=False),
    lambda o: S.LambdaLR(o, lambda epoch: 0.9**epoch),
    lambda o: S.SequentialLR(o, [S.ConstantLR(o), S.ExponentialLR(o, 0.9)], [3]),
    lambda o: S.ChainedScheduler([S.ConstantLR(o), S.ExponentialLR(o, 0.9)], o),
    lambda o: torch.optim.swa_utils.SWALR(o, 0.05),
]


@pytest.mark.parametrize("schedule", SCHEDULERS)
def test_a_scheduler_is_refused(schedule: Any) -> None:
    optimizer = torch.optim.Adam([*A.parameters(), *C.parameters()])
    schedule(optimizer)
    with pytest.raises(HyperparamError, match="follows a torch"):
        ppo(optimizer)


@pytest.mark.parametrize("wrap", [lambda o: o, keras.optimizers.LossScaleOptimizer])
def test_a_keras_schedule_is_refused(wrap: Any) -> None:
    schedule: Any = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)
    optimizer = wrap(keras.optimizers.Adam(schedule))
    with pytest.raises(HyperparamError, match="follows a LearningRateSchedule"):
        keras_ppo(optimizer)


def test_the_rate_in_force_is_the_farthest_from_what_was_asked() -> None:
    optimizer = grouped(1e-3, 2e-3)
    rates = LearningRates(TorchBackend(), {"optimizer": optimizer})
    rates.put_in_force(1e-2)
    assert rates.in_force(1e-2) == pytest.approx(1e-2)
    optimizer.param_groups[1]["lr"] = 1e-1
    assert rates.in_force(1e-2) == pytest.approx(5e-2)


def test_a_rate_that_others_change_is_the_one_in_force() -> None:
    optimizer = grouped(1e-3, 1e-2)
    agent = ppo(optimizer)
    reduced = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for loss in (1.0, 2.0):
        reduced.step(loss)
    assert agent.get_hyperparams().params["learning_rate"] == pytest.approx(5e-4)
    agent.set_hyperparams(agent.get_hyperparams())
    assert rates_of(optimizer) == pytest.approx([5e-4, 5e-3])
