import gymnasium as gym
import pytest

from benchmarks import _worlds

LEFT, RIGHT = _worlds.LEFT, _worlds.RIGHT


def made(env_id: str) -> gym.Env:
    _worlds.register()
    return gym.make(env_id)


@pytest.mark.parametrize("env_id", [_worlds.CHAIN, _worlds.DEEP_CHAIN])
def test_the_only_reward_of_a_chain_is_at_its_end(env_id: str) -> None:
    env = made(env_id)
    env.reset(seed=0)
    steps = [env.step(RIGHT) for _ in range(19)]
    assert [step[1] for step in steps] == [0.0] * 18 + [1.0]
    assert [step[2] for step in steps] == [False] * 18 + [True]
    assert steps[-1][0] == 19


@pytest.mark.parametrize(("env_id", "after"), [(_worlds.CHAIN, 2), (_worlds.DEEP_CHAIN, 0)])
def test_a_step_to_the_left_leads_back(env_id: str, after: int) -> None:
    env = made(env_id)
    env.reset(seed=0)
    for _ in range(3):
        env.step(RIGHT)
    assert env.step(LEFT)[0] == after


def test_an_arm_pays_as_often_as_it_says() -> None:
    env = made(_worlds.BANDIT)
    env.reset(seed=0)
    for arm, chance in enumerate(_worlds.ARMS):
        paid = []
        for _ in range(400):
            env.reset()
            _, reward, terminated, _, _ = env.step(arm)
            paid.append(reward)
            assert terminated
        assert sum(paid) / 400 == pytest.approx(chance, abs=4.0 * (chance * (1.0 - chance) / 400) ** 0.5)
