"""A reader of feeds that is in no hurry."""

import time
from types import SimpleNamespace

import pytest

from tensor_optix.pipeline.feed import reader


@pytest.fixture
def patient_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still for the reader: it waits for its source to end, and never gives it up for slowness."""
    monkeypatch.setattr(reader, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=time.sleep))
