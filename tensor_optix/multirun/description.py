"""`multirun.json`: what a folder of several runs is, so that it can be resumed as a whole."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

import tensor_optix
from tensor_optix.core.storage.atomic import encode_json, make_directory, replace_file, storage_errors
from tensor_optix.core.storage.line_log import DESCRIPTION, MULTIRUN
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.multirun.space import Choices, Range
from tensor_optix.support.schemas import checked, decode_object

RESULT = "result.json"
FORMAT = 1
MOST_SEEDS = 4096
_MAX_BYTES = 1 << 22
_Seed: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class Seeds(msgspec.Struct, tag_field="kind", tag="seeds", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Runs that differ in their seed alone."""

    seeds: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]], msgspec.Meta(min_length=1, max_length=4096)
    ]
    """Root of the random numbers of each run."""
    workers: _Count = 1
    """Of them train at once."""


class Members(
    msgspec.Struct, tag_field="kind", tag="population", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """Members of a population, which learn side by side in generations."""

    members: Annotated[int, msgspec.Meta(ge=2, le=4096)]
    generation_windows: Annotated[int, msgspec.Meta(ge=1, le=2**24)]
    """Windows that each member learns from in a generation."""
    asynchronous: bool = False
    """Whether none waits for the others."""
    workers: _Count = 1
    """Of them learn at once."""


class Trials(msgspec.Struct, tag_field="kind", tag="search", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Trials of a search, each trained with several seeds; the best of them play against the preset."""

    trials: Annotated[int, msgspec.Meta(ge=1, le=2**20)]
    seeds: _Count
    """Of each trial."""
    final_seeds: _Count
    """Fresh ones, of each finalist."""
    batch: _Count
    """Trials that are drawn before any of them has ended."""
    space: dict[str, Range | Choices]
    preset: dict[str, int | float | str]
    """Values of the run itself."""
    earlier: list[dict[str, int | float | str]]
    """Values that earlier runs have found."""
    workers: _Count = 1
    """Runs that train at once."""


class Variants(
    msgspec.Struct, tag_field="kind", tag="evolution", frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """Variants of the best policy, which learn side by side in generations."""

    variants: _Count
    """In all."""
    generation: _Count
    """Of them are spawned at once, from the same policy."""
    workers: _Count = 1
    """Of them learn at once."""


Description: TypeAlias = Seeds | Members | Trials | Variants


def is_multirun(folder: Path) -> bool:
    """Return whether a folder holds several runs as one job."""
    return (folder / MULTIRUN).is_file()


def holds_more(folder: Path, begun: Collection[str] = ()) -> bool:
    """Return whether a folder holds more than the beginning of several runs whose making was broken off.

    Args:
        folder: that may be missing.
        begun: names of what else such a beginning has.
    """
    files = (DESCRIPTION, MULTIRUN)
    known = {".lock", DESCRIPTION, *(f".tmp-{name}" for name in files), *begun}
    return folder.exists() and any(path.name not in known for path in folder.iterdir())


def write_description(folder: Path, description: Description) -> None:
    """Write what a folder is, and make it where it is missing."""
    with storage_errors("write", folder):
        make_directory(folder)
        about = {"format": FORMAT, "version": tensor_optix.__version__}
        replace_file(folder / MULTIRUN, encode_json({**about, **msgspec.to_builtins(description)}))


def read_description(folder: Path) -> Description:
    """Return what a folder is.

    Raises:
        CheckpointCorruptError: the file is missing, damaged, or of another version.
    """
    path = folder / MULTIRUN
    found = decode_object(read_plain(path, _MAX_BYTES), str(path))
    if found.pop("format", None) != FORMAT:
        raise CheckpointCorruptError(f"{str(path)!r} is of another format than {FORMAT}, which this version reads.")
    found.pop("version", None)
    return checked(Description, found, f"{str(path)!r} is not as this library wrote it")


def write_result(folder: Path, result: Mapping[str, object]) -> None:
    """Write what the job came to."""
    with storage_errors("write", folder):
        replace_file(folder / RESULT, encode_json(result))


def read_result(folder: Path) -> dict[str, object] | None:
    """Return what the job came to; None where it has not ended.

    Raises:
        CheckpointCorruptError: the file is damaged.
    """
    path = folder / RESULT
    return decode_object(read_plain(path, _MAX_BYTES), str(path)) if path.exists() else None
