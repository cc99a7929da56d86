"""The one place that imports TensorFlow: quietly, and only with Keras on the TensorFlow backend."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from tensor_optix.errors import ContractError, MissingDependencyError
from tensor_optix.support.collector import collector_paused
from tensor_optix.support.deferring import deferred_imports

_API = "tensorflow._api.v2."
_UNUSED = frozenset(
    {"keras.src.trainers.data_adapters.array_slicing", "matplotlib.pyplot", "matplotlib.patches", "cv2", "h5py"}
)
"""What Keras imports wherever it is installed, for data frames, pictures, and files of a former format."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TensorFlow's native start-up lines, which no Python filter sees, off the terminal; show them on failure."""
    if "tensorflow" in sys.modules:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        terminal = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            caught.seek(0)
            os.write(terminal, caught.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _waits(module: str) -> bool:
    """Return whether a module is executed when it is asked for: the rooms of `tf`, of which learning enters few."""
    room = module.removeprefix(_API)
    if room == module:
        return module in _UNUSED
    if room.startswith("__internal__."):
        return room.count(".") == 1
    # Where a package of that name is beside the room, whichever comes last is what `tf` shows.
    return "." not in room and not any(Path(folder, room).is_dir() for folder in sys.modules["tensorflow"].__path__)


try:
    with _quiet(), collector_paused(), deferred_imports(_waits):
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for accelerators, which is not quiet either
except ModuleNotFoundError as error:
    if error.name not in ("keras", "tensorflow"):
        raise
    raise MissingDependencyError(
        "The TensorFlow agents need tensorflow, which is not installed. Install it with: pip install 'tensorflow>=2.18'"
    ) from error

if keras.backend.backend() != "tensorflow":
    raise ContractError(
        f"Keras runs on the {keras.backend.backend()!r} backend, but TensorFlow agents need 'tensorflow'. "
        f"Set the environment variable KERAS_BACKEND=tensorflow before keras is imported, or use the PyTorch agents."
    )

Variable: TypeAlias = keras.Variable | tf.Variable

__all__ = ["Variable", "keras", "tf"]
