"""What is installed."""

from importlib.metadata import PackageNotFoundError, version

OURS = ("tensor-optix-core", "tensor-optix")
"""The names under which this library is installed; the second brings the first along."""


def version_of(package: str) -> str | None:
    """Return the version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
