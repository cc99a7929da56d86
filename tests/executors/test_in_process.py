from collections.abc import Callable
from pathlib import Path

import pytest

from tensor_optix.executors import Executor, InProcess, Payload
from tests.contracts.executor_contract import ExecutorContract
from tests.fakes.jobs import NAME


class TestInProcess(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return InProcess


def test_an_item_is_not_the_jobs_to_change() -> None:
    values = [1]
    InProcess().map(f"{NAME}:double", [Payload(values)])
    assert values == [1]


def test_there_is_one_worker() -> None:
    assert InProcess().workers == 1


def test_nobody_waits_for_the_worker_and_a_job_that_pauses_all_the_same_is_called_again(tmp_path: Path) -> None:
    assert InProcess().map(f"{NAME}:pause_once", [Payload(str(tmp_path / "mark"))]) == [Payload(False)]
