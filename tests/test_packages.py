"""Two distributions of one source: the same version, every extra on both, and no framework in the core."""

import importlib.util
import re
import subprocess
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


def script(name: str) -> ModuleType:
    """Return a program of the folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "packages" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins() -> set[tuple[str, str]]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    return {(script("locked_install").normal(name), version) for name, _, version in (x.partition("==") for x in lines)}


def test_the_lock_has_hashes_for_each_pinned_version() -> None:
    locked = script("locked_install").hashes_in((ROOT / "requirements.lock").read_text("utf-8"))
    assert pins() - locked.keys() == set()
    assert all(locked.values())


def test_all_that_make_installs_is_followed_to_its_requirements() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = list(script("locked_install").requirements(project, ["dev"]))
    assert {*CORE["dependencies"], *EXTRAS["torch"], *EXTRAS["docs"], "hatchling>=1.24"} <= set(wanted)
    assert not [one for one in wanted if "tensor-optix" in one]
    assert "torch>=2.0.0" not in list(script("locked_install").requirements(project, ["tf"]))


def file_of(name: str, version: str, sha256: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {"url": "https://x", "archive_info": {"hashes": {"sha256": sha256}}},
    }


def test_a_file_that_the_lock_does_not_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    good, other = "a" * 64, "b" * 64
    install = script("locked_install")
    hashed = f"\\\n    --hash=sha256:{good}\n"
    locked = install.hashes_in(f"Some.Package==1.0 ; python_version > '3' {hashed}torch==2.0 {hashed}")
    assert locked == {("some-package", "1.0"): {good}, ("torch", "2.0"): {good}}
    assert install.verified([file_of("some_package", "1.0", good)], locked) == (
        [f"some_package==1.0 --hash=sha256:{good}"],
        [],
    )
    for name, version, found in (
        ("some-package", "1.0", other),
        ("some-package", "1.0+cpu", other),
        ("new", "1", good),
    ):
        lines, refused = install.verified([file_of(name, version, found)], locked)
        assert lines == []
        assert f"{name} {version}" in refused[0]
        assert "make lock" in refused[0]
    assert install.verified([file_of("torch", "2.0+cpu", other)], locked)[1] == []
    assert "torch 2.0+cpu is a build that is not on PyPI" in capsys.readouterr().err
    assert install.verified([file_of("torch", "2.0", other)], locked)[1] != []


def test_floors_are_those_that_were_audited() -> None:
    assert {"safetensors>=0.8", "filelock>=3.20.3"} <= set(CORE["dependencies"])


def test_the_source_distribution_has_all_that_git_has() -> None:
    """So that `make test` passes in it, where there is no git: there it has all of itself."""
    from hatchling.builders.sdist import SdistBuilder

    found = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603
        assert set(listed.split("\0")) - {""} - found == set()
    assert {"Makefile", "constraints.txt", "requirements.lock", "benchmarks/__main__.py", "docs/conf.py"} <= found
    assert {name.partition("/")[0] for name in found} >= {"tests", "examples", "packages", "tensor_optix", ".gitignore"}
    assert not [name for name in found if name.startswith((".venv", "build/", "runs/")) or "__pycache__" in name]
