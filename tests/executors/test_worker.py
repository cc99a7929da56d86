"""A worker served in this process, over pipes that are files in memory."""

import io
from pathlib import Path

from tensor_optix.executors._worker import Worker
from tensor_optix.executors.payload import Frame, Payload, read_frame
from tests.fakes.jobs import NAME


def served(*frames: Frame) -> list[Frame]:
    """What a worker answers to some frames, after which the driver leaves."""
    answers = io.BytesIO()
    Worker(io.BytesIO(b"".join(frame.to_bytes() for frame in frames)), answers, leave=lambda: None).serve()
    answers.seek(0)
    found: list[Frame] = []
    while (frame := read_frame(answers)) is not None:
        found.append(frame)
    return found


def test_it_says_that_it_is_there_and_answers_each_job() -> None:
    about = {"index": 4, "attempt": 2}
    told = Frame("job", Payload(1), {"job": f"{NAME}:tell", **about})
    bad = Frame("job", Payload("fail"), {"job": f"{NAME}:fail", **about})
    ready, *answers = served(told, bad)
    assert ready.kind == "ready"
    assert answers[0] == Frame("told", Payload({"step": 0}))
    assert answers[1] == Frame("result", Payload([4, 2]))
    assert answers[2].kind == "error"
    assert answers[2].payload.values["type"] == "ValueError"


def test_it_listens_while_a_job_runs() -> None:
    waits = Frame("job", Payload(), {"job": f"{NAME}:wait_for_the_end", "index": 0, "attempt": 1})
    assert served(waits, Frame("cancel"))[-1] == Frame("result", Payload("ended in order"))


def test_a_job_that_is_waited_for_may_pause_and_another_item_is_not_meant(tmp_path: Path) -> None:
    waits = Frame("job", Payload(str(tmp_path / "mark")), {"job": f"{NAME}:take_turns", "index": 3, "attempt": 1})
    assert served(waits, Frame("waited", about={"index": 2}), Frame("waited", about={"index": 3}))[-1] == Frame(
        "paused"
    )
    assert served(waits)[-1] == Frame("result", Payload("went on"))
