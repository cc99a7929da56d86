"""Trackers by their names."""

import importlib

import pytest

from tensor_optix.callbacks import TensorBoard
from tensor_optix.callbacks.trackers.choosing import trackers_of
from tensor_optix.errors import InvalidArgumentError, MissingDependencyError
from tensor_optix.support import optional


def test_a_list_with_commas_names_each_once() -> None:
    assert [type(one) for one in trackers_of(" tensorboard,, tensorboard")] == [TensorBoard]
    assert trackers_of("") == []


def test_an_unknown_one_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidArgumentError, match=r"got 'tensorbord'\. Did you mean 'tensorboard'"):
        trackers_of("tensorbord")
    with pytest.raises(InvalidArgumentError, match="names must be one of 'sb3', 'cleanrl', but got 'rllib'"):
        trackers_of("tensorboard", "rllib")


@pytest.mark.parametrize(
    ("name", "package"),
    [("tensorboard", "tensorboardX"), ("mlflow", "mlflow"), ("wandb", "wandb")],
)
def test_a_missing_package_names_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    importlib.import_module("tensor_optix.callbacks.trackers.mlflow")
    importlib.import_module("tensor_optix.callbacks.trackers.wandb")
    monkeypatch.setattr(optional.importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'tensor-optix-core\[{name}\]'"):
        trackers_of(name)


def test_trackio_is_installed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = importlib.import_module("tensor_optix.callbacks.trackers.wandb")
    monkeypatch.setattr(wandb, "is_installed", lambda name: False)
    with pytest.raises(MissingDependencyError, match="pip install trackio"):
        trackers_of("trackio")
