"""Tasks of EnvPool under their own names, and Gymnasium's in their place where one environment is played alone."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

with warnings.catch_warnings():  # SWIG's types warn while they are made, which as an error would end the process
    warnings.simplefilter("ignore")
    import Box2D  # noqa: F401

from tensor_optix import make_agent
from tensor_optix.errors import EnvironmentNotFoundError, InvalidArgumentError, MissingDependencyError
from tensor_optix.pipeline.environment import pool_tasks
from tensor_optix.pipeline.environment.atari import FRAMES
from tensor_optix.pipeline.environment.environment import make_environment
from tensor_optix.pipeline.environment.pool_tasks import is_env_pool, known_as, register_env_pool, spaces_of, twin_of
from tensor_optix.presets import preset_for


@pytest.mark.parametrize(
    ("env", "is_one"),
    [
        ("EnvPool/CartPole-v1", True),
        ("CartPole-v1", False),
        ("envpool:CartPole-v1", False),
        ("EnvPool/envs.py:CartPole", False),
        ("ALE/Pong-v5", False),
    ],
)
def test_a_task_is_told_by_its_namespace(env: str, is_one: bool) -> None:
    assert is_env_pool(env) is is_one


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: str) -> Any:
        raise MissingDependencyError("needs envpool")

    monkeypatch.setattr(pool_tasks, "require", missing)
    with pytest.raises(MissingDependencyError, match="needs envpool"):
        make_environment("EnvPool/NoTaskOfOurs-v0")


class TestInstalled:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("envpool", reason="EnvPool is not installed: pip install 'tensor-optix-core[envpool]'")

    @pytest.mark.parametrize(
        ("env", "match"),
        [
            ("EnvPool/CartPol-v1", "no task 'CartPol-v1'. Did you mean 'CartPole-v"),
            ("EnvPool/Go9x9-v1", "has 2 players"),
        ],
    )
    def test_what_cannot_be_a_task_is_refused(self, env: str, match: str) -> None:
        with pytest.raises(EnvironmentNotFoundError, match=match):
            make_environment(env)

    def test_a_slash_in_its_name_is_a_hyphen(self) -> None:
        env: Any = make_environment("EnvPool/MetaWorld-Reach-v3")
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)

    @pytest.mark.parametrize(
        ("env", "twin"),
        [
            ("EnvPool/CartPole-v1", "CartPole-v1"),
            ("EnvPool/LunarLander-v3", "LunarLander-v3"),
            ("EnvPool/HalfCheetah-v5", "HalfCheetah-v5"),
            ("EnvPool/FrozenLake-v1", "FrozenLake-v1"),
            ("EnvPool/Pong-v5", "ALE/Pong-v5"),
            ("EnvPool/Blackjack-v1", None),  # has other observations
            ("EnvPool/Taxi-v3", None),  # is of a version that is gone
            ("EnvPool/CarRacing-v3", None),  # is drawn by another library
            ("EnvPool/WalkerWalk-v1", None),  # is no environment of Gymnasium
        ],
    )
    def test_a_single_one_is_gymnasiums_where_it_has_the_same(self, env: str, twin: str | None) -> None:
        register_env_pool(env)
        assert twin_of(env) == twin
        single = make_environment(env)
        assert single.spec is not None
        assert single.spec.id == (twin or env)
        task = gym.spec(env).kwargs["task"]
        assert spaces_of(task, {}) == (single.observation_space, single.action_space)
        single.close()

    @pytest.mark.parametrize(
        ("settings", "is_gymnasiums"),
        [({}, True), ({"num_threads": 2}, True), ({"max_episode_steps": 7}, True), ({"frame_stack": 2}, False)],
    )
    def test_settings_of_its_own_make_it_the_pools(self, settings: dict[str, Any], is_gymnasiums: bool) -> None:
        env = make_environment("EnvPool/HalfCheetah-v5", settings)
        assert env.spec is not None
        assert (env.spec.id == "HalfCheetah-v5") is is_gymnasiums
        assert env.spec.max_episode_steps == settings.get("max_episode_steps", 1000)
        assert env.observation_space.shape == ((2, 17) if "frame_stack" in settings else (17,))
        env.close()

    def test_where_gymnasiums_cannot_be_made_it_is_the_pools(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        register_env_pool("EnvPool/Acrobot-v1")

        def broken(*_: object, **__: object) -> gym.Env:
            raise gym.error.DependencyNotInstalled("no Acrobot here")

        twin_of.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(gym, "make", broken)
            assert twin_of("EnvPool/Acrobot-v1") is None
        assert "no Acrobot here" in caplog.text
        assert make_environment("EnvPool/Acrobot-v1").spec.id == "EnvPool/Acrobot-v1"  # type: ignore[union-attr]
        twin_of.cache_clear()

    @pytest.mark.parametrize("name", ["num_envs", "batch_size", "max_num_players", "seed", "env_seed"])
    def test_what_is_the_pipelines_to_choose_is_refused(self, name: str) -> None:
        register_env_pool("EnvPool/CartPole-v1")
        with pytest.raises(InvalidArgumentError, match=rf"{name}=2 cannot be set"):
            spaces_of("CartPole-v1", {name: 2})

    def test_an_unknown_setting_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"gravity.*knows max_episode_steps, num_threads"):
            make_environment("EnvPool/CartPole-v1", {"gravity": 9.8})

    def test_what_has_no_bounds_says_so(self) -> None:
        make_environment("EnvPool/WalkerWalk-v1").close()
        space = spaces_of("WalkerWalk-v1", {})[0]
        assert isinstance(space, spaces.Dict)
        assert all(np.isinf(part.high).all() for part in space.spaces.values())  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("env", "known"),
        [
            ("EnvPool/CartPole-v1", "CartPole-v1"),
            ("EnvPool/Pong-v5", "ALE/Pong-v5"),
            ("EnvPool/Ant-v5", "Ant-v5"),
            ("Ant-v5", "Ant-v5"),
        ],
    )
    def test_it_learns_with_the_preset_of_the_same_task(self, env: str, known: str) -> None:
        if is_env_pool(env):
            register_env_pool(env)
        assert known_as(env) == known
        assert preset_for(env, "ppo") is preset_for(known, "ppo")

    def test_an_agent_is_made_for_it(self) -> None:
        agent = make_agent("EnvPool/CartPole-v1", framework="torch", seed=0)
        assert agent.act(np.zeros(4, np.float32)) in (0, 1)
        assert isinstance(make_environment("EnvPool/CartPole-v1").unwrapped, CartPoleEnv)

    def test_a_game_is_the_one_of_ale(self) -> None:
        register_env_pool("EnvPool/Pong-v5")
        assert gym.spec("EnvPool/Pong-v5").kwargs["repeat_action_probability"] == 0.25
        assert make_environment("EnvPool/Pong-v5").observation_space.shape == (FRAMES, 84, 84)
