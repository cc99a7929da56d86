"""Damage to any byte of any file is found before anything is loaded."""

import random
from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.durable_folder import DurableFolders
from tensor_optix.core.storage.resume_ring import ResumeRing
from tensor_optix.errors import CheckpointCorruptError, TensorOptixError
from tests.conftest import Goal
from tests.fakes.disk import BigAgent, save_big, write_agent


class Rot:
    """A directory with two snapshots and a resume point, whose files it damages and mends."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.registry = CheckpointRegistry(directory)
        self.snapshots = [save_big(self.registry, 1.0), save_big(self.registry, 2.0)]
        self.ring = ResumeRing(directory)
        self.ring.save(write_agent(3.0), {"window": 7, "name": "é"})
        self.folders = [self.registry.path_of(snapshot) for snapshot in self.snapshots]
        self.folders.append(next(directory.glob("resume_*")))
        self.random = random.Random(seed)
        self.silent: list[str] = []

    def read(self, folder: Path) -> None:
        """Read what is in the folder and use it, as a run would."""
        if folder in self.folders[:2]:
            agent = BigAgent()
            try:
                self.registry.load(self.snapshots[self.folders.index(folder)], agent)
            except TensorOptixError:
                assert agent.loaded == []
                raise
        else:
            DurableFolders(self.ring.directory, "resume_").verify(0)

    def intact(self) -> None:
        for folder in self.folders:
            self.read(folder)

    def try_with(self, files: dict[Path, bytes]) -> None:
        """Read with these contents in place, and note it if nothing is found wrong."""
        before = {path: path.read_bytes() for path in files}
        assert any(before[path] != data for path, data in files.items())
        for path, data in files.items():
            path.write_bytes(data)
        for folder in {next(f for f in self.folders if f in path.parents) for path in files}:
            try:
                self.read(folder)
            except CheckpointCorruptError:
                continue
            self.silent.append(", ".join(str(path) for path in files))
        for path, data in before.items():
            path.write_bytes(data)

    def some_file(self) -> Path:
        folder = self.random.choice(self.folders)
        return self.random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))

    def flip(self) -> None:
        path = self.some_file()
        data = bytearray(path.read_bytes())
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        self.try_with({path: bytes(data)})

    def truncate(self) -> None:
        path = self.some_file()
        data = path.read_bytes()
        self.try_with({path: data[: self.random.choice([0, len(data) - 1, self.random.randrange(len(data))])]})

    def swap(self) -> None:
        """Swap the same file of two snapshots, or all files of both."""
        first, second = self.folders[:2]
        names = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
        names = self.random.choice([names, *([name] for name in names)])
        swapped = {first / name: (second / name).read_bytes() for name in names}
        self.try_with(swapped | {second / name: (first / name).read_bytes() for name in names})


def rot(directory: Path, flips: int, truncations: int, swaps: int, goal: Goal) -> None:
    rot = Rot(directory, seed=0)
    rot.intact()  # the control: what is not damaged is not refused
    for kind, count in ((rot.flip, flips), (rot.truncate, truncations), (rot.swap, swaps)):
        for _ in range(count):
            kind()
    rot.intact()
    promised = f"0 undetected of {flips:,} flipped bits, {truncations:,} cut files, {swaps:,} swaps"
    goal("G9", promised, f"{len(rot.silent)} undetected {rot.silent[:1]}", not rot.silent)


def test_every_flipped_bit_cut_file_and_swap_is_found_before_anything_is_loaded(tmp_path: Path, goal: Goal) -> None:
    rot(tmp_path, 300, 100, 50, goal)


@pytest.mark.slow
def test_every_flipped_bit_cut_file_and_swap_is_found_in_ten_thousand(tmp_path: Path, goal: Goal) -> None:
    rot(tmp_path, 10_000, 1_000, 1_000, goal)
