"""Strict reading: what is refused, and that the message names the field."""

import math
from typing import Any

import pytest

from tensor_optix.core.loop.history import HistoryRecord, parse_record
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.support import schemas
from tests.soak.targets import METADATA, SNAPSHOT


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the snapshot's plain values with one of them replaced."""
    plain = schemas.decode_object(_encoded(METADATA["snapshot"]), "x")
    holder: Any = plain
    *parents, last = path.split(".")
    for name in parents:
        holder = holder[int(name) if isinstance(holder, list) else name]
    holder[last] = value
    return plain


def _encoded(plain: dict[str, Any]) -> bytes:
    return schemas.msgspec.json.encode(plain)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sequence", True),
        ("sequence", 1.0),
        ("sequence", 2**63),
        ("window_id", "9"),
        ("snapshot_id", 3),
        ("created_at", None),
        ("eval_metrics", []),
        ("eval_metrics.primary_score", "1.5"),
        ("eval_metrics.primary_score", math.inf),
        ("eval_metrics.primary_score", True),
        ("eval_metrics.has_evidence", 1),
        ("eval_metrics.metrics.episodes", math.nan),
        ("hyperparams.params", [1]),
        ("hyperparams.params.learning_rate", math.inf),
        ("hyperparams.params.learning_rate", object()),
        ("evidence.0.seeds", [1, True]),
        ("evidence.0.returns", "12"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_the_path_of_its_field(path: str, value: Any) -> None:
    with pytest.raises(CheckpointCorruptError) as refused:
        PolicySnapshot.from_dict(changed(path, value))
    assert path.replace(".0.", "[...].").removesuffix(".seeds") in str(refused.value).replace("[0]", "[...]")


def test_what_is_good_comes_back_as_it_was() -> None:
    assert PolicySnapshot.from_dict(SNAPSHOT.to_dict()) == SNAPSHOT
    assert math.isnan(PolicySnapshot.from_dict(changed("eval_metrics.primary_score", None)).eval_metrics.primary_score)


@pytest.mark.parametrize("cls", [PolicySnapshot, EvalMetrics, HyperparamSet, HistoryRecord, TrainingReport])
@pytest.mark.parametrize("data", [None, [], 3, "x", {"": 1}, {"unknown": 1}])
def test_what_is_no_object_of_the_kind_is_refused(cls: Any, data: Any) -> None:
    with pytest.raises(CheckpointCorruptError, match=cls.__name__):
        cls.from_dict(data)


def test_a_misspelt_field_is_pointed_out() -> None:
    with pytest.raises(CheckpointCorruptError, match="unknown field `windw_id` Did you mean 'window_id'"):
        PolicySnapshot.from_dict(SNAPSHOT.to_dict() | {"windw_id": 1})


@pytest.mark.parametrize("text", [b'{"a": [' + b"[]," * 10**6 + b"0]}", b'{"a": [' + b'{"b":1},' * 400_000 + b"0]}"])
def test_a_text_that_would_take_far_more_memory_than_it_has_bytes_is_not_decoded(text: bytes) -> None:
    with pytest.raises(CheckpointCorruptError, match="would take"):
        schemas.decode_object(text, "x")


def test_long_lists_of_numbers_and_colons_in_text_are_no_reason_to_refuse() -> None:
    numbers = [0.123456789 + n for n in range(100_000)]
    plain = {"mean": numbers, 'a:"b\\': ":::", "nested": {"a:b": [{"c": 1}]}}
    assert schemas.decode_object(_encoded(plain), "x") == plain


def test_a_damaged_line_of_a_history_is_named() -> None:
    with pytest.raises(CheckpointCorruptError, match=r"^Line 7 of 'h': .*env_steps"):
        parse_record(b'{"window_id": 1}', "Line 7 of 'h'")
