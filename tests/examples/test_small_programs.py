"""Each small program runs as its command does, two windows long."""

import io
import json
import sys

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from examples import live_feed, own_agent, own_environment, train_environment, use_policy
from tests.fakes.documents import short_runs as short_runs  # the fixture

pytestmark = pytest.mark.usefixtures("short_runs")


def test_an_environment_is_trained_and_its_policy_is_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_environment.main(["CartPole-v1"])
    out = capsys.readouterr().out
    assert "Best score" in out
    assert "tensor-optix report runs/CartPole-v1" in out
    monkeypatch.setattr(sys, "stdin", io.StringIO("[0.0, 0.0, 0.1, 0.0]\n[0.0]\nno JSON\n"))
    use_policy.main(["runs/CartPole-v1", "CartPole-v1", "--episodes", "3", "--serve"])
    out, err = capsys.readouterr()
    assert "over 3 fresh episodes" in err
    action, short, broken = map(json.loads, out.splitlines())
    assert action["action"] in (0, 1)
    assert "error" in short
    assert "error" in broken


def test_an_environment_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    own_environment.main([])
    assert "Best score" in capsys.readouterr().out


def test_the_tank_is_an_environment_of_gymnasium_and_heating_pays() -> None:
    check_env(own_environment.Tank(), skip_render_check=True)

    def total(action: int) -> float:
        env = own_environment.Tank()
        env.reset(seed=0)
        return sum(env.step(np.int64(action))[1] for _ in range(own_environment.HOURS))

    assert total(1) > total(0)


def test_an_agent_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    own_agent.main([])
    assert "Best score" in capsys.readouterr().out


def test_the_cross_entropy_method_moves_its_mean_to_the_best() -> None:
    agent = own_agent.CrossEntropy(seed=0)
    agent.tried = [(float(-abs(x - 3.0)), np.full(4, x)) for x in np.linspace(0.0, 5.5, 11)]
    agent.learn(_one_window(return_=-9.0))
    assert agent.tried == []
    np.testing.assert_allclose(agent.mean, 3.0, atol=0.5)


def test_a_feed_that_does_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    live_feed.main(["--window-size", "20", "--pause", "0.001"])
    out = capsys.readouterr().out
    assert "received" in out
    assert "learned" in out


def test_an_interval_holds_the_mean() -> None:
    returns = np.arange(20.0)
    low, high = use_policy.interval(returns)
    assert low < returns.mean() < high


def _one_window(return_: float) -> own_agent.EpisodeData:
    from tensor_optix.core.types import EpisodeSummary

    return own_agent.EpisodeData(
        observations=np.zeros((1, 4)),
        actions=np.zeros(1, int),
        rewards=np.array([return_]),
        terminated=np.array([True]),
        truncated=np.array([False]),
        infos=[{}],
        episode_id=0,
        completed=(EpisodeSummary(return_, 1),),
    )
