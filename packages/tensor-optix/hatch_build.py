"""Metadata of `tensor-optix`, read from the core's: the same version, TensorFlow besides, and every extra forwarded."""

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

CORE = "tensor-optix-core"
NOT_FORWARDED = ("dev", "bench", "docs")
"""Extras of those who work on the code."""


class CustomMetadataHook(MetadataHookInterface):
    """Hatch calls it for the fields that are dynamic, but for a build from an sdist, which has them."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what depends on the core."""
        metadata |= forwarded(Path(self.root).resolve().parent.parent)


def forwarded(root: Path) -> dict[str, Any]:
    """Return the metadata that follow from the core's.

    Args:
        root: of the repository.
    """
    with (root / "pyproject.toml").open("rb") as file:
        core = tomllib.load(file)["project"]
    source = (root / "tensor_optix" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    if found is None:
        raise ValueError("tensor_optix/__init__.py has no __version__.")
    version, extras = found[1], core["optional-dependencies"]
    return {
        "version": version,
        "dependencies": [f"{CORE}=={version}", *extras["tf"]],
        "optional-dependencies": {name: [f"{CORE}[{name}]=={version}"] for name in extras if name not in NOT_FORWARDED},
        "classifiers": core["classifiers"],
    }
