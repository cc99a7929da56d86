"""Updates that can be compiled before there is anything to learn from."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class CompilesAhead(Protocol):
    """An updater that compiles."""

    def compile_ahead(self, data: Mapping[str, np.ndarray], rows: np.ndarray, scalars: Mapping[str, float]) -> None:
        """Begin to compile the update of arguments like these, beside what comes next; nothing is trained.

        Args:
            data: as of `Updater`, with any values.
            rows: likewise.
            scalars: likewise.
        """
        ...
