"""The threads of the library that multiplies numpy's matrices."""

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

_SETTERS = ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads")
"""What numpy's wheels have called it, the newest first."""


def set_blas_threads(threads: int) -> bool:
    """Bound the threads of numpy's matrix products, and return whether that is known to hold.

    It is where numpy has come with OpenBLAS, as its wheels do. Another library starts with what `OMP_NUM_THREADS` says.

    Args:
        threads: at least 1.
    """
    setters = _setters(Path(np.__file__).parent)
    for set_threads in setters:
        set_threads(threads)
    return bool(setters)


@functools.cache
def _setters(package: Path) -> list[Callable[[int], object]]:
    """Return the functions that set them, of each OpenBLAS in a package of numpy's; those are loaded already.

    Args:
        package: the folder of numpy.
    """
    folders = (package.parent / "numpy.libs", package / ".dylibs", package / ".libs")
    found: list[Callable[[int], object]] = []
    for path in (path for folder in folders for path in sorted(folder.glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:  # not a library of this machine
            continue
        name = next((name for name in _SETTERS if hasattr(library, name)), None)
        if name is not None:
            found.append(getattr(library, name))
    return found
