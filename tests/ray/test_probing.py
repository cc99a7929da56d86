import pytest
from gymnasium import spaces

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.ray import probe
from tensor_optix.ray.probing import Probe
from tests.fakes.failing import Walking


class Calm(Walking):
    action_space = spaces.Discrete(5)


def test_it_refuses_to_recommend_what_does_not_pay() -> None:
    found = probe("CartPole-v1", cluster_cores=1000, clock=ticking(0.000_01))
    assert not found.pays
    assert "RayVectorEnv pays from about 10 ms, and is not for this environment. Use one process." in str(found)
    slower = probe("CartPole-v1", cluster_cores=1000, clock=ticking(0.005))
    assert (slower.pays, "Use async_envs=True" in str(slower)) == (False, True)


def test_a_slow_simulator_pays_where_there_are_more_cores_than_here() -> None:
    slow = Probe(name="Slow-v0", step_seconds=0.02, here=4, there=64)
    assert (slow.pays, "A step of Slow-v0 takes 20 ms, and the cluster has 64 cores" in str(slow)) == (True, True)
    small = Probe(name="Slow-v0", step_seconds=0.02, here=4, there=4)
    assert (small.pays, "async_envs=True does the same" in str(small)) == (False, True)
    unknown = Probe(name="Slow-v0", step_seconds=0.02, here=4, there=None)
    assert (unknown.pays, "more cores than the 4" in str(unknown)) == (True, True)


def test_the_median_of_steps_counts_and_time_is_bounded() -> None:
    found = probe(lambda: Calm(3), clock=ticking(1.0))
    assert (found.name, found.step_seconds) == ("<walking 3>", 1.0)
    with pytest.raises(InvalidArgumentError, match="cluster_cores"):
        probe("CartPole-v1", cluster_cores=0)


class ticking:
    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now
