"""A registry in a fresh directory, and a disk that need not be waited for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tests.fakes.checkpoints import NOW


@pytest.fixture
def no_fsync(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    # It takes most of the time, and nothing but a power cut could show the difference.
    if "slow" not in request.keywords:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


@pytest.fixture
def registry(directory: Path) -> Iterator[CheckpointRegistry]:
    registry = CheckpointRegistry(directory, now=lambda: NOW)
    yield registry
    registry.close()
