"""Makes the pictures of a real run: `python docs/recorded.py` trains CartPole-v1, and takes them from it.

`pictures/terminal.svg` is the live view in the middle of the run, with what was printed at its end;
`pictures/report.webp` is the upper part of the run's report, as Chromium shows it.

    python docs/recorded.py             # both
    python docs/recorded.py RUN_DIR     # the report of a run that there is
"""

import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from tensor_optix import RLOptimizer, TrainingReport, VectorBatchPipeline, make_agent
from tensor_optix.callbacks.progress import Progress
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.report.page import write_page

PICTURES = Path(__file__).parent / "pictures"
COMMAND = "tensor-optix train CartPole-v1 --n-envs 8 --seed 0"
_WIDTH = 112
_SIZE = (1280, 1150)
"""Of the screenshot, in pixels."""


class _Kept(LoopCallback):
    """Keeps the frames of a live view."""

    def __init__(self) -> None:
        self.frames: list[RenderableType] = []

    def on_loop_start(self) -> None:
        shown, frames = Live.update, self.frames

        def update(live: Live, renderable: RenderableType, **more: Any) -> None:
            frames.append(renderable)
            shown(live, renderable, **more)

        Live.update = update  # pyright: ignore[reportAttributeAccessIssue] - this process does nothing else


def train(run_dir: Path) -> tuple[TrainingReport, list[RenderableType]]:
    """Train as the command does; return the report, and the frames of the live view."""
    agent = make_agent("CartPole-v1", "ppo", seed=0)
    pipeline = VectorBatchPipeline(("CartPole-v1", 8), window_size=256)
    kept, runs = _Kept(), list[RLOptimizer]()
    view = Progress(lambda: runs[0].status, Console(file=io.StringIO(), force_terminal=True, width=_WIDTH))
    runs.append(RLOptimizer(agent, pipeline, checkpoint_dir=run_dir, seed=0, callbacks=[kept, view]))
    return runs[0].run(), kept.frames


def record(report: TrainingReport, frames: list[RenderableType]) -> str:
    """Return the terminal as SVG: the command, a frame of the live view, and the report."""
    console = Console(file=io.StringIO(), record=True, force_terminal=True, width=_WIDTH)
    console.print(Text(f"$ {COMMAND}", style="bold"))
    console.print(frames[len(frames) * 3 // 4])
    console.print(Text(str(report).replace(f"{Path.cwd()}/", "")))  # as one stands in the folder of the runs
    return console.export_svg(title="tensor-optix")


def photograph(page: Path, target: Path) -> None:
    """Write the upper part of a page as a picture of less than 150 kB."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        size = ",".join(map(str, _SIZE))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000"]
        subprocess.run(  # noqa: S603 - the program is named here, and the page is our own
            ["chromium", *flags, f"--window-size={size}", f"--screenshot={shot}", page.resolve().as_uri()],  # noqa: S607
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as image:
            image.convert("RGB").save(target, quality=80, method=6)


def main(arguments: list[str]) -> None:
    """Make the pictures."""
    given = Path(arguments[0]).resolve() if arguments else None
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run_dir = given or Path("runs/CartPole-v1-ppo")
        if given is None:
            (PICTURES / "terminal.svg").write_text(record(*train(run_dir)), encoding="utf-8")
        photograph(write_page(run_dir, Path("report.html")), PICTURES / "report.webp")


if __name__ == "__main__":
    main(sys.argv[1:])
