"""Two distributions of one source: the same version, every extra on both, and no framework in the core."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tensor_optix

ROOT = Path(__file__).parent.parent
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = CORE["optional-dependencies"]
PUBLIC = [name for name in EXTRAS if name not in ("dev", "bench", "docs")]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hook, without the package that builds."""
    interface: Any = ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object
    monkeypatch.setitem(sys.modules, "hatchling.metadata.plugin.interface", interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "packages/tensor-optix/hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_core_needs_no_framework() -> None:
    assert CORE["name"] == "tensor-optix-core"
    assert not [one for one in CORE["dependencies"] if re.match("torch|tensorflow|keras", one)]


def test_the_other_is_the_core_of_the_same_version_and_tensorflow(hook: ModuleType) -> None:
    found = hook.forwarded(ROOT)
    assert found["version"] == tensor_optix.__version__
    assert found["dependencies"] == [f"tensor-optix-core=={tensor_optix.__version__}", *EXTRAS["tf"]]
    assert found["dependencies"][1].startswith("tensorflow")


def test_every_extra_is_forwarded(hook: ModuleType) -> None:
    version = tensor_optix.__version__
    assert hook.forwarded(ROOT)["optional-dependencies"] == {
        name: [f"tensor-optix-core[{name}]=={version}"] for name in PUBLIC
    }


def test_all_brings_every_extra() -> None:
    (everything,) = EXTRAS["all"]
    assert set(re.findall(r"[\w-]+", everything.partition("[")[2])) == set(PUBLIC) - {"all"}


def test_the_page_names_every_extra_and_what_it_brings() -> None:
    text = (ROOT / "docs/install.md").read_text("utf-8")
    table = text.partition("<!-- extras -->")[2].partition("<!-- end of extras -->")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == PUBLIC


def test_the_hook_fills_in_what_is_dynamic(hook: ModuleType) -> None:
    made = hook.CustomMetadataHook()
    made.root = str(ROOT / "packages/tensor-optix")
    metadata: dict[str, Any] = {"name": "tensor-optix"}
    made.update(metadata)
    own = tomllib.loads((ROOT / "packages/tensor-optix/pyproject.toml").read_text("utf-8"))["project"]
    assert set(own["dynamic"]) == metadata.keys() - {"name"}
