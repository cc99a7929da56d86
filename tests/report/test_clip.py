"""The recording of the best policy on the page."""

from pathlib import Path

import pytest

from tensor_optix.film import CLIP_BYTES
from tensor_optix.report import rendering
from tensor_optix.report.clip import clip_of
from tensor_optix.report.page import page_of
from tensor_optix.report.run_data import RunData
from tests.fakes.run_folders import write_run


def test_a_run_that_was_recorded_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "plotly_js", lambda: "const Plotly = {};")
    run_dir = write_run(tmp_path / "run")
    assert "<img" not in page_of(RunData.read(run_dir))
    (run_dir / "clip.gif").write_bytes(b"GIF89a...")
    page = page_of(RunData.read(run_dir))
    assert '<img src="data:image/gif;base64,R0lGODlhLi4u"' in page
    assert "tensor-optix enjoy " in page


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"GIF8" + bytes(CLIP_BYTES)])
def test_what_is_no_recording_or_too_large_for_the_page_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.gif").write_bytes(content)
    assert clip_of(tmp_path) == ""
