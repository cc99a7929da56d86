"""Frames and the items that are made of them: what fits, what is malformed, and what is sent."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline._items import HEARTBEAT, Malformed
from tensor_optix.pipeline.sources._frames import Frame, FrameCodec


def codec(format: str = "json", schema: Any = Frame, to_item: Any = None, dtype: Any = np.float32) -> FrameCodec:
    return FrameCodec(format, schema, to_item, dtype)


def items(frame: Any, **options: Any) -> list[Any]:
    return list(codec(**options).items(frame if isinstance(frame, bytes) else json.dumps(frame).encode()))


def reason(frame: Any, **options: Any) -> str:
    (found,) = items(frame, **options)
    assert isinstance(found, Malformed)
    return found.reason


class TestItems:
    def test_a_frame_is_an_item_with_defaults(self) -> None:
        ((observation, reward, terminated, truncated, info),) = items({"observation": [1, 2.5]})
        assert (observation.tolist(), observation.dtype) == ([1.0, 2.5], np.float32)
        assert (reward, terminated, truncated, info) == (0.0, False, False, {})

    def test_all_of_it_comes_through(self) -> None:
        frame = {"observation": [[1], [2]], "reward": -1.5, "terminated": True, "truncated": True, "info": {"a": [1]}}
        ((observation, *rest),) = items(frame)
        assert observation.shape == (2, 1)
        assert rest == [-1.5, True, True, {"a": [1]}]

    def test_a_number_and_its_epoch_go_into_the_info(self) -> None:
        assert items({"observation": [1], "sequence": 7, "epoch": "b"})[0][4] == {"sequence": 7, "epoch": "b"}
        assert items({"observation": [1], "sequence": 0})[0][4] == {"sequence": 0}
        assert items({"observation": [1], "epoch": "b"})[0][4] == {}  # names the numbering of an item without a number

    def test_items_of_one_connection_share_no_info(self) -> None:
        one, other = items([{"observation": [1], "sequence": 1}, {"observation": [2]}])
        assert (one[4], other[4]) == ({"sequence": 1}, {})

    def test_a_list_is_as_many_items_and_an_empty_one_none(self) -> None:
        assert [item[0].tolist() for item in items([{"observation": [n]} for n in range(3)])] == [[0.0], [1.0], [2.0]]
        assert items([]) == []

    def test_a_heartbeat_is_no_item_and_an_item_with_one_is(self) -> None:
        assert items({"heartbeat": 1}) == [HEARTBEAT]
        assert items({"heartbeat": None}) == [HEARTBEAT]
        assert items({"heartbeat": 1, "observation": [1]})[0][0].tolist() == [1.0]

    def test_messagepack_holds_the_same(self) -> None:
        frame = msgspec.msgpack.encode({"observation": [1, 2], "reward": 3})
        assert items(frame, format="msgpack")[0][1] == 3.0

    @pytest.mark.parametrize(("dtype", "value"), [(np.uint8, [0, 255]), (np.float64, [0.1]), (np.int32, [-4])])
    def test_observations_have_the_type_that_is_asked_for(self, dtype: Any, value: list[float]) -> None:
        observation = items({"observation": value}, dtype=dtype)[0][0]
        assert (observation.dtype, observation.tolist()) == (dtype, value)

    def test_what_is_too_large_for_the_type_is_infinite_and_no_warning(self) -> None:
        assert np.isinf(items({"observation": [1e300]})[0][0]).all()


class TestMalformed:
    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b"no json",
            b"\xff\xfe",
            b"[" * 5000,
            b"3",
            b'{"observation":[1],"reward":"high"}',
            b'{"observation":[1],"terminated":1}',
            b'{"observation":[1],"sequence":1.5}',
        ],
    )
    def test_what_does_not_fit_the_schema_says_so(self, frame: bytes) -> None:
        assert reason(frame).startswith("its frame does not fit the schema")

    def test_a_long_frame_is_quoted_in_part(self) -> None:
        (found,) = items(b"x" * 10_000)
        assert len(found.frame) == 200
        assert len(found.reason) < 300

    @pytest.mark.parametrize("observation", ["text", ["a", "b"], [[1], [2, 3]], {"a": "x"}, None, [None], [10**400]])
    def test_an_observation_is_made_of_numbers_as_deep_as_it_is(self, observation: Any) -> None:
        assert reason({"observation": observation}).startswith("its observation is no array")

    def test_a_frame_needs_an_observation(self) -> None:
        assert reason({"reward": 1.0}) == "its frame has no observation"

    def test_one_malformed_item_of_a_list_leaves_the_others(self) -> None:
        found = items([{"observation": [1]}, {"observation": "text"}, {"observation": [3]}])
        assert [isinstance(item, Malformed) for item in found] == [False, True, False]


class Tick(msgspec.Struct):
    price: float


class TestSchemaOfTheUser:
    def test_it_is_decoded_and_made_an_item(self) -> None:
        item = (np.zeros(1), 0.0, False, False, {})
        assert items({"price": 2.5}, schema=Tick, to_item=lambda tick: (np.array([tick.price]), *item[1:]))[0][0] == 2.5

    def test_none_is_a_heartbeat(self) -> None:
        assert items({"price": 2.5}, schema=Tick, to_item=lambda tick: None) == [HEARTBEAT]

    def test_a_frame_of_ours_may_be_made_an_item_too(self) -> None:
        assert items({"observation": [1]}, to_item=lambda frame: frame.observation) == [[1]]

    def test_what_it_raises_is_a_malformed_item(self) -> None:
        def broken(tick: Tick) -> Any:
            raise KeyError("volume")

        assert reason({"price": 2.5}, schema=Tick, to_item=broken) == "to_item raised KeyError: 'volume'"

    def test_a_frame_of_another_shape_does_not_reach_it(self) -> None:
        assert "does not fit" in reason({"cost": 1}, schema=Tick, to_item=lambda tick: 1 / 0)


class TestMessages:
    def test_json_is_text_and_messagepack_is_bytes(self) -> None:
        assert json.loads(codec().encode({"action": 1})) == {"action": 1}
        assert msgspec.msgpack.decode(codec("msgpack").encode({"action": 1})) == {"action": 1}

    @pytest.mark.parametrize(
        ("action", "sent"), [(np.array([0.5, 1.0]), [0.5, 1.0]), (np.int64(3), 3), (np.float32(0.5), 0.5), ([1], [1])]
    )
    def test_actions_are_sent_as_plain_numbers(self, action: Any, sent: Any) -> None:
        assert json.loads(codec().encode({"action": action})) == {"action": sent}

    def test_what_cannot_be_sent_is_named(self) -> None:
        with pytest.raises(TypeError, match="object cannot be sent"):
            codec().encode({"action": object()})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xml"}, r"format must be one of \('json', 'msgpack'\), but got 'xml'"),
        ({"schema": Tick}, "schema needs to_item="),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        codec(**options)
