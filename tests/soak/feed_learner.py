"""Learns from a feed in processes that are killed: `python -m tests.soak.feed_learner` with one JSON argument.

Each window is one line in a log, with the resume state after it: both are there, or neither is.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.sources.websocket_source import WebSocketSource
from tests.helpers import NumpyAgent


class Idle(NumpyAgent):
    def act(self, observation: Any) -> int:
        return 0


def numbers(observations: np.ndarray) -> list[int]:
    """The numbers of items, by their observations (see `feed_server.Numbered`)."""
    return [int(low) + (int(high) << 16) for low, high in observations]


def read_log(path: Path) -> list[Any]:
    """The windows that were learned; a line that was cut off was not."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [msgspec.json.decode(line) for line in lines]


def last_line(path: Path) -> Any:
    """The last whole line; a torn one after it is cut away."""
    if not path.exists():
        return None
    with path.open("r+b") as file:
        start = max(file.seek(0, os.SEEK_END) - (1 << 20), 0)
        file.seek(start)
        tail = file.read()
        file.truncate(start + tail.rfind(b"\n") + 1)
    whole = tail.split(b"\n")[:-1]
    return msgspec.json.decode(whole[-1]) if whole else None


def learn(url: str, log: Path, *, target: int, has_replay: bool, window: int, remembers: bool = True) -> None:
    """Learn until item `target` is behind."""
    source = WebSocketSource(url, is_replayable=has_replay, sends_actions=False, silence_timeout=0.5)
    boundary = LivePipeline.every_n_steps(window)
    pipeline = LivePipeline(source, Idle(), boundary, backoff=(0.001, 0.01), reorder=(128, 0.1))
    before = last_line(log)
    if before is not None and remembers:
        pipeline.restore_stream(before["state"])
    with log.open("ab") as file:
        for data in pipeline.episodes():
            state = pipeline.stream_state()
            line = {
                "observations": numbers(data.observations),
                "next": numbers(data.next_observations),
                "rewards": [int(reward) for reward in data.rewards],
                "metadata": {name: value for name, value in data.metadata.items() if isinstance(value, int)},
                "state": state,
                "before_first": pipeline._feed._intake.ledger.before_first if pipeline._feed else 0,
            }
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            if state["after"] >= target:
                break
    pipeline.teardown()


def main(url: str, log: str, *, kills: int, seed: int, seconds: float, waits: bool = False, **options: Any) -> None:
    """Learn in one process after the other; `kills` of them are killed after a random time.

    Args:
        url: of the feed.
        log: the file of windows.
        kills: how many.
        seed: of the times.
        seconds: within which a kill comes.
        waits: True to let these begin with the first window that was ever learned.
        options: of `learn`.
    """
    rng = random.Random(seed)
    for n in range(kills + 1):
        child = os.fork()
        if child == 0:
            learn(url, Path(log), **options)
            os._exit(0)
        if n < kills:
            while waits and not read_log(Path(log)):
                time.sleep(0.001)
            time.sleep(rng.uniform(0.01, seconds))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if n < kills and not os.WIFSIGNALED(status):
            sys.exit(f"process {n} ended before it was killed")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(**msgspec.json.decode(sys.argv[1]))
