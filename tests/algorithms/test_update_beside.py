"""An update in progress: when it is waited for, what it came to, and what is saved of it."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from tensor_optix.adapters import _dense
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.algorithms import _update_beside
from tensor_optix.algorithms._update_beside import UpdateBeside, at_once, check_saved_beside
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError
from tests.fakes.updates import Late


def stack(seed: int = 0) -> _dense.Frozen:
    rng = np.random.default_rng(seed)
    layers = [_dense.Affine(rng.normal(size=(2, 3)), rng.normal(size=3)), _dense.relu]
    return _dense.Frozen([*layers, _dense.AppendLogStd(rng.normal(size=3))])


def never() -> tuple[dict[str, float], str | None]:
    raise AssertionError


def test_an_update_is_running_until_it_is_joined_and_told_once() -> None:
    beside = UpdateBeside(Late)
    beside.begin(lambda: ({"loss": 1.0}, None))
    assert beside.is_running
    beside.join()
    assert not beside.is_running
    assert beside.finished(never) == ({"loss": 1.0}, None)
    assert beside.finished(never) == (None, None)


def test_it_runs_in_a_thread_of_its_own_where_there_is_a_core_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def where() -> tuple[dict[str, float], str | None]:
        return {}, threading.current_thread().name

    found = []
    for cores in (2, 1):
        monkeypatch.setattr(_update_beside.os, "cpu_count", lambda cores=cores: cores)
        beside = UpdateBeside()
        beside.begin(where)
        found.append(beside.finished(never)[1])
    assert found[0] is not None
    assert found[0].startswith("tensor-optix-update")
    assert found[1] == threading.current_thread().name


@pytest.mark.parametrize("submit", [at_once, Late])
def test_an_error_is_told_and_what_raised_is_made_again(submit: type[Future[object]]) -> None:
    beside = UpdateBeside(submit)  # type: ignore[arg-type]
    beside.begin(never)
    beside.join()  # whoever waits for another reason is not told
    for _ in range(2):
        with pytest.raises(AssertionError):
            beside.finished(never)
    assert beside.finished(lambda: ({}, "loss")) == ({}, "loss")


def test_what_is_saved_is_restored() -> None:
    first, again = UpdateBeside(at_once), UpdateBeside(at_once)
    first.exploring = stack()
    first.begin(lambda: ({"loss": 1.0}, "loss"))
    first.join()
    again.restore(*first.state(), stack(1))
    assert first.finished(never) == again.finished(never)
    x = np.ones((4, 2), np.float32)
    assert again.exploring is not None
    assert np.array_equal(again.exploring(x), first.exploring(x))
    again.restore(*UpdateBeside(at_once).state(), stack(1))
    assert again.exploring is None


def test_what_does_not_fit_is_refused() -> None:
    beside = UpdateBeside(at_once)
    beside.exploring = stack()
    arrays, values = beside.state()
    specs = {name: TensorSpec(array.dtype, array.shape) for name, array in arrays.items()}
    check_saved_beside(specs, values, stack(1))
    with pytest.raises(CheckpointMismatchError):
        check_saved_beside({**specs, "0": TensorSpec(np.dtype(np.float64), (9, 9))}, values, stack(1))
    with pytest.raises(CheckpointMismatchError):
        check_saved_beside(specs, values, None)
    for damaged in ({}, {**values, "said": {"loss": "much"}}, {**values, "more": 1}):  # type: ignore[dict-item]
        with pytest.raises(CheckpointCorruptError):
            check_saved_beside(specs, damaged, stack(1))


def test_a_thread_makes_one_update_after_the_other() -> None:
    with ThreadPoolExecutor(1) as threads:
        beside = UpdateBeside(threads.submit)
        for number in range(3):
            beside.begin(lambda number=number: ({"n": float(number)}, None))
            assert beside.finished(never)[0] == {"n": float(number)}
