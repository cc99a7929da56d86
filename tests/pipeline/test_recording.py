"""The earlier path of the reader of sessions."""

from tensor_optix.pipeline import _recording
from tensor_optix.pipeline.feed import recording, session_reading


def test_it_only_names_what_another_module_defines() -> None:
    found = [getattr(_recording, name) for name in _recording.__all__]
    assert found == [recording.SessionRecorder, session_reading.read_session]
