import sys
import types

import pytest

from tensor_optix.errors import MissingDependencyError
from tensor_optix.support.lazy import exported, is_installed


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("lazy_package")
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    module.__getattr__, module.__dir__ = exported(  # type: ignore[method-assign]
        "lazy_package", {"is_real": "support.arguments", "TorchPPOAgent": "algorithms.torch_ppo"}
    )
    return module


def test_a_name_is_loaded_once_and_then_an_attribute_like_any_other(package: types.ModuleType) -> None:
    assert "is_real" not in vars(package)
    assert package.is_real(1.0)
    assert "is_real" in vars(package)
    assert {"is_real", "TorchPPOAgent", "__name__"} <= set(dir(package))


def test_an_unknown_name_gets_a_hint(package: types.ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"module 'lazy_package' has no attribute 'is_reel'.*'is_real'"):
        _ = package.is_reel


def test_what_needs_a_framework_says_how_to_install_it(
    package: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("tensor_optix.algorithms.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "tensor_optix.adapters.pytorch._torch", raising=False)
    with pytest.raises(MissingDependencyError, match="pip install"):
        _ = package.TorchPPOAgent


def test_what_is_installed_is_known_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed("colorsys")
    assert "colorsys" not in sys.modules or sys.modules["colorsys"] is not None
    assert not is_installed("no_such_module_at_all")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not is_installed("torch")
