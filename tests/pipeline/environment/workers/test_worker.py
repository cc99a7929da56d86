import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gymnasium import spaces

from tensor_optix.errors import EnvironmentFailedError, EnvironmentNotFoundError, SpaceError
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers import worker as worker_module
from tensor_optix.pipeline.environment.workers.functions import pickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory
from tensor_optix.pipeline.environment.workers.worker import Worker, order_bytes, told_of
from tests.fakes.failing import EXIT, FLOOD, HANG, KILL, RAISE, Walking, order_of

SECONDS = 60.0
Make = Callable[..., Worker]


@pytest.fixture
def made() -> Iterator[Make]:
    workers: list[Worker] = []
    memory = SharedMemory(Walking.observation_space, Walking.action_space, 1)

    def make(maker: Any = Walking, observation_space: spaces.Space[Any] = Walking.observation_space) -> Worker:
        order = order_of(observation_space=observation_space, autoreset=False, reset_tries=1)
        workers.append(worker := Worker(order_bytes(maker, order), memory))
        worker.begin()
        return worker

    make.memory = memory  # type: ignore[attr-defined]
    yield make
    for worker in workers:
        worker.close()
    memory.close()


def reset(worker: Worker) -> wire.Reply:
    worker.send(wire.RESET, "reset", pickled_value({"seed": 3}))
    return worker.receive(SECONDS)


def step(worker: Worker, memory: SharedMemory, action: int, seconds: float = SECONDS) -> wire.Reply:
    memory.actions[0] = action
    worker.send(wire.STEP, "step")
    return worker.receive(seconds)


def test_it_serves_an_environment(made: Make) -> None:
    worker, memory = made(), made.memory  # type: ignore[attr-defined]
    worker.wait_until_made()
    assert worker.name == "<walking 0>"
    assert worker.private_bytes > 0
    assert reset(worker).value == [{"begun": 1}, None]
    assert memory.observations[0].tolist() == [0, 3, 0]
    assert step(worker, memory, 4).reward == 4.0
    assert step(worker, memory, FLOOD).reward == FLOOD  # what it prints is no answer
    assert memory.observations[0].tolist() == [0, 3, 2]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (HANG, r"hung in step: no answer in 0\.2 s"),
        (KILL, r"died in step: its process was ended by signal 9 \(Killed"),
        (EXIT, r"died in step: its process ended with exit code 7"),
        (RAISE, r"raised in step: LookupError: the cable is out"),
    ],
)
def test_however_it_fails_it_is_gone_and_can_begin_anew(made: Make, action: int, said: str) -> None:
    worker, memory = made(), made.memory  # type: ignore[attr-defined]
    worker.wait_until_made()
    reset(worker)
    first = worker.process
    with pytest.raises(EnvironmentFailedError, match=said) as caught:
        step(worker, memory, action, 0.2 if action == HANG else SECONDS)
    assert ("in fail" in told_of(caught.value)) is (action == RAISE)
    assert not worker.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    with pytest.raises(EnvironmentFailedError, match="has been ended before"):
        step(worker, memory, 1)
    worker.begin()
    worker.wait_until_made()
    assert reset(worker).value == [{"begun": 1}, None]


@pytest.mark.parametrize(
    ("kills", "said"),
    [
        ([0, 0], r"died in step: .* \(Killed\)"),
        ([3, 4], r"out of memory in step: .* \(Killed\)"),
        ([None, None], r"died in step: .* \(Killed - out of memory\?\)"),
    ],
)
def test_a_process_that_the_system_has_killed_ran_out_of_memory(
    kills: list[int | None], said: str, made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "memory_kills", lambda: kills.pop(0))
    worker = made()
    worker.wait_until_made()
    reset(worker)
    with pytest.raises(EnvironmentFailedError, match=said):
        step(worker, made.memory, KILL)  # type: ignore[attr-defined]


def test_an_answer_to_an_earlier_question_is_never_taken_for_a_later_ones(made: Make) -> None:
    worker, memory = made(), made.memory  # type: ignore[attr-defined]
    worker.wait_until_made()
    reset(worker)
    memory.actions[0] = 1
    worker.send(wire.STEP, "step")  # somebody interrupts before the answer
    assert worker.is_asked
    with pytest.raises(EnvironmentFailedError, match="has been ended before"):
        step(worker, memory, 2)
    assert not worker.is_running


def test_a_stopped_process_hangs_too_and_what_it_has_started_ends_with_it(made: Make) -> None:
    worker, memory = made(), made.memory  # type: ignore[attr-defined]
    worker.wait_until_made()
    os.kill(worker.process, signal.SIGSTOP)
    with pytest.raises(EnvironmentFailedError, match="hung in step"):
        step(worker, memory, 1, 0.1)


def broken() -> Any:
    raise OSError("no licence")


def test_what_fails_while_it_is_made_is_told(made: Make) -> None:
    with pytest.raises(EnvironmentFailedError, match="raised in making: OSError: no licence"):
        made(broken).wait_until_made()
    with pytest.raises(EnvironmentFailedError, match="died in start: its process ended with exit code 3"):
        made(lambda: os._exit(3)).wait_until_made()
    with pytest.raises(SpaceError, match="must have the same spaces: <walking 0> has other observations"):
        made(Walking, spaces.Box(-1.0, 1.0, (3,), Walking.observation_space.dtype)).wait_until_made()


class OnlyHere:
    """Reads from a module that no other process has."""

    def __reduce__(self) -> Any:
        return __import__, ("module_that_is_nowhere",)

    def __call__(self) -> Any:
        return Walking()


def test_what_cannot_be_imported_there_is_told_with_the_way_to_register_it(made: Make) -> None:
    with pytest.raises(EnvironmentNotFoundError, match=r"module_that_is_nowhere.*gymnasium\.register\("):
        made(OnlyHere()).wait_until_made()
