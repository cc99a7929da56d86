"""Jobs on a cluster: over a fake of Ray, and, in a tier of its own, on a real one."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tensor_optix.errors import InvalidArgumentError, JobCancelledError, MissingDependencyError
from tensor_optix.executors import Executor, Payload
from tensor_optix.executors import _ray_cluster as module
from tensor_optix.executors.ray_executor import RayExecutor
from tests.contracts.executor_contract import ExecutorContract
from tests.fakes.jobs import NAME
from tests.fakes.ray import FakeRay


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(module, "require", lambda *names: made)
    return made


def test_jobs_run_on_a_cluster_that_is_started_quietly_and_shut_down(ray: FakeRay) -> None:
    with RayExecutor(workers=2) as executor:
        assert executor.workers == 2
        assert executor.map(f"{NAME}:double", [Payload(1), Payload(2), Payload(3)]) == [
            Payload(2),
            Payload(4),
            Payload(6),
        ]
        os.kill(executor.pids[0], signal.SIGKILL)
        assert executor.map(f"{NAME}:double", [Payload(1), Payload(2)]) == [Payload(2), Payload(4)]
    (how,) = ray.asked
    assert (how["include_dashboard"], how["object_store_memory"]) == (False, 1 << 28)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    executor.close()
    assert ray.shutdowns == 1


def test_jobs_are_cancelled_and_those_that_do_not_listen_are_killed(ray: FakeRay) -> None:
    with RayExecutor(workers=1) as executor:
        found = executor.outcomes(f"{NAME}:wait_for_the_end", [Payload()], lambda event: executor.cancel())
    assert found == [Payload("ended in order")]
    with RayExecutor(workers=1, grace_seconds=0.05) as executor:
        (outcome,) = executor.outcomes(f"{NAME}:hang", [Payload()], lambda event: executor.cancel())
    assert isinstance(outcome, JobCancelledError)


def test_a_connection_of_somebody_else_is_left_as_it_is(ray: FakeRay) -> None:
    ray.is_there = True
    with RayExecutor() as executor:
        assert executor.workers == 4
    assert (ray.asked, ray.shutdowns) == ([], 0)


def test_more_workers_than_the_cluster_has_cores_take_turns(ray: FakeRay, caplog: pytest.LogCaptureFixture) -> None:
    ray.is_there = True
    with RayExecutor(workers=9) as executor:
        assert executor.workers == 4
    assert "9 workers with 1 thread each want 9 cores, but there are 4" in caplog.text


def test_a_cluster_that_is_started_has_as_many_workers_as_asked_and_says_that_there_are_fewer_cores(
    ray: FakeRay, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    with RayExecutor(workers=4) as executor:
        assert executor.workers == 4
    assert "4 workers with 1 thread each want 4 cores, but there are 2" in caplog.text


@pytest.mark.parametrize("how", [{"workers": 0}, {"threads": 0}, {"grace_seconds": -1.0}])
def test_what_is_out_of_range_is_refused(ray: FakeRay, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(how))):
        RayExecutor(**how)


def test_no_ray_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"tensor-optix-core\[ray\]"):
        RayExecutor()


@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.usefixtures("ray_cluster")
class TestRayExecutor(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: RayExecutor(workers=2)

    def test_a_killed_worker_is_a_fault_and_its_item_begins_again(self, executor: Executor, tmp_path: Any) -> None:
        (result,) = executor.map(f"{NAME}:die_once", [Payload(str(tmp_path / "mark"))])
        assert result.values == 2
