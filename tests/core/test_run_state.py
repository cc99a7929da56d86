"""The documented path of the history's reader."""

from pathlib import Path

from tensor_optix.core import run_state
from tensor_optix.core.loop import history
from tests.fakes.histories import record


def test_the_documented_path_reads_what_the_loop_has_written(tmp_path: Path) -> None:
    written = history.History(tmp_path / "history.jsonl")
    for window_id in range(3):
        written.append(record(window_id))
    written.close()
    read = list(run_state.read_history(tmp_path / "history.jsonl"))
    assert [each.window_id for each in read] == [0, 1, 2]
    assert all(isinstance(each, run_state.HistoryRecord) for each in read)


def test_it_only_names_what_others_define() -> None:
    assert [getattr(run_state, name) for name in run_state.__all__] == [history.HistoryRecord, history.read_history]
