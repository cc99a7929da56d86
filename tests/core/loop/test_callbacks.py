"""Calling the hooks of several callbacks: none disturbs another, and failures and delays are counted."""

import logging
from pathlib import Path

import pytest

from tensor_optix.core.loop.callbacks import CallbackList
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tests.fakes.loops import LoopRig, Recorder


def still() -> float:
    return 0.0


class Raising(LoopCallback):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        raise self.error


def test_every_callback_is_told_in_order() -> None:
    told: list[str] = []

    class Named(LoopCallback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_dormant(self, window_id: int) -> None:
            told.append(f"{self.name}{window_id}")

    CallbackList([Named("a"), Named("b")], still, Health()).call("on_dormant", 3)
    assert told == ["a3", "b3"]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), AssertionError("no")])
def test_what_one_raises_is_counted_and_named_and_the_next_is_told(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, health = Recorder(), Health()
    callbacks = CallbackList([Raising(error), recorder], still, health)
    with caplog.at_level(logging.ERROR):
        callbacks.call("on_episode_end", 0, None)
        callbacks.call("on_episode_end", 1, None)
    assert health.counts == {"callback": 2}
    assert recorder.calls == [("end", 0, None), ("end", 1, None)]
    assert [record.message for record in caplog.records] == ["Callback Raising.on_episode_end failed."] * 2


def test_a_keyboard_interrupt_is_the_users_and_goes_through() -> None:
    health = Health()
    with pytest.raises(KeyboardInterrupt):
        CallbackList([Raising(KeyboardInterrupt())], still, health).call("on_episode_end", 0, None)
    assert health.counts == {}


def test_each_gets_a_copy_and_none_can_change_what_the_loop_or_another_sees() -> None:
    class Changing(LoopCallback):
        def on_hyperparam_update(self, old: HyperparamSet, new: HyperparamSet) -> None:
            new.params["learning_rate"] = 99.0

    recorder, values = Recorder(), HyperparamSet({"learning_rate": 0.1})
    CallbackList([Changing(), recorder], still, Health()).call("on_hyperparam_update", values, values)
    assert values.params == {"learning_rate": 0.1}
    assert recorder.calls == [("hyperparams", {"learning_rate": 0.1}, {"learning_rate": 0.1})]


def test_an_object_with_some_of_the_hooks_is_told_of_those() -> None:
    class Some:
        told = 0

        def on_loop_stop(self) -> None:
            self.told += 1

    some, health = Some(), Health()
    callbacks = CallbackList([some], still, health)  # type: ignore[list-item]
    callbacks.call("on_loop_start")
    callbacks.call("on_loop_stop")
    assert (some.told, health.counts) == (1, {})


def test_a_slow_callback_is_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0

    class Takes(LoopCallback):
        def __init__(self, seconds: list[float]) -> None:
            self.seconds = iter(seconds)

        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            nonlocal now
            now += next(self.seconds)

    health = Health()
    slow, quick = Takes([5.0, 0.9, 5.0, 5.0]), Takes([0.1] * 4)
    callbacks = CallbackList([slow, quick], lambda: now, health)
    now = 100.0  # what came before the run is nobody's window
    callbacks.call("on_loop_start")
    for window_id, seconds in enumerate((1.0, 0.1, 1.0, 20.0)):  # of the last it takes a share that may be
        now += seconds
        callbacks.call("on_episode_end", window_id, None)
    assert health.counts == {"slow callback": 2}
    assert [record.message for record in caplog.records] == [
        "Callback Takes took 5.0 s of a window of 6.1 s: the training waits for it. Do less in it, or do it in a "
        "thread of its own."
    ]


def test_a_callback_with_only_some_of_the_hooks_will_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Bare:
        stopped = False

        def on_loop_stop(self) -> None:
            self.stopped = True

    bare = Bare()
    LoopRig(tmp_path, [1.0], callbacks=[bare]).run()  # type: ignore[list-item]
    assert bare.stopped
    assert not caplog.records
