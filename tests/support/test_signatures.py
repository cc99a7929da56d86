import weakref
from typing import Any

import pytest

from tensor_optix.support.signatures import defaulting, ignores, ignoring, needs, required, takes


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


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, deterministic: bool) -> None: ...


def test_it_is_known_of_each_function_by_itself_and_of_those_without_a_hash() -> None:
    agent = Method()
    for _ in range(2):
        assert not takes(agent.act, "deterministic")
        assert takes(agent.act, "b")
        assert takes(Unhashable(), "deterministic")
    agent.act = by_keyword  # type: ignore[method-assign,assignment]
    assert takes(agent.act, "deterministic")


def test_a_function_is_not_kept_for_what_is_known_of_it() -> None:
    def act(deterministic: bool) -> None: ...

    assert takes(act, "deterministic")
    left = weakref.ref(act)
    del act
    assert left() is None


def needing(a: int, deterministic: bool) -> tuple[int, bool]:
    return a, deterministic


def needing_by_keyword(a: int, *, deterministic: bool) -> tuple[int, bool]:
    return a, deterministic


@pytest.mark.parametrize("function", [needing, needing_by_keyword])
def test_what_is_needed_gets_a_default(function: Any) -> None:
    assert needs(function, "deterministic")
    call = defaulting(function, "deterministic", False)
    assert call(1) == (1, False)
    assert call(1, deterministic=True) == (1, True)
    assert takes(call, "deterministic")


def test_an_argument_by_position_keeps_its_place() -> None:
    assert defaulting(needing, "deterministic", False)(1, True) == (1, True)


@pytest.mark.parametrize("function", [plain, by_keyword, with_anything])
def test_what_has_a_default_is_not_needed(function: Any) -> None:
    assert not needs(function, "deterministic")


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
