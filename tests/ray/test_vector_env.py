"""Environments on a cluster: over a fake of Ray, and, in a tier of its own, on a real one."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tensor_optix import VectorBatchPipeline
from tensor_optix.errors import ContractError, EnvironmentNotFoundError, InvalidArgumentError, MissingDependencyError
from tensor_optix.executors import _ray_cluster as cluster_module
from tensor_optix.pipeline.environment.episodes import FAILED_STEP
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.ray import RayVectorEnv
from tensor_optix.ray.vector_env import fitting
from tests.fakes.failing import HANG, KILL, RAISE, walking
from tests.fakes.ray import FakeRay
from tests.fakes.rich import Rich, Texts, flat
from tests.helpers import NumpyAgent


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(cluster_module, "require", lambda *names: made)
    return made


@contextlib.contextmanager
def made(n: int = 4, **how: Any) -> Iterator[RayVectorEnv]:
    env = RayVectorEnv(walking(n), **{"envs_per_actor": 2, "sleep": lambda _: None, **how})
    try:
        yield env
    finally:
        env.close()


@pytest.mark.parametrize("kind", [Rich, pytest.param(Texts, marks=pytest.mark.slow)])
def test_it_gives_what_the_local_pool_gives(ray: FakeRay, kind: Any) -> None:
    makers: list[Any] = [lambda i=i: kind(i) for i in range(3)]
    there, here = RayVectorEnv(makers, envs_per_actor=2), WorkerVectorEnv(makers)
    assert there.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert flat(there.reset(seed=5)) == flat(here.reset(seed=5))
    there.action_space.seed(1)
    for _ in range(12):
        actions = there.action_space.sample()
        if kind is not Rich:
            actions = actions % 5
        assert flat(there.step(actions)) == flat(here.step(actions))
    mask = {"reset_mask": np.array([False, True, True])}
    assert flat(there.reset(options=dict(mask))) == flat(here.reset(options=dict(mask)))
    for vector in (there, here):
        vector.close()
    assert [one["num_cpus"] for one in ray.options] == [2, 1.0]
    assert ray.shutdowns == 1


def test_whoever_fails_the_others_notice_nothing(ray: FakeRay) -> None:
    with made(step_timeout=6.0) as env:
        env.reset(seed=0)
        env.step(np.ones(4, int))
        observations, rewards, _, truncated, infos = env.step(np.array([2, HANG, KILL, RAISE]))
        assert (rewards.tolist(), truncated.tolist()) == ([2, 0, 0, 0], [False, True, True, True])
        assert observations[:, 2].tolist() == [2, 0, 0, 0]
        told = infos["final_info"][FAILED_STEP]
        assert [text.split()[0] for text in told[1:]] == ["hung", "died", "raised"]
        assert "LookupError: the cable is out" in told[3]
        assert env.step(np.ones(4, int))[0][:, 2].tolist() == [3, 1, 1, 1]
        assert len(ray.actors) == 2


def test_an_actor_that_dies_is_remade_and_only_its_episodes_are_dropped(ray: FakeRay) -> None:
    with made() as env:
        env.reset(seed=0)
        env.step(np.ones(4, int))
        ray.kill(ray.actors[0])
        observations, rewards, _, truncated, infos = env.step(np.ones(4, int))
        assert (rewards.tolist(), truncated.tolist()) == ([0, 0, 1, 1], [True, True, False, False])
        assert observations[:, 2].tolist() == [0, 0, 2, 2]
        assert all("its actor is gone: The actor died" in text for text in infos["final_info"][FAILED_STEP][:2])
        assert len(ray.actors) == 3
        assert env.step(np.ones(4, int))[0][:, 2].tolist() == [1, 1, 3, 3]


def test_attributes_are_asked_for_and_set(ray: FakeRay) -> None:
    with made(3) as env:
        env.set_attr("steps", [3, 4, 5])
        assert env.get_attr("steps") == (3, 4, 5)
        assert env.call("__str__") == ("<walking 0>", "<walking 1>", "<walking 2>")


def test_a_pipeline_collects_the_same_windows_and_resumes_them(ray: FakeRay) -> None:
    env_fns: Any = ("CartPole-v1", 3)

    def piped(env: Any, **how: Any) -> VectorBatchPipeline:
        return VectorBatchPipeline(env, NumpyAgent(), window_size=16, seed=1, **how)

    windows = []
    for pipeline in (piped(env_fns, async_envs=True), piped(RayVectorEnv(env_fns, envs_per_actor=2))):
        stream = pipeline.episodes()
        next(stream)
        state = pipeline.stream_state()
        windows.append(next(stream))
        assert pipeline.validation_pipeline(2, 0) is not None
        pipeline.teardown()
    again = piped(RayVectorEnv(env_fns, envs_per_actor=2))
    again.restore_stream(state)
    assert np.array_equal(next(again.episodes()).observations[::16], windows[1].observations[::16])
    again.teardown()
    for name in ("observations", "actions", "rewards", "terminated"):
        assert np.array_equal(getattr(windows[0], name), getattr(windows[1], name))


def test_what_a_node_cannot_import_is_said_by_the_first_environment(
    ray: FakeRay, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("from tests.fakes.failing import Walking\nclass Mine(Walking): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(tmp_path)])
    with pytest.raises(EnvironmentNotFoundError, match=r"cannot be imported in a process of its own: .*only_here"):
        RayVectorEnv([only_here.Mine] * 2)
    assert ray.shutdowns == 1


def test_more_environments_than_cores_take_turns(caplog: pytest.LogCaptureFixture) -> None:
    assert fitting(1.0, 4, 4) == 1.0
    assert fitting(1.0, 8, 4) == 0.5
    assert "8 environments with 1 cores each want 8, but the cluster has 4" in caplog.text


def test_what_is_out_of_range_is_refused(ray: FakeRay) -> None:
    for how in ({"envs_per_actor": 0}, {"cores_per_env": -1.0}, {"start_seconds": -1.0}):
        with pytest.raises(InvalidArgumentError, match=next(iter(how))):
            RayVectorEnv(walking(1), **how)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="env_fns must be functions"):
        RayVectorEnv([])
    lock = __import__("threading").Lock()
    with pytest.raises(ContractError, match="cannot be sent to a process of its own"):
        RayVectorEnv([lambda: [lock, *walking(1)][1]()])
    assert ray.shutdowns == len(ray.asked)


def test_no_ray_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"RayVectorEnv needs ray.*tensor-optix-core\[ray\]"):
        RayVectorEnv(walking(1))


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.usefixtures("ray_cluster")
def test_on_a_cluster_a_killed_actor_costs_its_own_episodes_alone() -> None:
    with made(step_timeout=60.0) as env, contextlib.closing(WorkerVectorEnv(walking(4))) as here:
        assert flat(env.reset(seed=0)) == flat(here.reset(seed=0))
        for _ in range(7):
            assert flat(env.step(np.ones(4, int))) == flat(here.step(np.ones(4, int)))
        os.kill(env.pids[0], signal.SIGKILL)
        observations, rewards, _, truncated, infos = env.step(np.ones(4, int))
        assert (rewards.tolist(), truncated.tolist()) == ([0, 0, 1, 1], [True, True, False, False])
        assert all("its actor is gone" in text for text in infos["final_info"][FAILED_STEP][:2])
        assert observations[:2, 2].tolist() == [0, 0]
        assert env.step(np.ones(4, int))[0][:2, 2].tolist() == [1, 1]
