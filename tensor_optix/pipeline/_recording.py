"""The earlier path of the reader of sessions; the module itself is `pipeline.feed.recording`."""

from tensor_optix.pipeline.feed.recording import SessionRecorder
from tensor_optix.pipeline.feed.session_reading import read_session

__all__ = ["SessionRecorder", "read_session"]
