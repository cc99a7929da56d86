"""Files of a folder as what a job is sent, and back."""

import hashlib
from collections.abc import Mapping
from pathlib import Path


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder and all within it, by their path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write what `files_in` returned into another folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def digest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of files with their names."""
    found = hashlib.sha256()
    for name, content in sorted(files.items()):
        found.update(f"{name} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()
