import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.executors import Payload
from tensor_optix.multirun.barriers import MEMBERS, STANDING, Barriers, Kept
from tensor_optix.optimizers._pbt_rules import PBTStep

FIRST = Kept.first([{}, {"gamma": 0.9}], np.random.default_rng(3))


def result(score: float | None, weights: bytes = b"weights") -> Payload:
    values: dict[str, Any] = {
        "score": score,
        "steps": 10,
        "params": {"gamma": 0.7},
        "state": {"a": 1},
        "stream": {"at": 2},
    }
    return Payload(values, {"agent.safetensors": weights})


def kept(folder: Path, before: Kept = FIRST, *scores: float | None) -> Kept:
    steps = [PBTStep("explore", None, {"gamma": 0.5}), PBTStep("exploit", 0, {"gamma": 0.6})]
    results = [result(score, str(score).encode()) for score in scores or (2.0, 1.0)]
    return Barriers(folder).keep(before, dict(enumerate(results)), dict(enumerate(steps)), np.random.default_rng(4), 77)


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    assert Barriers(tmp_path).newest() is None
    found = kept(tmp_path)
    assert Barriers(tmp_path).newest() == found
    assert (found.generation, found.steps, found.position) == (1, 20, 77)
    assert found.generator().random() == np.random.default_rng(4).random()
    for member in (0, 1):  # the second has taken the first one's
        assert Barriers(tmp_path).state(found, member) == Payload({"state": {"a": 1}}, {"agent.safetensors": b"2.0"})
    assert Barriers(tmp_path).best(found, 1).tensors == {"agent.safetensors": b"1.0"}


def test_only_what_is_needed_stays(tmp_path: Path) -> None:
    second = kept(tmp_path, kept(tmp_path), 3.0, 0.5)
    assert {path.name for path in (tmp_path / MEMBERS).iterdir()} == {"1-0", "0-1"}
    assert second.best_scores == [3.0, 1.0]
    assert second.improved_in == 2
    assert kept(tmp_path, second, 2.0, 2.5).improved_in == 2


def test_one_member_may_go_on_while_the_others_stay_where_they_are(tmp_path: Path) -> None:
    first = kept(tmp_path)
    barriers, rng = Barriers(tmp_path), np.random.default_rng(5)
    alone = barriers.keep(first, {0: result(9.0, b"9")}, {0: PBTStep("explore", None, {"gamma": 0.1})}, rng, 88)
    assert (alone.generations, alone.generation, alone.steps, alone.improved_in) == ([2, 1], 1, 30, 2)
    assert (alone.params, alone.donors) == ([{"gamma": 0.1}, {"gamma": 0.6}], [None, 0])
    assert alone.states == ["1-0", "0-0"]  # what the second has copied is what it goes on from
    assert [standing and standing.score for standing in alone.standings] == [9.0, 2.0]
    assert Barriers(tmp_path).newest() == alone
    assert {path.name for path in (tmp_path / MEMBERS).iterdir()} == {"1-0", "0-0", "0-1"}


def test_what_is_damaged_is_refused(tmp_path: Path) -> None:
    found = kept(tmp_path)
    file = tmp_path / MEMBERS / "0-0"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointCorruptError, match="0-0"):
        Barriers(tmp_path).state(found, 0)
    text = (tmp_path / STANDING).read_text()
    (tmp_path / STANDING).write_text(text.replace('"format": 2', '"format": 9'))
    with pytest.raises(CheckpointCorruptError, match="format 9"):
        Barriers(tmp_path).newest()
    (tmp_path / STANDING).write_text(text.replace('"steps": 20', '"steps": "x"'))
    with pytest.raises(CheckpointCorruptError, match="steps"):
        Barriers(tmp_path).newest()


def test_a_crash_between_files_leaves_the_barrier_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kept(tmp_path)

    def crash(*args: object) -> None:
        raise OSError("no power")

    with monkeypatch.context() as patched:
        patched.setattr("tensor_optix.multirun.barriers.replace_file", crash)
        with pytest.raises(OSError, match="no power"):
            kept(tmp_path, found, 9.0, 9.0)
    assert Barriers(tmp_path).newest() == found
    assert Barriers(tmp_path).state(found, 0) is not None
    assert kept(tmp_path, found, 9.0, 9.0) == dataclasses.replace(kept(tmp_path, found, 9.0, 9.0))
