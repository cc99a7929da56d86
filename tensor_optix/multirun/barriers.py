"""Where a population stands between generations, on disk: a crash costs those in progress, no more.

population.json        where it stands; replaced as a whole when all else is on disk
members/<g>-<i>        member i after generation g
"""

import contextlib
import dataclasses
import hashlib
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from tensor_optix.core.storage.atomic import (
    encode_json,
    fsync_directory,
    make_directory,
    read_json,
    replace_file,
    storage_errors,
    write_file,
)
from tensor_optix.core.storage.reading import read_plain
from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.executors import Payload
from tensor_optix.executors.payload import Frame, read_frame
from tensor_optix.multirun.generations import Standing
from tensor_optix.optimizers._pbt_rules import PBTStep
from tensor_optix.support.plain import jsonable
from tensor_optix.support.schemas import rebuilt

STANDING, MEMBERS = "population.json", "members"
FORMAT = 2
_MAX_BYTES = 1 << 26
_MAX_STATE_BYTES = 1 << 36


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """Where a population stands when members have been scored. Lists have an entry per member."""

    format: int = FORMAT
    generations: list[int]
    """The next one of each; the same of all, unless they are asynchronous."""
    steps: int
    """Training steps of all members together."""
    position: int
    """Length of the record in bytes."""
    rng: dict[str, Any]
    params: list[dict[str, Any]]
    """To be put in force."""
    donors: list[int | None]
    """Whose weights are taken; None = its own."""
    states: list[str | None]
    """File to go on from; None = from the beginning."""
    streams: list[dict[str, Any] | None]
    standings: list[Standing | None]
    """Of the weights that each goes on with; None before the first generation."""
    best_scores: list[float | None]
    bests: list[str | None]
    """File of the best that it was."""
    improved_in: int = 0
    """Generation that has brought the best score of all."""
    digests: dict[str, str]
    """SHA-256 of each file."""

    @classmethod
    def first(cls, params: list[dict[str, object]], rng: np.random.Generator) -> Self:
        """Return what stands before the first generation."""
        n = len(params)
        return cls(
            generations=[0] * n,
            steps=0,
            position=0,
            rng=jsonable(rng.bit_generator.state),
            params=params,
            donors=[None] * n,
            states=[None] * n,
            streams=[None] * n,
            standings=[None] * n,
            best_scores=[None] * n,
            bests=[None] * n,
            digests={},
        )

    @property
    def generation(self) -> int:
        """The next one of those that are furthest behind."""
        return min(self.generations)

    def generator(self) -> np.random.Generator:
        """Return the generator of the population, where it stood."""
        rng = np.random.default_rng()
        rng.bit_generator.state = self.rng
        return rng


class Barriers:
    """Saves where a population stands, and reads it.

    Args:
        folder: of the population.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._members = folder, folder / MEMBERS

    def newest(self) -> Kept | None:
        """Return where the population stood last; None where it has not begun.

        Raises:
            CheckpointCorruptError: the file is damaged.
        """
        path = self._folder / STANDING
        if not path.exists():
            return None
        kept = rebuilt(Kept, read_json(path, _MAX_BYTES))
        if kept.format != FORMAT:
            raise CheckpointCorruptError(f"{str(path)!r} has format {kept.format}, not {FORMAT}.")
        return kept

    def state(self, kept: Kept, member: int) -> Payload | None:
        """Return what a member goes on from; None = from the beginning."""
        name = kept.states[member]
        return None if name is None else self._read(kept, name)

    def best(self, kept: Kept, member: int) -> Payload:
        """Return the best that a member was."""
        name = kept.bests[member]
        assert name is not None  # noqa: S101 - it has a score
        return self._read(kept, name)

    def _read(self, kept: Kept, name: str) -> Payload:
        path = self._members / name
        content = read_plain(path, _MAX_STATE_BYTES)
        if hashlib.sha256(content).hexdigest() != kept.digests.get(name):
            raise CheckpointCorruptError(f"{str(path)!r} is damaged: it is not what the population has saved.")
        frame = read_frame(io.BytesIO(content))
        assert frame is not None  # noqa: S101 - it was written whole
        return frame.payload

    def keep(
        self,
        before: Kept,
        results: Mapping[int, Payload],
        steps: Mapping[int, PBTStep],
        rng: np.random.Generator,
        position: int,
    ) -> Kept:
        """Save where the population stands after a generation of some members, and return it.

        Args:
            before: where it stood.
            results: of those members' jobs.
            steps: what each of them does next.
            rng: of the population.
            position: length of the record in bytes.
        """
        own, digests = self._write(before, results)
        found = _directed(_scored(before, results, own), steps)
        kept = dataclasses.replace(
            found,
            position=position,
            rng=jsonable(rng.bit_generator.state),
            digests={name: digests[name] for name in {*found.states, *found.bests} if name is not None},
        )
        with storage_errors("write", self._folder):
            fsync_directory(self._members)
            replace_file(self._folder / STANDING, encode_json(dataclasses.asdict(kept)))
        self._drop_but(kept.digests)
        return kept

    def _write(self, before: Kept, results: Mapping[int, Payload]) -> tuple[dict[int, str | None], dict[str, str]]:
        """Write the members' states, and return the name of each file, and what all files hold."""
        own, digests = dict[int, str | None](), dict(before.digests)
        with storage_errors("write", self._folder):
            make_directory(self._members)
            for member, result in results.items():
                if result.values["score"] is None:
                    own[member] = None
                    continue
                name = f"{before.generations[member]}-{member}"
                content = Frame("result", Payload({"state": result.values["state"]}, result.tensors)).to_bytes()
                (self._members / name).unlink(missing_ok=True)
                write_file(self._members / name, content)
                own[member], digests[name] = name, hashlib.sha256(content).hexdigest()
        return own, digests

    def _drop_but(self, needed: Mapping[str, str]) -> None:
        for path in self._members.iterdir():
            if path.name not in needed:
                with contextlib.suppress(OSError):
                    path.unlink()


def _scored(before: Kept, results: Mapping[int, Payload], own: Mapping[int, str | None]) -> Kept:
    """Return where a population stands with what some members have come to, whose states are in files of their own."""
    found = _copied(before)
    highest = max((best for best in before.best_scores if best is not None), default=-math.inf)
    improved_in = before.improved_in
    for member, result in results.items():
        score: float | None = result.values["score"]
        found.generations[member] += 1
        found.standings[member] = Standing.of(result.values)
        found.states[member], found.streams[member] = own[member], result.values.get("stream")
        if score is not None and score > highest:
            improved_in = max(improved_in, found.generations[member])
        if score is not None and ((best := before.best_scores[member]) is None or score > best):
            found.best_scores[member], found.bests[member] = score, own[member]
    steps = before.steps + sum(one.values["steps"] for one in results.values())
    return dataclasses.replace(found, steps=steps, improved_in=improved_in)


def _directed(scored: Kept, steps: Mapping[int, PBTStep]) -> Kept:
    """Return where it stands with what some members do next; who copies stands where the other one does."""
    found = _copied(scored)
    for member, step in steps.items():
        found.params[member], found.donors[member] = dict(step.params), step.donor
        if step.donor is not None:
            found.states[member], found.standings[member] = scored.states[step.donor], scored.standings[step.donor]
    return found


def _copied(kept: Kept) -> Kept:
    """Return the same in lists of its own."""
    lists = {name: list(value) for name, value in vars(kept).items() if isinstance(value, list)}
    return dataclasses.replace(kept, **lists)
