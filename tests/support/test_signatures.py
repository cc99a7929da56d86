from typing import Any

import pytest

from tensor_optix.support.signatures import ignores, ignoring, required, takes


def plain(a: int, b: int = 2) -> int:
    return a + b


def by_keyword(a: int, *, deterministic: bool = False) -> bool:
    return deterministic


def with_anything(**options: Any) -> dict[str, Any]:
    return options


class Method:
    def act(self, a: int, b: int) -> int:
        return a


@pytest.mark.parametrize(
    ("function", "can"), [(plain, False), (by_keyword, True), (with_anything, True), (Method().act, False)]
)
def test_what_can_be_passed_is_known(function: Any, can: bool) -> None:
    assert takes(function, "deterministic") is can


def test_what_is_not_taken_is_left_out() -> None:
    call = ignoring(plain, "deterministic")
    assert call(1, b=4, deterministic=True) == call(1, b=4) == 5
    assert call.__name__ == "plain"
    assert ignores(call, "deterministic")
    assert not ignores(call, "b")
    assert not ignores(plain, "deterministic")


@pytest.mark.parametrize(("function", "n"), [(plain, 1), (by_keyword, 1), (with_anything, 0), (Method().act, 2)])
def test_how_many_arguments_are_asked_for(function: Any, n: int) -> None:
    assert required(function) == n
