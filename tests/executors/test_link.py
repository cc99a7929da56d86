import os
import signal

import pytest

from tensor_optix.executors import Payload
from tensor_optix.executors._link import Link, WorkerLostError, job_frame
from tests.fakes.jobs import NAME


def test_a_worker_answers_until_it_dies_and_how_it_died_is_told() -> None:
    link, told = Link(), list[object]()
    job = f"{NAME}:tell"
    frame = link.call(job, 1, 1, job_frame(job, 1, 1, Payload(2)), told.append)
    assert (frame.kind, frame.payload.values) == ("result", [1, 1])
    assert told == [{"step": 0}, {"step": 1}]
    os.kill(link.pid, signal.SIGTERM)
    with pytest.raises(WorkerLostError, match="killed by SIGTERM"):
        link.call(job, 1, 1, job_frame(job, 1, 1, Payload(2)), told.append)
    link.cancel()  # harmless by now
    link.close()
