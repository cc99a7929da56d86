"""What the pipelines ask of an environment before they step it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.errors import (
    BadDataError,
    ContractError,
    EnvironmentFailedError,
    EnvironmentNotFoundError,
    InvalidArgumentError,
    SpaceError,
)
from tensor_optix.pipeline.environment.environment import (
    ActionScaler,
    check_agent_fits,
    checked_reward,
    make_environment,
    maker_in,
)
from tests.helpers import NumpyAgent


class Unregistered(gym.Env):
    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(1, np.float32), 0.0, False, False, {}


class Needy(Unregistered):
    """Needs an argument."""

    def __init__(self, size: int) -> None:
        self.size = 1 / size


@contextmanager
def needy() -> Iterator[None]:
    gym.register("Needy-v0", Needy)  # type: ignore[arg-type]
    yield
    del gym.registry["Needy-v0"]


class TestMakeEnvironment:
    def test_an_id_is_made_from_the_registry(self) -> None:
        env = make_environment("CartPole-v1")
        assert env.spec is not None
        assert env.spec.id == "CartPole-v1"
        env.close()

    def test_an_environment_passes_as_it_is(self) -> None:
        env = Unregistered()
        assert make_environment(env) is env

    def test_an_unknown_id_names_the_nearest_known_one(self) -> None:
        with pytest.raises(EnvironmentNotFoundError, match=r"'CartPol-v1'.*Did you mean 'CartPole-v1'\?"):
            make_environment("CartPol-v1")

    def test_an_id_with_a_module_that_does_not_exist_is_not_found(self) -> None:
        with pytest.raises(EnvironmentNotFoundError, match="no_such_module"):
            make_environment("no_such_module:Thing-v0")

    def test_arguments_reach_the_environment(self) -> None:
        made = make_environment("Pendulum-v1", {"g": 5.0, "max_episode_steps": 3})
        assert (made.unwrapped.g, made.spec.max_episode_steps) == (5.0, 3)  # type: ignore[attr-defined, union-attr]

    @pytest.mark.parametrize("arguments", [{}, {"sise": 3}])
    def test_an_environment_that_needs_others_names_them_and_says_how_to_give_them(self, arguments: Any) -> None:
        with (
            needy(),
            pytest.raises(InvalidArgumentError, match=r"made: .*'si[sz]e'\. .*--env-kwargs NAME=VALUE") as found,
        ):
            make_environment("Needy-v0", arguments)
        assert "environment creator" not in str(found.value)

    def test_one_that_raises_while_it_is_made_says_what(self) -> None:
        with (
            needy(),
            pytest.raises(EnvironmentFailedError, match=r"'Needy-v0' cannot be made: .* \(ZeroDivisionError\)"),
        ):
            make_environment("Needy-v0", {"size": 0})

    def test_where_an_error_without_a_text_was_raised_is_told(self) -> None:
        def make() -> Any:
            raise AssertionError

        gym.register("Silent-v0", make)
        try:
            with pytest.raises(
                EnvironmentFailedError, match=r"'raise AssertionError' in line \d+ of .*environment\.py"
            ):
                make_environment("Silent-v0")
        finally:
            gym.registry.pop("Silent-v0")

    def test_a_vector_belongs_to_the_other_pipeline(self) -> None:
        vector = gym.make_vec("CartPole-v1", 1)
        with pytest.raises(ContractError, match="Hand it to VectorBatchPipeline"):
            make_environment(vector)  # type: ignore[arg-type]
        vector.close()

    @pytest.mark.parametrize("make", [Unregistered, lambda: Unregistered()], ids=["class", "function"])
    def test_a_class_or_a_function_makes_one_each_time(self, make: Any) -> None:
        assert isinstance(first := make_environment(make), Unregistered)
        assert make_environment(make) is not first

    @pytest.mark.parametrize("wrong", [None, 3, ["CartPole-v1"]])
    def test_anything_else_is_a_contract_error_naming_its_type(self, wrong: Any) -> None:
        with pytest.raises(ContractError, match=type(wrong).__name__):
            make_environment(wrong)

    def test_a_file_alone_is_told_to_name_the_environment_in_it(self) -> None:
        with pytest.raises(EnvironmentNotFoundError, match=r"'my_env\.py:MyEnv'"):
            make_environment("my_env.py")

    def test_what_makes_an_id_anew_is_the_registry(self) -> None:
        assert maker_in("CartPole-v1") is None
        assert maker_in("gymnasium:CartPole-v1") is None


def scale(space: spaces.Space[Any], action: Any, action_range: tuple[float, float] | None = (-1.0, 1.0)) -> Any:
    return ActionScaler(space, action_range)(action)


class TestActionScaler:
    def test_the_unit_box_is_mapped_onto_the_bounds(self) -> None:
        space = spaces.Box(np.array([0.0, -4.0], np.float32), np.array([10.0, 2.0], np.float32))
        np.testing.assert_array_equal(scale(space, np.array([-1.0, -1.0])), [0.0, -4.0])
        np.testing.assert_array_equal(scale(space, np.array([0.0, 0.0])), [5.0, -1.0])
        np.testing.assert_array_equal(scale(space, np.array([1.0, 1.0])), [10.0, 2.0])
        np.testing.assert_array_equal(scale(space, np.array([0.5, -0.5])), [7.5, -2.5])

    @pytest.mark.parametrize("action", [np.True_, np.array([True, False]), np.array(True)])
    def test_a_truth_is_the_choice_that_it_is_as_a_number(self, action: Any) -> None:
        taken = scale(spaces.Discrete(2), action, None)
        assert taken.dtype == np.int64
        assert np.array_equal(taken, action)
        assert scale(spaces.MultiBinary(2), np.array([True, False]), None).dtype == bool

    def test_actions_outside_the_unit_box_are_clipped_first(self) -> None:
        space = spaces.Box(-2.0, 2.0, (2,), np.float32)
        np.testing.assert_array_equal(scale(space, np.array([5.0, -1.5])), [2.0, -2.0])

    def test_a_unit_box_is_left_as_it_is(self) -> None:
        actions = np.linspace(-1, 1, 9).astype(np.float32)
        np.testing.assert_array_equal(scale(spaces.Box(-1.0, 1.0, (9,), np.float32), actions), actions)

    def test_any_other_range_is_mapped_onto_the_bounds_too(self) -> None:
        space = spaces.Box(0.0, 100.0, (5,), np.float32)
        actions = np.array([-1.0, 0.0, 0.3, 1.0, 7.0])
        np.testing.assert_allclose(scale(space, actions, (0.0, 1.0)), [0.0, 0.0, 30.0, 100.0, 100.0], rtol=1e-6)

    @pytest.mark.parametrize("action", [1.5, [1.5], np.array([1.5]), np.float64(-9.0), np.array([9.0], np.float32)])
    def test_actions_in_the_environments_units_are_the_very_objects_that_the_agent_returned(self, action: Any) -> None:
        assert scale(spaces.Box(-2.0, 2.0, (1,), np.float32), action, None) is action

    @pytest.mark.parametrize("action_range", [None, (-1.0, 1.0)])
    def test_what_is_not_finite_does_not_reach_the_environment(self, action_range: Any) -> None:
        with pytest.raises(BadDataError, match="not finite"):
            scale(spaces.Box(-2.0, 2.0, (1,), np.float32), np.array([np.nan]), action_range)

    @pytest.mark.parametrize("action_range", [None, (-1.0, 1.0), (0.0, 4.0)])
    def test_the_inverse_is_what_the_agent_would_have_answered(self, action_range: Any) -> None:
        space = spaces.Box(np.array([0.0, -4.0], np.float32), np.array([10.0, 2.0], np.float32))
        scaler, action = ActionScaler(space, action_range), np.array([2.5, 1.0], np.float32)
        np.testing.assert_allclose(scaler(scaler.inverse(action)), action, rtol=1e-6)

    def test_a_box_without_bounds_takes_any_action(self) -> None:
        space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        np.testing.assert_array_equal(scale(space, np.array([1e6, -3.0])), [1e6, -3.0])

    def test_a_box_with_one_bound_is_clipped_to_it(self) -> None:
        space = spaces.Box(0.0, np.inf, (2,), np.float32)
        np.testing.assert_array_equal(scale(space, np.array([50.0, -3.0])), [50.0, 0.0])

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_environment_gets_actions_that_its_space_contains(self, dtype: Any) -> None:
        space = spaces.Box(-2.0, 6.0, (2,), dtype)
        for action in ([-1.0, 1.0], [-9.0, 9.0], [0.1, -0.1]):
            assert space.contains(scale(space, np.array(action)))

    @pytest.mark.parametrize(("low", "high"), [(-0.3, 0.7), (0.1, 0.3), (-1e-3, 1e5)])
    @pytest.mark.parametrize("space_dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("action_dtype", [np.float32, np.float64])
    def test_rounding_never_leads_out_of_the_box(
        self, low: float, high: float, space_dtype: Any, action_dtype: Any
    ) -> None:
        space = spaces.Box(low, high, (2000,), space_dtype)
        edges = [-1.0, 1.0, np.nextafter(-1, 0), np.nextafter(1, 0), low, high, -9.0, 9.0]
        drawn = np.random.default_rng(0).uniform(-1.1, 1.1, 2000 - len(edges))
        assert space.contains(scale(space, np.concatenate([edges, drawn]).astype(action_dtype)))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("action", [-1.0, 0.0, 1.0, 1e30])
    def test_bounds_as_wide_as_numbers_go_do_not_overflow(self, dtype: Any, action: float) -> None:
        huge = np.finfo(dtype).max
        space = spaces.Box(-huge, huge, (2,), dtype)
        assert space.contains(scale(space, np.full(2, action, dtype)))  # and any warning would be an error

    def test_discrete_actions_pass_untouched(self) -> None:
        action = np.int64(3)
        assert scale(spaces.Discrete(5), action) is action

    def test_a_box_of_integers_passes_untouched(self) -> None:
        action = np.array([3, 200])
        assert scale(spaces.Box(0, 255, (2,), np.uint8), action) is action

    def test_the_agents_array_is_not_written_to(self) -> None:
        action = np.array([5.0, -5.0], np.float32)
        scale(spaces.Box(-2.0, 2.0, (2,), np.float32), action)
        np.testing.assert_array_equal(action, [5.0, -5.0])


class TestCheckedReward:
    @pytest.mark.parametrize("reward", [1, 1.0, np.float32(1.0), np.array(1.0), True])
    def test_one_number_of_any_kind_is_a_float(self, reward: Any) -> None:
        value = checked_reward(reward, Unregistered())
        assert value == 1.0
        assert type(value) is float

    @pytest.mark.parametrize("reward", [None, "much", np.zeros(2), {}])
    def test_anything_else_is_refused_by_its_name(self, reward: Any) -> None:
        with pytest.raises(BadDataError, match=r"Unregistered.*returned the reward.*must be one number"):
            checked_reward(reward, Unregistered())


class Choosy(NumpyAgent):
    """An agent that fits no environment, and says so."""

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        raise SpaceError(f"{observation_space} and {action_space} do not fit")


def spaces_of(env: gym.Env) -> tuple[Any, Any]:
    return env.observation_space, env.action_space


class TestCheckAgentFits:
    def test_no_agent_is_a_contract_error_that_names_the_remedy(self) -> None:
        with pytest.raises(ContractError, match=r"no agent.*agent="):
            check_agent_fits(None, *spaces_of(Unregistered()))

    def test_an_agent_that_does_not_check_spaces_is_taken(self) -> None:
        agent = NumpyAgent()
        assert check_agent_fits(agent, *spaces_of(Unregistered())) is agent

    def test_an_agent_that_checks_spaces_sees_both(self) -> None:
        with pytest.raises(SpaceError, match=r"Box.*Discrete\(2\)"):
            check_agent_fits(Choosy(), *spaces_of(Unregistered()))

    def test_without_spaces_only_presence_is_checked(self) -> None:
        agent = Choosy()
        assert check_agent_fits(agent) is agent
