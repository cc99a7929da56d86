from collections.abc import Iterator
from typing import Any

import pytest

from tensor_optix.errors import EnvironmentFailedError, InvalidArgumentError
from tensor_optix.pipeline.environment.workers import fleet as module
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.fleet import BACKOFF, Fleet, check_rss
from tests.fakes.failing import Walking, walking

SLEPT: list[float] = []


def fleet_of(env_fns: list[Any], **more: Any) -> Fleet:
    return Fleet(env_fns, Walking.observation_space, Walking.action_space, sleep=SLEPT.append, **more)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    SLEPT.clear()
    made = fleet_of(walking(2))
    made.begin()
    yield made
    made.close()


def test_one_that_is_made_anew_goes_on_with_the_next_episode_of_its_seed(fleet: Fleet) -> None:
    fleet.send_reset(1, 9, None)
    assert fleet.begun(1).number == 0
    failures: list[str] = []
    reply = fleet.renewed(1, failures)
    assert reply is not None
    assert (reply.number, failures, SLEPT) == (1, [], [BACKOFF])
    after = fleet.memory.observations[1].tolist()
    fleet.send_reset(0, 9, None)
    fleet.begun(0)
    fleet.send_reset(0, None, None)
    assert fleet.begun(0).number == 1
    assert after[1:] == fleet.memory.observations[0].tolist()[1:]  # whoever serves it


def test_it_waits_longer_with_each_failure_and_gives_up_after_the_third() -> None:
    SLEPT.clear()
    fleet = fleet_of([lambda: Walking(0, ("reset", 1))])
    fleet.begin()
    fleet.send_reset(0, 1, None)
    with pytest.raises(EnvironmentFailedError, match="raised in reset"):
        fleet.begun(0)
    failures = ["raised in reset: the first time"]
    assert fleet.renewed(0, failures) is None
    assert len(failures) == 3
    assert SLEPT == [2 * BACKOFF, 4 * BACKOFF]
    fleet.close()


def test_all_are_asked_and_one_that_fails_says_so(fleet: Fleet) -> None:
    payload = module.pickled_value(("__str__", (), {}))
    assert fleet.ask(wire.CALL, "call", [payload] * 2) == [["<walking 0>"], ["<walking 1>"]]
    fleet.workers[1].kill()
    with pytest.raises(EnvironmentFailedError, match="An environment of 2 failed; it died in call"):
        fleet.ask(wire.CALL, "call", [payload] * 2)


def test_what_cannot_be_made_is_an_error_at_once() -> None:
    def broken() -> Any:
        raise OSError("no licence")

    fleet = fleet_of([broken])
    with pytest.raises(EnvironmentFailedError, match=r"Environment 0 of 1 failed while .*: no licence"):
        fleet.begin()
    fleet.close()


def test_more_than_there_is_memory_for_are_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: 1024)
    fleet = fleet_of(walking(3))
    with pytest.raises(InvalidArgumentError, match=r"3 environments .* need about .* Use fewer"):
        fleet.begin()
    assert [worker.is_running for worker in fleet.workers] == [True, False, False]
    fleet.close()


@pytest.mark.parametrize("value", [0, -5, 1.5, True, "1G", float("nan")])
def test_a_bound_of_memory_is_a_number_of_bytes(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_worker_rss must be a whole number of bytes"):
        check_rss(value)
