"""Installs what pyproject.toml asks for, and of it only files whose hashes stand in requirements.lock.

`python packages/locked_install.py tf live` installs, for the Python that runs it, the dependencies of the core and of
two extras, and then the project itself so that its source is what is imported. pip says which files it would take:
versions by constraints.txt, and files by machine and Python. Each has to be one that requirements.lock names; then pip
installs exactly those, and compares what it has got with the hash.

`make lock` writes requirements.lock anew, from the hashes of all files that PyPI has of each version.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
BUILDS_ELSEWHERE = ("torch",)
"""What its makers also build for processors alone, which is not on PyPI: such a build is taken as it is, and named."""
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def main(extras: list[str]) -> int:
    """Install, and return the exit code: 1 where a file is not in the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = list(requirements(project, extras))
    locked = hashes_in((ROOT / LOCK).read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        report, chosen = Path(folder, "report.json"), Path(folder, "chosen.txt")
        run("--dry-run", "--report", str(report), "-c", "constraints.txt", *wanted)
        lines, refused = verified(json.loads(report.read_text("utf-8"))["install"], locked)
        if refused:
            print("\n".join(refused), file=sys.stderr)
            return 1
        if lines:
            chosen.write_text("\n".join(lines))
            run("--require-hashes", "--no-deps", "-r", str(chosen))
    run("--no-deps", "--no-build-isolation", "-e", ".")
    return 0


def run(*arguments: str) -> None:
    """Call `pip install` in the project's folder; what it says of a failure is all there is to say."""
    if status := subprocess.run([*PIP, *arguments], cwd=ROOT).returncode:  # noqa: S603 - our own arguments
        raise SystemExit(status)


def requirements(project: Mapping[str, Any], extras: list[str]) -> Iterator[str]:
    """Yield what the core, the extras and building need; an extra that names others of the project is followed.

    Args:
        project: pyproject.toml.
        extras: their names.
    """
    own = re.compile(rf"{re.escape(project['project']['name'])}\[(.*)\]")
    yield from project["build-system"]["requires"]
    yield "editables"  # hatchling's, for a source that is imported in place
    yield from project["project"]["dependencies"]
    waiting = list(extras)
    for extra in waiting:
        for one in project["project"]["optional-dependencies"][extra]:
            found = own.fullmatch(one)
            if found is None:
                yield one
            else:
                waiting += [name for name in re.split(r"\s*,\s*", found[1]) if name not in waiting]


def hashes_in(lock: str) -> dict[tuple[str, str], set[str]]:
    """Return the SHA-256 of all files of each (name, version) in a lock."""
    found: dict[tuple[str, str], set[str]] = {}
    for entry in re.split(r"\n(?=\S)", lock):
        if pinned := re.match(r"([\w.-]+)==([^\s;\\]+)", entry):
            hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
            found.setdefault((normal(pinned[1]), pinned[2]), set()).update(hashes)
    return found


def normal(name: str) -> str:
    """Return a distribution's name as all its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def verified(files: list[Mapping[str, Any]], locked: Mapping[tuple[str, str], set[str]]) -> tuple[list[str], list[str]]:
    """Return a requirement with its hash for each file that pip would install, and what is wrong with the others.

    Args:
        files: `install` of pip's report.
        locked: what `hashes_in` has found.
    """
    lines, refused = [], []
    for file in files:
        name, version = file["metadata"]["name"], file["metadata"]["version"]
        archive = file["download_info"].get("archive_info", {})
        found = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
        public, _, build = version.partition("+")
        known = locked.get((normal(name), version if not build else public))
        if build and normal(name) in BUILDS_ELSEWHERE and known is not None and found:
            print(f"{name} {version} is a build that is not on PyPI; it is taken as it is.", file=sys.stderr)
        elif known is None or found not in known:
            what = "is not in it" if known is None else "has another hash than each of its files there"
            refused.append(f"{LOCK}: {name} {version} {what}. `make lock` writes it anew from constraints.txt.")
            continue
        lines.append(f"{name}=={version} --hash=sha256:{found}")
    return lines, refused


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
