"""Where a population stands between two generations, on disk: a crash costs the generation in progress, no more.

population.json        where it stands; replaced as a whole when all else is on disk
members/<g>-<i>        member i after generation g
"""

import contextlib
import dataclasses
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
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
from tensor_optix.optimizers._pbt_rules import PBTStep
from tensor_optix.support.plain import jsonable
from tensor_optix.support.schemas import rebuilt

STANDING, MEMBERS = "population.json", "members"
FORMAT = 1
_MAX_BYTES = 1 << 26
_MAX_STATE_BYTES = 1 << 36


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """Where a population stands at a barrier. Lists have an entry per member."""

    format: int = FORMAT
    generation: int
    """The next one."""
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
            generation=0,
            steps=0,
            position=0,
            rng=jsonable(rng.bit_generator.state),
            params=params,
            donors=[None] * n,
            states=[None] * n,
            streams=[None] * n,
            best_scores=[None] * n,
            bests=[None] * n,
            digests={},
        )

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
        results: Sequence[Payload],
        steps: Sequence[PBTStep],
        rng: np.random.Generator,
        position: int,
    ) -> Kept:
        """Save the barrier after a generation, and return where the population stands now.

        Args:
            before: where it stood.
            results: of the members' jobs.
            steps: what each does next.
            rng: of the population.
            position: length of the record in bytes.
        """
        own, digests = self._write(before, results)
        scores = [one.values["score"] for one in results]
        better = [_is_better(score, best) for score, best in zip(scores, before.best_scores, strict=True)]
        highest = max((best for best in before.best_scores if best is not None), default=-math.inf)
        has_improved = any(score is not None and score > highest for score in scores)
        donors = [step.donor for step in steps]
        bests = [name if is_better else old for name, is_better, old in zip(own, better, before.bests, strict=True)]
        states = [own[i if donor is None else donor] for i, donor in enumerate(donors)]
        kept = Kept(
            generation=before.generation + 1,
            steps=before.steps + sum(one.values["steps"] for one in results),
            position=position,
            rng=jsonable(rng.bit_generator.state),
            params=[dict(step.params) for step in steps],
            donors=donors,
            states=states,
            streams=[one.values.get("stream") for one in results],
            best_scores=[
                score if is_better else old
                for score, is_better, old in zip(scores, better, before.best_scores, strict=True)
            ],
            bests=bests,
            improved_in=before.generation + 1 if has_improved else before.improved_in,
            digests={name: digests[name] for name in {*states, *bests} if name is not None},
        )
        with storage_errors("write", self._folder):
            fsync_directory(self._members)
            replace_file(self._folder / STANDING, encode_json(dataclasses.asdict(kept)))
        self._drop_but(kept.digests)
        return kept

    def _write(self, before: Kept, results: Sequence[Payload]) -> tuple[list[str | None], dict[str, str]]:
        """Write the members' states, and return the name of each file, and what all files hold."""
        own, digests = list[str | None](), dict(before.digests)
        with storage_errors("write", self._folder):
            make_directory(self._members)
            for member, result in enumerate(results):
                if result.values["score"] is None:
                    own.append(None)
                    continue
                name = f"{before.generation}-{member}"
                content = Frame("result", Payload({"state": result.values["state"]}, result.tensors)).to_bytes()
                (self._members / name).unlink(missing_ok=True)
                write_file(self._members / name, content)
                own.append(name)
                digests[name] = hashlib.sha256(content).hexdigest()
        return own, digests

    def _drop_but(self, needed: Mapping[str, str]) -> None:
        for path in self._members.iterdir():
            if path.name not in needed:
                with contextlib.suppress(OSError):
                    path.unlink()


def _is_better(score: float | None, best: float | None) -> bool:
    return score is not None and (best is None or score > best)
