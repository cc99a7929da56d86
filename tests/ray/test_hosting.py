"""An actor's part, in this process: it hands on requests, and says what comes of each."""

from collections.abc import Iterator

import pytest

from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.functions import pickled_value
from tensor_optix.pipeline.environment.workers.memory import SharedMemory, fill
from tensor_optix.pipeline.environment.workers.worker import order_bytes
from tensor_optix.ray.hosting import BEGIN, HEAR, Answer, Host, Request
from tests.fakes.failing import HANG, RAISE, Walking, order_of

SPACES = Walking.observation_space, Walking.action_space


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host(2, *SPACES, [])
    yield made
    made.close()


def begin(seat: int) -> Request:
    return Request(seat, BEGIN, "start", order_bytes(lambda: Walking(seat), order_of(index=seat, n_envs=2)), 60.0)


def reset(seat: int) -> Request:
    return Request(seat, wire.RESET, "reset", pickled_value({"seed": 3}), 60.0)


def step(seat: int, action: int, seconds: float = 60.0) -> Request:
    return Request(seat, wire.STEP, "step", pickled_value(action), seconds)


def seen(answer: Answer) -> list[float]:
    memory = SharedMemory(*SPACES, 1)
    fill(memory.observations[0], answer.row)
    return memory.observations[0].tolist()


def test_it_serves_several_environments_and_one_that_fails_costs_the_others_nothing(host: Host) -> None:
    assert [wire.reply_in(one.reply).value["name"] for one in host.answers([begin(0), begin(1)])] == [
        "<walking 0>",
        "<walking 1>",
    ]
    assert [seen(one)[0] for one in host.answers([reset(1), reset(0)])] == [1.0, 0.0]
    hung, well = host.answers([step(0, HANG, 1.0), step(1, 4, 1.0)])
    assert hung.failure == ("hung", "step", "no answer in 1 s")
    assert (wire.reply_in(well.reply).reward, seen(well)[2]) == (4.0, 1.0)
    (raised,) = host.answers([step(1, RAISE)])
    assert wire.reply_in(raised.reply).kind == wire.RAISED
    (gone,) = host.answers([step(0, 1)])
    assert gone.failure == ("died", "step", "its process has been ended before")
    host.end(1)
    (ended,) = host.answers([reset(1)])
    assert ended.failure is not None


def test_the_reset_in_the_step_that_ends_an_episode_is_a_further_answer(host: Host) -> None:
    host.answers([begin(0)])
    host.answers([reset(0)])
    for _ in range(5):
        (last,) = host.answers([step(0, 1)])
    (next_one,) = host.answers([Request(0, HEAR, "reset", b"", 60.0)])
    assert (wire.reply_in(last.reply).has_ended, seen(last)[2], seen(next_one)[2]) == (True, 5.0, 0.0)
