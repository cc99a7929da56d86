"""Jobs on a cluster: over a fake of Ray, and, in the soak, on a real one that is started once."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tensor_optix.errors import ExecutorError, InvalidArgumentError, JobCancelledError, MissingDependencyError
from tensor_optix.executors import Executor, Payload
from tensor_optix.executors import ray_executor as module
from tensor_optix.executors.ray_executor import RayExecutor, versions
from tests.contracts.executor_contract import ExecutorContract
from tests.fakes.jobs import NAME
from tests.fakes.ray import FakeRay, RayError


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


def test_a_start_that_fails_is_tried_again_and_given_up(ray: FakeRay) -> None:
    ray.failing = 2
    RayExecutor().close()
    ray.failing = 3
    with pytest.raises(ExecutorError, match="3 times: the node died"):
        RayExecutor()


def test_nobody_at_an_address_is_said_at_once(ray: FakeRay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        RayExecutor(address).close()
        assert ray.asked[0]["address"] == address
        assert "num_cpus" not in ray.asked[0]
    with pytest.raises(ExecutorError, match=r"No Ray cluster answers at '127.0.0.1:.*ray start --head"):
        RayExecutor(address)
    with pytest.raises(ExecutorError, match="must be 'host:port' or 'auto'"):
        RayExecutor("nowhere")
    RayExecutor("auto").close()


def test_nodes_must_have_the_same_versions(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [["tensor-optix 0.1", "Python 3.9.0"], versions()]
    monkeypatch.setattr(module, "versions", lambda: told[len(seen.append(0) or seen) % 2 - 1])
    seen = list[Any]()
    with pytest.raises(ExecutorError, match=r"The Ray cluster has tensor-optix .* but this process has"):
        RayExecutor()
    assert ray.shutdowns == 1
    ray.raises["<lambda>"] = RayError("The task failed\nModuleNotFoundError: No module named 'tensor_optix'")
    with pytest.raises(ExecutorError, match=r"cannot import tensor_optix \(ModuleNotFoundError.*Install"):
        RayExecutor()


def test_more_workers_than_the_cluster_has_cores_take_turns(ray: FakeRay, caplog: pytest.LogCaptureFixture) -> None:
    with RayExecutor(workers=9) as executor:
        assert executor.workers == 4
    assert "9 workers with 1 thread each want 9 cores, but there are 4" in caplog.text


@pytest.mark.parametrize("how", [{"workers": 0}, {"threads": 0}, {"grace_seconds": -1.0}])
def test_what_is_out_of_range_is_refused(ray: FakeRay, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(how))):
        RayExecutor(**how)


def test_no_ray_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"tensor-optix-core\[ray\]"):
        RayExecutor()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One start for all: it takes half a minute on a busy machine."""
    with RayExecutor(workers=2):
        yield


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.usefixtures("cluster")
class TestRayExecutor(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: RayExecutor(workers=2)

    def test_a_killed_worker_is_a_fault_and_its_item_begins_again(self, executor: Executor, tmp_path: Any) -> None:
        (result,) = executor.map(f"{NAME}:die_once", [Payload(str(tmp_path / "mark"))])
        assert result.values == 2
