import pytest

from benchmarks import _worlds
from benchmarks._untrained import MOST_STEPS, untrained_returns
from tensor_optix.runs import RunDescription


@pytest.fixture
def endless() -> str:
    """An environment without a time limit, in which no episode ends within the first 20 steps."""
    name = "benchmarks-tests/Endless-v0"
    if name not in _worlds.gym.registry:
        _worlds.gym.register(name, "benchmarks._worlds:Chain", kwargs={"length": 64, "falls_back": True})
    return name


def test_the_untrained_policy_plays_as_many_episodes_as_asked_and_each_is_cut(
    endless: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks._untrained.MOST_STEPS", 20)
    run = RunDescription(env=endless, algorithm="ppo", framework="torch", seed=0)
    assert untrained_returns(run, episodes=30, seed=1) == [0.0] * 30
    assert MOST_STEPS == 2_000


def test_the_same_seed_gives_the_same_returns() -> None:
    run = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=3)
    first = untrained_returns(run, episodes=4, seed=1)
    assert first == untrained_returns(run, episodes=4, seed=1)
    assert all(one > 0.0 for one in first)
