"""The hooks of a callback, and what is refused as one."""

import inspect
from typing import Any

import pytest

from tensor_optix.core.loop_callback import HOOKS, LoopCallback, checked_callbacks
from tensor_optix.errors import ContractError
from tests.fakes.loops import Recorder


def test_every_hook_does_nothing_until_it_is_overridden() -> None:
    assert len(HOOKS) == 9
    for hook in HOOKS:
        method = getattr(LoopCallback(), hook)
        assert method(*[None] * len(inspect.signature(method).parameters)) is None


def test_callbacks_are_listed_in_their_order_and_the_list_is_a_copy() -> None:
    given = [Recorder(), Recorder()]
    checked = checked_callbacks(given)
    assert checked == given
    assert checked is not given
    assert checked_callbacks(callback for callback in given) == given
    assert checked_callbacks(()) == []


@pytest.mark.parametrize("hook", HOOKS)
def test_an_object_with_one_hook_will_do(hook: str) -> None:
    duck = type("Duck", (), {hook: lambda self, *args: None})()
    assert checked_callbacks([duck]) == [duck]


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (3, "must be a list of callbacks, but got 3. Write callbacks=\\[\\.\\.\\.\\]"),
        (Recorder(), "must be a list of callbacks, but got <"),
        ([Recorder], r"must hold objects, but got the class Recorder. Write Recorder\(\)"),
        ([Recorder(), 3], "must have at least one hook of .*on_episode_end.*, but got 3"),
        ([lambda: None], "must have at least one hook"),
        (["on_episode_end"], "must have at least one hook"),
        ([type("Value", (), {"on_loop_stop": 3})()], "must have at least one hook"),
    ],
)
def test_what_no_hook_can_be_called_of_is_refused(callbacks: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        checked_callbacks(callbacks)


def test_none_is_no_callback() -> None:
    assert checked_callbacks(None) == []
