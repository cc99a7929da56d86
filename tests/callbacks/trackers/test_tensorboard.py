"""TensorBoard's files, read by its own reader."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tensor_optix.callbacks import TensorBoard
from tensor_optix.callbacks.trackers.tensorboard import last_record
from tests.contracts.tracker_contract import TrackerContract, run_with
from tests.fakes.tracked_runs import add_turns, begin, cut_back


def scalars_in(folder: Path) -> list[tuple[str, int, float]]:
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))  # or it would import TensorFlow to read files
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return [(tag, e.step, e.value) for tag in sorted(reader.Tags()["scalars"]) for e in reader.Scalars(tag)]


class TestTensorBoard(TrackerContract):
    def make(self, folder: Path) -> TensorBoard:
        return TensorBoard(pause=0.01)

    def read(self, folder: Path) -> list[tuple[str, int, float]]:
        return scalars_in(folder / "tensorboard")

    def test_a_file_that_a_crash_has_cut_short_is_gone_on_behind(self, tmp_path: Path) -> None:
        run_with(self.make(tmp_path), begin(tmp_path), 0, 4)
        (path,) = (tmp_path / "tensorboard").iterdir()
        path.write_bytes(path.read_bytes()[:-20])
        cut_back(tmp_path, 4)
        run_with(self.make(tmp_path), tmp_path, 4, 6)
        self.check(tmp_path)

    def test_it_goes_on_across_kill_9_and_resume(self, tmp_path: Path) -> None:
        begin(tmp_path)
        command = [sys.executable, "-m", "tests.fakes.tracked_runs", str(tmp_path), "tensorboard", "0", "4", "1"]
        assert subprocess.run(command, check=False).returncode == -9  # noqa: S603
        cut_back(tmp_path, 3)
        run_with(self.make(tmp_path), tmp_path, 3, 7)
        self.check(tmp_path)

    def test_the_names_of_cleanrl_and_a_folder_of_ones_own(self, tmp_path: Path) -> None:
        run_with(TensorBoard(tmp_path / "logs", names="cleanrl", pause=0.01), begin(tmp_path / "run"), 0, 2)
        names = {name for name, _, _ in scalars_in(tmp_path / "logs")}
        assert {"charts/episodic_return", "losses/approx_kl", "charts/SPS", "eval/episodic_return"} <= names


def test_the_last_record_of_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert last_record(tmp_path / "x") == b""


def test_a_tag_of_the_user_is_one_that_the_reader_takes(tmp_path: Path) -> None:
    begin(tmp_path)
    add_turns(tmp_path, 0, 1, diagnostics={"Q (mean) <b>": 1.0, "a/b": 2.0})
    run_with(TensorBoard(pause=0.01), tmp_path, 1, 1)
    found = {name: value for name, _, value in scalars_in(tmp_path / "tensorboard")}
    assert found["train/Q _mean_ _b_"] == pytest.approx(1.0)
    assert found["train/a.b"] == pytest.approx(2.0)


def test_no_framework_is_loaded_to_write_events() -> None:
    code = "import sys; from tensor_optix.callbacks import TensorBoard; TensorBoard(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "False"
