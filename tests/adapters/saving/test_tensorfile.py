"""Named arrays on disk: exact, finite, and harmless to read."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tensor_optix.adapters.saving.tensorfile import load_tensors, refuse_non_finite, save_tensors
from tensor_optix.errors import CheckpointCorruptError, CheckpointPathError, NonFiniteError


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "weights")


def test_arrays_and_settings_come_back_exactly(path: str) -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "a.weight": rng.standard_normal((3, 4)).astype(np.float32),
        "b": rng.standard_normal(5),
        "steps": np.array([1, 2, 3], np.int64),
        "mask": np.array([True, False]),
        "empty": np.zeros((0, 2), np.float32),
    }
    meta = {"framework": "torch", "nested": {"betas": [0.9, 0.999], "none": None}, "big": 2**100, "ä": "ü"}
    save_tensors(path, tensors, meta)
    loaded, loaded_meta = load_tensors(path)
    assert loaded_meta == meta
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_a_single_number_stays_without_axes(path: str) -> None:
    tensors = {"step": np.array(3.0, np.float32), "batches": np.array(7, np.int64), "scalar": np.float64(0.5)}
    save_tensors(path, tensors, {})
    loaded, _ = load_tensors(path)
    assert {name: (array.shape, array.dtype, array.item()) for name, array in loaded.items()} == {
        "step": ((), np.float32, 3.0),
        "batches": ((), np.int64, 7),
        "scalar": ((), np.float64, 0.5),
    }


def test_views_are_saved_as_what_they_show(path: str) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    save_tensors(path, {"transposed": base.T, "strided": base[::2, ::-1]}, {})
    loaded, _ = load_tensors(path)
    np.testing.assert_array_equal(loaded["transposed"], base.T)
    np.testing.assert_array_equal(loaded["strided"], base[::2, ::-1])


def test_extreme_finite_numbers_survive(path: str) -> None:
    extremes = np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny, -0.0, 1e-45], np.float32)
    save_tensors(path, {"x": extremes}, {})
    assert load_tensors(path)[0]["x"].tobytes() == extremes.tobytes()


def test_the_file_is_plain_safetensors(path: str) -> None:
    save_tensors(path, {"x": np.ones(2, np.float32)}, {"framework": "torch"})
    assert list(safetensors.numpy.load_file(path + ".safetensors")) == ["x"]


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_an_array_that_is_not_finite_is_refused_by_name_and_nothing_is_written(
    path: str, poison: float, dtype: Any
) -> None:
    with pytest.raises(NonFiniteError, match=r"'bad' holds 2 values"):
        save_tensors(path, {"good": np.ones(3, dtype), "bad": np.array([poison, 1, poison], dtype)}, {})
    assert list(Path(path).parent.iterdir()) == []


def test_a_refused_save_leaves_the_earlier_file_as_it_was(path: str) -> None:
    save_tensors(path, {"x": np.ones(2, np.float32)}, {})
    before = Path(path + ".safetensors").read_bytes()
    with pytest.raises(NonFiniteError):
        save_tensors(path, {"x": np.array([np.nan], np.float32)}, {})
    assert Path(path + ".safetensors").read_bytes() == before


def test_settings_that_are_not_finite_are_not_written(path: str) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_tensors(path, {"x": np.ones(2, np.float32)}, {"lr": float("nan")})
    assert list(Path(path).parent.iterdir()) == []


def test_integers_are_never_mistaken_for_what_is_not_finite() -> None:
    refuse_non_finite({"i": np.array([2**62]), "b": np.array([True]), "f": np.zeros(0, np.float32)})


def test_an_absent_file_is_reported_by_name(path: str) -> None:
    with pytest.raises(CheckpointPathError, match=r"weights\.safetensors"):
        load_tensors(path)


def test_a_folder_in_its_place_is_reported(path: str) -> None:
    Path(path + ".safetensors").mkdir()
    with pytest.raises(CheckpointCorruptError):
        load_tensors(path)


@pytest.mark.parametrize("keep", [0, 4, 8, 30, -1])
def test_a_file_cut_short_is_reported(path: str, keep: int) -> None:
    save_tensors(path, {"x": np.ones(50, np.float32)}, {})
    file = Path(path + ".safetensors")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointCorruptError):
        load_tensors(path)


def test_a_file_with_bytes_appended_is_reported(path: str) -> None:
    save_tensors(path, {"x": np.ones(50, np.float32)}, {})
    with Path(path + ".safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(CheckpointCorruptError):
        load_tensors(path)


@pytest.mark.parametrize("metadata", [None, {"other": "x"}, {"tensor_optix": "{not json"}])
def test_a_safetensors_file_of_someone_else_is_reported(path: str, metadata: dict[str, str] | None) -> None:
    safetensors.numpy.save_file({"x": np.ones(2, np.float32)}, path + ".safetensors", metadata=metadata)
    with pytest.raises(CheckpointCorruptError, match="not a weights file of this library"):
        load_tensors(path)


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path(self.target),))


def test_a_pickle_is_refused_and_none_of_its_code_runs(path: str, tmp_path: Path) -> None:
    target = tmp_path / "exploded"
    payload = pickle.dumps(Bomb(str(target)))
    pickle.loads(payload)  # noqa: S301 - the bomb is ours, and must be a live one
    assert target.exists()
    target.unlink()
    Path(path + ".safetensors").write_bytes(payload)
    with pytest.raises(CheckpointCorruptError):
        load_tensors(path)
    assert not target.exists()


def test_settings_are_json_text_and_nothing_else(path: str) -> None:
    save_tensors(path, {"x": np.ones(2, np.float32)}, {"a": [1, {"b": None}]})
    with safetensors.safe_open(path + ".safetensors", framework="numpy") as opened:
        (text,) = opened.metadata().values()
    assert json.loads(text) == {"a": [1, {"b": None}]}
