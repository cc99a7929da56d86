"""A registry in a fresh directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tests.fakes.checkpoints import NOW


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


@pytest.fixture
def registry(directory: Path) -> Iterator[CheckpointRegistry]:
    registry = CheckpointRegistry(directory, now=lambda: NOW)
    yield registry
    registry.close()
