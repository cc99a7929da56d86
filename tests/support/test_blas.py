"""The threads of numpy's matrix products: bound where they are OpenBLAS's, and left alone elsewhere."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from tensor_optix.support import blas
from tensor_optix.support.blas import set_blas_threads

LIBRARIES = list((Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"))


def threads_now() -> int:
    (library,) = LIBRARIES
    return int(ctypes.CDLL(str(library)).scipy_openblas_get_num_threads64_())


@pytest.mark.skipif(not LIBRARIES, reason="numpy has come with another library")
def test_the_threads_of_numpys_wheels_are_set() -> None:
    before = threads_now()
    try:
        assert set_blas_threads(2)
        assert threads_now() == 2
        assert set_blas_threads(1)
        assert threads_now() == 1
    finally:
        set_blas_threads(before)


def test_another_library_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "numpy"
    (tmp_path / "numpy.libs").mkdir()
    (tmp_path / "numpy.libs" / "libopenblas.so").write_text("no library")
    monkeypatch.setattr(np, "__file__", str(package / "__init__.py"))
    assert not set_blas_threads(1)
    assert blas._setters(package) == []
