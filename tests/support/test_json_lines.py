"""Reading lines in one go: the same as the long way reads, or None."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tensor_optix.core.loop.history import HistoryRecord, parse_record
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.support.json_lines import decoded
from tensor_optix.support.schemas import decode_object, rebuilt
from tests.fakes.histories import COMMIT, record

FULL = record(
    3,
    hyperparams=HyperparamSet({"rate": 0.1, "kind": 'a "b":', "sizes": [64, 64], "none": None}, 2),
    eval_metrics=EvalMetrics(math.nan, {"loss": math.nan, "n": 2.0}, 3, has_evidence=False, grade=0.5),
    tuning=(COMMIT, COMMIT),
    start_score=None,
)


@dataclass(frozen=True)
class Inner:
    n: int = 1

    def __post_init__(self) -> None:
        if self.n > 9:
            raise ValueError("n is at most 9")


@dataclass(frozen=True, slots=True)
class Outer:
    """Every kind of field that a saved dataclass has."""

    name: str
    one: Inner
    many: list[Inner] = field(default_factory=list)
    numbers: tuple[float, ...] = ()
    named: Mapping[str, Inner] = field(default_factory=dict)
    level: float = math.inf
    bound: float | None = None
    other: Inner | None = None
    usual: Inner = field(default_factory=Inner)


def line(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("one", [record(0), FULL], ids=["plain", "full"])
def test_a_line_is_what_the_long_way_reads(one: HistoryRecord) -> None:
    data = line(one.to_dict())
    quick = decoded(HistoryRecord, data)
    assert type(quick) is HistoryRecord
    assert repr(quick) == repr(parse_record(data, "x")) == repr(one)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"many": [{"n": 2}, {}], "numbers": [1, None, 2.5], "named": {"a": {"n": 3}}},
        {"level": 3, "bound": 1.5, "other": {"n": 4}, "usual": {"n": 5}},
        {"bound": None, "other": None, "level": None},
    ],
)
def test_fields_of_every_kind_arrive(more: dict[str, Any]) -> None:
    data = line({"name": "a", "one": {}, **more})
    assert repr(decoded(Outer, data)) == repr(rebuilt(Outer, decode_object(data, "x")))


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b"{",
        b"\xff",
        line({"name": 1, "one": {}}),
        line({"name": "a", "one": {"n": True}}),
        line({"name": "a", "one": {"n": 10}}),  # the class itself refuses it
        line({"name": "a", "one": {}, "unknown": 1}),
        line({"name": "a", "one": {}, "numbers": [math.nan]}),
        b'{"name": "a", "one": {}, "level": 1e999}',
        b'{"name": "a", "one": ' + b'{"n":' * 5000,
        line({"name": "a" * (1 << 16), "one": {}}),  # longer than what is decoded in one go
    ],
)
def test_what_is_unusual_is_left_to_the_long_way(data: bytes) -> None:
    assert decoded(Outer, data) is None


@hypothesis.given(st.binary(max_size=30), st.integers(0, 400), st.integers(0, 400))
def test_no_change_of_a_line_ends_in_an_error(inserted: bytes, begin: int, end: int) -> None:
    data = line(FULL.to_dict())
    found = decoded(HistoryRecord, data[:begin] + inserted + data[end:])
    assert found is None or type(found) is HistoryRecord
