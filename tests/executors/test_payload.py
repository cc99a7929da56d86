import io

import pytest

from tensor_optix.executors.payload import Frame, Payload, crossed, read_frame

FRAME = Frame("job", Payload({"a": [1, None]}, {"x": b"12", "y": b""}), {"index": 3})


def test_a_frame_is_read_as_it_was_written() -> None:
    stream = io.BytesIO(FRAME.to_bytes() + Frame("cancel").to_bytes())
    assert [read_frame(stream), read_frame(stream), read_frame(stream)] == [FRAME, Frame("cancel"), None]


@pytest.mark.parametrize("length", range(0, len(FRAME.to_bytes()), 7))
def test_a_frame_that_breaks_off_is_none(length: int) -> None:
    assert read_frame(io.BytesIO(FRAME.to_bytes()[:length])) is None


def test_a_payload_arrives_as_plain_json() -> None:
    assert crossed(Payload((1, 2), {"w": b"1"})) == Payload([1, 2], {"w": b"1"})
