"""Advice where open files have run out."""

import errno
import resource

import pytest

from tensor_optix.support.open_files import advice


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_the_remedy_names_the_limit_and_how_to_raise_it(number: int) -> None:
    text = advice(OSError(number, "Too many open files"), "Buy a disk.")
    assert "`ulimit -n 4096`" in text
    assert str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) in text


def test_any_other_error_has_its_own_remedy() -> None:
    assert advice(OSError(errno.ENOSPC, "No space left on device"), "Buy a disk.") == "Buy a disk."
    assert advice(OSError("no number")) == ""
