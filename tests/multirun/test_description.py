from pathlib import Path

import pytest

from tensor_optix.errors import CheckpointCorruptError
from tensor_optix.multirun.description import (
    MULTIRUN,
    Members,
    Seeds,
    holds_more,
    is_multirun,
    read_description,
    read_result,
    write_description,
    write_result,
)

DESCRIPTION = Seeds(seeds=[3, 4], workers=2)


@pytest.mark.parametrize("description", [DESCRIPTION, Members(members=8, generation_windows=4)])
def test_a_folder_says_what_it_is(tmp_path: Path, description: Seeds | Members) -> None:
    folder = tmp_path / "new" / "folder"
    assert not is_multirun(folder)
    write_description(folder, description)
    assert is_multirun(folder)
    assert read_description(folder) == description


def test_what_a_kill_has_left_of_the_beginning_is_told_from_other_files(tmp_path: Path) -> None:
    assert not holds_more(tmp_path / "missing")
    for name in (".lock", "run.json", ".tmp-run.json", f".tmp-{MULTIRUN}", "seed-0"):
        (tmp_path / name).touch()
    assert not holds_more(tmp_path, ["seed-0"])
    assert holds_more(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "JSON"),
        ('{"format": 2, "kind": "seeds", "seeds": [1]}', "format"),
        ('{"format": 1, "kind": "other", "seeds": [1]}', "other"),
        ('{"format": 1, "kind": "seeds", "seeds": []}', "seeds"),
        ('{"format": 1, "kind": "seeds", "seeds": [-1]}', "seeds"),
        ('{"format": 1, "kind": "seeds", "seeds": [1], "more": 1}', "more"),
    ],
)
def test_what_is_damaged_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / MULTIRUN).write_text(content)
    with pytest.raises(CheckpointCorruptError, match=message):
        read_description(tmp_path)


def test_a_result_is_none_until_it_is_written(tmp_path: Path) -> None:
    assert read_result(tmp_path) is None
    write_result(tmp_path, {"best": "seed-1"})
    assert read_result(tmp_path) == {"best": "seed-1"}
