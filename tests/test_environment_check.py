"""What is wrong with an environment is found, named, and told with what to do about it."""

import itertools
import json
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import environment_check
from tensor_optix.environment_check import EnvironmentCheck, check_environment
from tensor_optix.errors import EnvironmentNotFoundError, InvalidArgumentError, MissingDependencyError


class Sound(gym.Env):
    """Five steps long, with a small random reward."""

    observation_space: gym.Space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space: gym.Space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.at = 0
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        self.at += 1
        return self.seen(), self.reward(), self.at == 5, False, {}

    def seen(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reward(self) -> Any:
        return 1.0


class Huge(Sound):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def seen(self) -> Any:
        return super().seen() * np.float32(5_000)

    def reward(self) -> Any:
        return -16_273.6


class Poor(Sound):
    def reward(self) -> Any:
        return 0.0


class Broken(Sound):
    def seen(self) -> Any:
        return np.array([np.nan, 0], np.float32)


class Wordy(Sound):
    def reward(self) -> Any:
        return "much"


class Failing(Sound):
    def step(self, action: Any) -> Any:
        raise ValueError("no such move")


class Endless(Sound):
    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        return self.seen(), 1.0, False, False, {}


class Recorded(Sound):
    def seen(self) -> Any:
        return np.array([self.at / 10, 0], np.float32)


class Unseeded(Sound):
    noise = itertools.count()

    def seen(self) -> Any:
        return np.array([next(self.noise) % 97 / 100, 0], np.float32)


class Torn(Sound):
    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        return (self.seen(), np.array([1.0, -1.0]), *super().step(action)[2:])


class Outside(Sound):
    def seen(self) -> Any:
        return np.array([3.0, 0.0], np.float32)


class Masked(Sound):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        return super().reset(seed=seed)[0], {"action_mask": np.array([True, False, True])}


class Wild(Sound):
    action_space = gym.spaces.Text(3)


@pytest.fixture(autouse=True)
def no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_check, "make_agent", lambda *args, **kwargs: None)


def about(check: EnvironmentCheck) -> set[tuple[str, str]]:
    return {(one.level, one.about) for one in check.findings if one.about != "api"}


def test_a_sound_environment_has_no_finding_and_its_cost_is_told() -> None:
    clock = itertools.count().__next__
    check = check_environment(Sound, steps=50, clock=lambda: clock() * 1e-3)
    assert about(check) == set()
    assert check.is_trainable
    assert (check.algorithm, check.steps, check.episodes) == ("ppo", 50, 10)
    assert (check.mean_return, check.mean_length) == (5.0, 5.0)
    assert check.microseconds_per_step == pytest.approx(1000)
    assert "1,000 µs a step; a million steps take 1,000 s" in str(check)
    assert json.loads(json.dumps(check.to_dict()))["is_trainable"] is True


@pytest.mark.parametrize(
    ("env", "level", "kind", "message"),
    [
        (Huge, "warning", "rewards", r"Rewards are as large as 1.63e\+04.*--normalize-rewards"),
        (Huge, "warning", "observations", r"Observations are as large as .*--normalize-observations"),
        (Poor, "note", "rewards", "Every reward of 40 random steps was 0"),
        (Broken, "error", "observations", "NaN or infinity"),
        (Wordy, "error", "rewards", r"step gave 'much'\.$"),
        (Torn, "error", "rewards", r"step gave array\(.*; weigh its objectives .*TransformReward"),
        (Failing, "error", "step", "step raised ValueError: no such move"),
        (Endless, "warning", "episodes", "No episode ended in 40 steps.*--wrapper gymnasium.wrappers:TimeLimit"),
        (Recorded, "note", "seeds", r"No seed changes anything.*split_by_time"),
        (Unseeded, "warning", "seeds", "The same seed and the same actions gave another episode"),
        (Outside, "warning", "observations", "48 of 48 observations are not in the observation space"),
        (Masked, "error", "step", r"info\['action_mask'\] has 3 flags for 2 actions"),
    ],
)
def test_what_is_wrong_is_found(env: type[gym.Env], level: str, kind: str, message: str) -> None:
    check = check_environment(env, steps=40)
    (found,) = [one for one in check.findings if (one.level, one.about) == (level, kind)]
    assert check.is_trainable == (level != "error" and not any(one.level == "error" for one in check.findings))
    assert str(found).startswith(f"{level}: ")
    assert re.search(message, found.message), found.message


def test_a_time_limit_ends_episodes() -> None:
    wrappers = ["gymnasium.wrappers:TimeLimit:max_episode_steps=50"]
    assert about(check_environment(Endless, wrappers=wrappers, steps=40)) == set()


def test_gymnasiums_checker_is_asked_and_its_warnings_are_told() -> None:
    messages = [one.message for one in check_environment(Huge, steps=5).findings if one.about == "api"]
    assert any("-inf" in message for message in messages)
    assert not any("\x1b" in message for message in messages)


@pytest.mark.parametrize(
    ("raised", "kind"), [(MissingDependencyError("needs torch"), "framework"), (InvalidArgumentError("no"), "spaces")]
)
def test_what_no_algorithm_serves_or_no_framework_trains_is_an_error(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: str
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise raised

    monkeypatch.setattr(environment_check, "make_agent", refuse)
    check = check_environment(Wild, steps=5)
    assert ("error", kind) in about(check)
    assert check.algorithm is None
    assert not check.is_trainable
    assert check.findings[0].level == "error"


def test_an_environment_that_is_handed_over_is_played_once() -> None:
    check = check_environment(Recorded(), steps=5)
    assert about(check) == set()


def test_what_cannot_be_made_is_an_error_of_its_own() -> None:
    with pytest.raises(EnvironmentNotFoundError):
        check_environment("NoSuchWorld-v0")
    with pytest.raises(InvalidArgumentError, match="steps must be a whole number of at least 1"):
        check_environment(Sound, steps=0)
