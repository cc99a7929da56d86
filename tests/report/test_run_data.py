"""Reading a run's folder: all that is there, and no more."""

from pathlib import Path

import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.report.run_data import RunData, number
from tests.fakes.run_folders import write_run


def test_a_run_is_read_whole(tmp_path: Path) -> None:
    data = RunData.read(write_run(tmp_path / "run"))
    assert (len(data.history), len(data.windows), len(data.timings), len(data.events)) == (10, 10, 10, 6)
    assert data.report is not None
    assert (data.name, data.report.best_score, data.damaged) == ("plain", 9.0, {})
    assert data.hours[9] == pytest.approx(0.1)
    assert [event["window_id"] for event in data.of_kind("test", "fault")] == [3, 8]


def test_a_run_that_goes_on_has_no_report(tmp_path: Path) -> None:
    assert RunData.read(write_run(tmp_path / "run", ended=False)).report is None


def test_what_is_damaged_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    for name in ("history.jsonl", "windows.jsonl"):
        lines = (run_dir / name).read_text().splitlines()
        (run_dir / name).write_text("\n".join(["{broken", "[1]", *lines[2:], '{"cut": ']))
    (run_dir / "report.json").write_text("{")
    (run_dir / "environment.json").unlink()
    data = RunData.read(run_dir)
    assert (len(data.history), len(data.windows)) == (8, 8)
    assert data.damaged == {"history.jsonl": 2, "windows.jsonl": 2, "report.json": 1}
    assert data.environment == {}


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "windows.jsonl").write_bytes(b"1" * (2 << 20))
    data = RunData.read(run_dir)
    assert (data.windows, data.damaged) == ([], {"windows.jsonl": 1})


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"holds no run.*train printed"):
        RunData.read(tmp_path)
    with pytest.raises(InvalidArgumentError, match="is no folder"):
        RunData.read(tmp_path / "absent")


def test_a_link_in_place_of_a_record_is_not_followed(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    (tmp_path / "secret").write_text('{"event": "secret", "window_id": 0}\n')
    (run_dir / "events.jsonl").unlink()
    (run_dir / "events.jsonl").symlink_to(tmp_path / "secret")
    data = RunData.read(run_dir)
    assert (data.events, data.damaged) == ([], {"events.jsonl": 1})


@pytest.mark.parametrize(("value", "expected"), [(2, 2.0), (1.5, 1.5), (True, 0.0), ("3", 0.0), (None, 0.0)])
def test_only_numbers_count_as_numbers(value: object, expected: float) -> None:
    assert number(value) == expected


def test_a_folder_of_several_runs_names_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "multirun.json").write_text("{}")
    with pytest.raises(InvalidArgumentError, match=r"holds no run with records.*result\.json"):
        RunData.read(tmp_path)
    write_run(tmp_path / "seed-0")
    with pytest.raises(InvalidArgumentError, match=r"holds several runs.*seed-0.*tensor-optix compare"):
        RunData.read(tmp_path)
    for name in ("run.json", "multirun.json"):  # of several seeds the one is not there, of a folder of runs neither
        (tmp_path / name).unlink()
        with pytest.raises(InvalidArgumentError, match=r"holds several runs.*seed-0.*tensor-optix compare"):
            RunData.read(tmp_path)
    write_run(tmp_path)  # of an evolution, which is a run itself
    assert RunData.read(tmp_path).history
