"""The documented path of `read_history`; the module itself is `core.loop.history`."""

from tensor_optix.core.loop.history import HistoryRecord, read_history

__all__ = ["HistoryRecord", "read_history"]
