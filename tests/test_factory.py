"""A ready agent for an environment."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from threadpoolctl import threadpool_info
from torch import nn

from tensor_optix import TorchPPOAgent
from tensor_optix.adapters.saving.weights import shared_names
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import (
    ContractError,
    EnvironmentNotFoundError,
    HyperparamError,
    InvalidArgumentError,
    SpaceError,
)
from tensor_optix.factory import hyperparam_table, make_agent, set_threads
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.presets import preset_for
from tests.fakes.weights import assert_equal_weights, weights_of

torch.set_num_threads(1)

VECTOR = spaces.Box(-1.0, 1.0, (6,), np.float32)


class Spaces(gym.Env):
    """An environment of the given spaces, which nobody steps."""

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space


def torch_agent(env: Any, **arguments: Any) -> TorchPPOAgent:
    agent = make_agent(env, **{"algorithm": "ppo", "framework": "torch", **arguments})
    assert isinstance(agent, TorchPPOAgent)
    return agent


def linears(model: nn.Module) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def models(agent: TorchPPOAgent) -> tuple[nn.Module, nn.Module]:
    return agent._actor, agent._critic


def weights(agent: TorchPPOAgent) -> list[torch.Tensor]:
    return [p.detach() for model in models(agent) for p in model.parameters()]


# --- what it builds ---


def test_cartpole_gets_a_categorical_policy_that_fits() -> None:
    agent = torch_agent("CartPole-v1", seed=0)
    with gym.make("CartPole-v1") as env:
        agent.check_spaces(env.observation_space, env.action_space)
    assert agent.act(np.zeros(4, np.float32)) in (0, 1)


def test_pendulum_gets_a_gaussian_policy_that_fits() -> None:
    agent = torch_agent("Pendulum-v1", algorithm="ppo", seed=0)
    with gym.make("Pendulum-v1") as env:
        agent.check_spaces(env.observation_space, env.action_space)
    assert agent.act(np.zeros(3, np.float32)).shape == (1,)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_the_agent_collects_and_learns_at_once(env_id: str) -> None:
    agent = torch_agent(env_id, algorithm="ppo", seed=0)
    diagnostics = agent.learn(next(iter(BatchPipeline(env_id, agent, 64, seed=0).episodes())))
    assert np.isfinite(list(diagnostics.values())).all()


def test_an_environment_is_used_for_its_spaces_only_and_left_open() -> None:
    class Guarded(Spaces):
        def close(self) -> None:
            raise AssertionError("closed")

        def reset(self, **_: Any) -> Any:
            raise AssertionError("reset")

    torch_agent(Guarded(VECTOR, spaces.Discrete(3)), seed=0).check_spaces(VECTOR, spaces.Discrete(3))


@pytest.mark.parametrize(
    ("net_arch", "shapes"),
    [(None, [(64, 6), (64, 64)]), ((5, 7, 3), [(5, 6), (7, 5), (3, 7)]), ([9], [(9, 6)]), ((), [])],
)
def test_the_hidden_layers_are_those_asked_for(net_arch: Any, shapes: list[tuple[int, int]]) -> None:
    actor, critic = models(torch_agent(Spaces(VECTOR, spaces.Discrete(3)), net_arch=net_arch))
    for model, outputs in ((actor, 3), (critic, 1)):
        *hidden, head = [tuple(layer.weight.shape) for layer in linears(model)]
        assert hidden == shapes
        assert head == (outputs, shapes[-1][0] if shapes else 6)
        assert sum(isinstance(module, nn.Tanh) for module in model.modules()) == len(shapes)


def test_actor_and_critic_share_nothing() -> None:
    actor, critic = models(torch_agent("CartPole-v1"))
    assert not {id(p) for p in actor.parameters()} & {id(p) for p in critic.parameters()}


@pytest.mark.parametrize("action_space", [spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,), np.float32)], ids=str)
def test_layers_are_orthogonal_with_the_usual_gains_and_biases_are_zero(action_space: spaces.Space) -> None:
    actor, critic = models(torch_agent(Spaces(VECTOR, action_space), seed=0))
    for model, head_gain in ((actor, 0.01), (critic, 1.0)):
        layers = linears(model)
        for layer in layers:
            gain = head_gain if layer is layers[-1] else 2**0.5
            weight = layer.weight.detach()
            # The shorter side is an orthogonal frame, of length `gain` each.
            frame = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
            torch.testing.assert_close(frame, gain**2 * torch.eye(len(frame)), rtol=1e-4, atol=1e-5 * gain**2)
            assert not layer.bias.detach().any()


def test_a_fresh_policy_is_nearly_uniform() -> None:
    actor, _ = models(torch_agent("CartPole-v1", seed=0))
    with torch.no_grad():
        probabilities = torch.softmax(actor(torch.randn(50, 4, generator=torch.Generator().manual_seed(0))), -1)
    torch.testing.assert_close(probabilities, torch.full((50, 2), 0.5), rtol=0, atol=0.02)


def test_a_fresh_gaussian_policy_has_deviation_one() -> None:
    agent = torch_agent("Pendulum-v1", algorithm="ppo", seed=0)
    actions = agent.act_batch(np.zeros((5000, 3), np.float32))
    assert actions.std() == pytest.approx(1.0, rel=0.05)


# --- seeds ---


def test_the_same_seed_gives_the_same_weights_and_actions() -> None:
    first, second, other = (torch_agent("CartPole-v1", seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert not torch.equal(weights(first)[0], weights(other)[0])
    observations = np.zeros((50, 4), np.float32)
    np.testing.assert_array_equal(first.act_batch(observations), second.act_batch(observations))


def test_the_seed_decides_whatever_the_global_generator_holds() -> None:
    torch.manual_seed(1)
    first = torch_agent("CartPole-v1", seed=3)
    torch.manual_seed(2)
    second = torch_agent("CartPole-v1", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("seed", [None, 3])
def test_making_an_agent_draws_nothing_from_the_global_generator(env_id: str, seed: int | None) -> None:
    before = torch.get_rng_state()
    torch_agent(env_id, algorithm="ppo", seed=seed)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_two_agents_differ() -> None:
    assert not torch.equal(weights(torch_agent("CartPole-v1"))[0], weights(torch_agent("CartPole-v1"))[0])


# --- hyper-parameters ---


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
def test_an_environment_with_a_preset_starts_from_it_over_the_defaults(env_id: str) -> None:
    preset = preset_for(env_id, "ppo").hyperparams
    assert preset
    params = torch_agent(env_id, algorithm="ppo").get_hyperparams().params
    assert params == {name: row.default for name, row in PPO_HYPERPARAMS.items()} | dict(preset)


def test_an_environment_without_a_preset_starts_from_the_defaults() -> None:
    params = torch_agent(Spaces(VECTOR, spaces.Discrete(3))).get_hyperparams().params
    assert params == {name: row.default for name, row in PPO_HYPERPARAMS.items()}


@pytest.mark.parametrize("kind", [dict, HyperparamSet])
def test_the_users_values_go_over_the_preset(kind: Any) -> None:
    given = kind({"entropy_coef": 0.07, "learning_rate": 0.002})
    params = torch_agent("CartPole-v1", hyperparams=given).get_hyperparams().params
    assert (params["entropy_coef"], params["learning_rate"]) == (0.07, 0.002)
    assert params["clip_ratio"] == 0.2


def test_the_users_dictionary_is_not_changed() -> None:
    given = {"learning_rate": 0.002}
    torch_agent("CartPole-v1", hyperparams=given)
    assert given == {"learning_rate": 0.002}


def test_a_misspelt_override_is_refused() -> None:
    with pytest.raises(HyperparamError, match=r"'clip_ratoi'.*Did you mean 'clip_ratio'"):
        torch_agent("CartPole-v1", hyperparams={"clip_ratoi": 0.1})


def test_what_would_do_nothing_is_refused() -> None:
    with pytest.raises(HyperparamError, match=r"make_agent\(hyperparams=\.\.\.\): ppo has no hyper-parameter 'lr'"):
        torch_agent("CartPole-v1", hyperparams={"lr": 1e-3})


def test_a_value_on_a_schedule_begins_with_its_first_and_is_not_tuned() -> None:
    agent = torch_agent("CartPole-v1", hyperparams={"learning_rate": "lin_2e-3", "gamma": 0.9})
    assert agent.get_hyperparams().params["learning_rate"] == 2e-3
    assert {name: str(one) for name, one in agent.schedules.items()} == {"learning_rate": "lin_0.002"}
    assert set(agent.default_param_bounds) == {"clip_ratio", "entropy_coef"}
    assert not torch_agent("CartPole-v1").schedules
    with pytest.raises(HyperparamError, match=r"'learning_rate' must be a number in \(0, 1\], but got 3.0"):
        torch_agent("CartPole-v1", hyperparams={"learning_rate": "lin_3"})


def test_the_table_of_an_algorithm_is_its_own() -> None:
    assert hyperparam_table("ppo") is PPO_HYPERPARAMS


# --- refusals ---


@pytest.mark.parametrize(
    ("algorithm", "observations", "actions", "named"),
    [
        (
            "ppo",
            VECTOR,
            spaces.Box(0, 9, (2,), np.int64),
            r"Box\(0, 9.*MultiDiscrete\(high - low \+ 1\)",
        ),
        (
            "auto",
            VECTOR,
            spaces.Dict(a=spaces.Discrete(2)),
            r"Dict.*TransformAction\(env, function",
        ),
        ("auto", VECTOR, spaces.OneOf([spaces.Discrete(2)]), r"OneOf.*TransformAction\(env, function"),
        ("sac", VECTOR, spaces.Box(0, np.inf, (1,)), r"finite bounds.*TransformAction.*or use PPO"),
        ("ppo", spaces.Text(3), spaces.Discrete(2), r"Text\("),
        (
            "ppo",
            spaces.Box(0, 255, (20, 84, 3), np.uint8),
            spaces.Discrete(2),
            r"at least 36 .*\(20, 84, 3\).*Flatten",
        ),
        ("dqn", VECTOR, spaces.Box(-1, 1, (2,)), r"DQN serves Discrete actions.*Box.*Use PPO\."),
        ("dqn", VECTOR, spaces.MultiDiscrete([2, 3]), r"MultiDiscrete\(\[2 3\]\)"),
        ("sac", VECTOR, spaces.Discrete(2), r"SAC serves Box actions.*Discrete\(2\)\. Use DQN or PPO"),
        ("sac", spaces.Box(-1, 1, (2, 3)), spaces.Box(-1, 1, (2,)), r"must be vectors.*\(2, 3\)"),
    ],
    ids=str,
)
def test_a_space_that_cannot_be_served_is_named_with_what_can(
    algorithm: str, observations: Any, actions: Any, named: str
) -> None:
    with pytest.raises(SpaceError, match=named):
        make_agent(Spaces(observations, actions), algorithm, "torch")


@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize(
    ("algorithm", "observations", "actions"),
    [
        ("auto", spaces.Dict(a=VECTOR, b=spaces.Discrete(3)), spaces.Discrete(2)),
        ("auto", spaces.Discrete(16), spaces.Discrete(4)),
        ("auto", spaces.Box(-1, 1, (2, 3)), spaces.MultiDiscrete([2, 3])),
        ("auto", VECTOR, spaces.MultiBinary(4)),
        ("auto", spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(6)),
        ("dqn", spaces.Box(0, 255, (96, 96, 3), np.uint8), spaces.Discrete(5)),
        ("auto", VECTOR, spaces.Box(-1, 1, (2,))),
        ("dqn", VECTOR, spaces.Discrete(2)),
    ],
    ids=str,
)
def test_what_is_built_fits_the_spaces_and_acts(
    framework: str, algorithm: str, observations: Any, actions: Any
) -> None:
    params = {} if algorithm == "auto" and not isinstance(actions, spaces.Box) else {"replay_capacity": 1000}
    agent = make_agent(Spaces(observations, actions), algorithm, framework, hyperparams=params, seed=0)
    box = flat_observation_space(observations)
    agent.check_spaces(box, actions)  # type: ignore[attr-defined]
    sampled = np.stack([box.sample() for _ in range(3)])
    for deterministic in (False, True):
        for action in agent.act_batch(sampled, deterministic=deterministic):
            assert actions.contains(action if isinstance(actions, spaces.Discrete) else action.astype(actions.dtype))


@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize(("net_arch", "own"), [(None, 4), ((8,), 8)])
def test_ppo_on_images_has_one_trunk_and_heads_of_their_own(
    framework: str, net_arch: tuple[int, ...] | None, own: int
) -> None:
    images = Spaces(spaces.Box(0, 255, (36, 36, 1), np.uint8), spaces.Discrete(3))
    weights = weights_of(make_agent(images, "ppo", framework, seed=0, net_arch=net_arch))
    assert len(shared_names(weights)) == 8
    assert len(weights) == 16 + own


@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_ppo_on_vectors_has_networks_of_their_own(framework: str, shape: tuple[int, ...]) -> None:
    agent: Any = make_agent(Spaces(spaces.Box(-1, 1, shape, np.float32), spaces.Discrete(3)), "ppo", framework, seed=0)
    assert shared_names(weights_of(agent)) == {}
    assert agent._both is None


def test_convolutions_on_a_cpu_have_their_channels_last_where_ppo_trains_them() -> None:
    images = Spaces(spaces.Box(0, 255, (4, 36, 36), np.uint8), spaces.Discrete(3))
    agent: Any = torch_agent(images, seed=0)
    weights = [p for p in agent._actor.parameters() if p.ndim == 4]
    assert [p.is_contiguous(memory_format=torch.channels_last) for p in weights] == [True] * 3


def test_the_same_seed_builds_the_same_networks_in_every_algorithm() -> None:
    for algorithm, env in (("dqn", "CartPole-v1"), ("sac", "Pendulum-v1")):
        for framework in ("torch", "tf"):
            first, second, third = (make_agent(env, algorithm, framework, seed=seed) for seed in (0, 0, 1))
            assert_equal_weights(weights_of(first), weights_of(second))
            with pytest.raises(AssertionError):
                assert_equal_weights(weights_of(first), weights_of(third))


def test_an_unknown_algorithm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'auto'.*'ppo'.*'trpo'"):
        make_agent("CartPole-v1", algorithm="trpo")


def test_an_unknown_framework_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'auto'.*'torch'.*'jax'"):
        make_agent("CartPole-v1", framework="jax")


def test_an_unknown_environment_is_refused_with_the_nearest() -> None:
    with pytest.raises(EnvironmentNotFoundError, match="CartPole-v1"):
        make_agent("CartPoel-v1")


@pytest.mark.parametrize("net_arch", [(0,), (64, -1)])
def test_a_layer_needs_at_least_one_unit(net_arch: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="at least 1"):
        torch_agent("CartPole-v1", net_arch=net_arch)


@pytest.mark.parametrize("net_arch", [64, (64.0,), "64", (None,)])
def test_layers_that_are_no_sequence_of_whole_numbers_are_refused_with_an_example(net_arch: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"e\.g\. \(64, 64\), but got"):
        torch_agent("CartPole-v1", net_arch=net_arch)


def test_an_agent_takes_no_plain_dictionary_and_says_how_to_wrap_it() -> None:
    agent = torch_agent("CartPole-v1")
    with pytest.raises(ContractError, match=r"but got \{'learning_rate': 0\.1\}\. Wrap them: HyperparamSet"):
        agent.set_hyperparams({"learning_rate": 0.1})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 0.5, "1"])
def test_a_seed_is_a_whole_number(seed: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="seed must be a whole number of at least 0"):
        torch_agent("CartPole-v1", seed=seed)


def test_threads_are_bounded_to_at_least_one_numpys_too() -> None:
    for threads in (2, 1):
        set_threads("torch", threads)
        assert torch.get_num_threads() == threads
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} <= {threads}
    with pytest.raises(InvalidArgumentError, match="threads must be at least 1, but got 0"):
        set_threads("torch", 0)
