"""Jobs for executors that need nothing but the standard library, so that a worker starts fast."""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tensor_optix.executors.executor import Paused
from tensor_optix.executors.payload import Payload

NAME = "tests.fakes.jobs"


def double(item: Payload, context: Any) -> Payload:
    return Payload(item.values * 2, {name: content[::-1] for name, content in item.tensors.items()})


def late_first(item: Payload, context: Any) -> Payload:
    """The first items end last."""
    time.sleep(item.values)
    return item


def tell(item: Payload, context: Any) -> Payload:
    for step in range(item.values):
        context.tell({"step": step})
    return Payload([context.index, context.attempt])


def imported(item: Payload, context: Any) -> Payload:
    return Payload(item.values in sys.modules)


def fail(item: Payload, context: Any) -> Payload:
    if item.values == "fail":
        raise ValueError("this item is bad")
    return item


def no_payload(item: Payload, context: Any) -> Any:
    return object()


def plain(item: Payload, context: Any) -> Any:
    return {"plain": (1, 2)}


def print_and_read(item: Payload, context: Any) -> Payload:
    import sys

    print("a job prints")
    return Payload(sys.stdin.read())


def die_once(item: Payload, context: Any) -> Payload:
    """Kills its process the first time it has this item: `values` is the path of what is left behind."""
    mark = Path(item.values)
    if not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return Payload(context.attempt)


def die(item: Payload, context: Any) -> Payload:
    os._exit(7)


def wait_for_the_end(item: Payload, context: Any) -> Payload:
    """Ends in order when it is cancelled."""
    context.tell("waiting")
    while not context.is_cancelled:
        time.sleep(0.005)
    return Payload("ended in order")


def take_turns(item: Payload, context: Any) -> Payload:
    """Goes on later if others wait for it in its first turn; `values` is the path of what is left behind."""
    mark = Path(item.values)
    while not mark.exists():
        context.tell("working")
        if context.is_waited_for:
            mark.write_text("")
            raise Paused
        time.sleep(0.005)
    return Payload("went on")


def pause_once(item: Payload, context: Any) -> Payload:
    mark = Path(item.values)
    if not mark.exists():
        mark.write_text("")
        raise Paused
    return Payload(context.is_waited_for)


def hang(item: Payload, context: Any) -> Payload:
    context.tell("hanging")
    while True:
        time.sleep(1.0)


def who(item: Payload, context: Any) -> Payload:
    return Payload([os.getpid(), os.environ.get("OMP_NUM_THREADS")])


def nap(item: Payload, context: Any) -> Payload:
    time.sleep(item.values)
    return Payload(None, item.tensors)


def chain(item: Payload, context: Any) -> Payload:
    """Takes a while, tells each step, and always comes to the same."""
    found = str(item.values)
    for step in range(20):
        found = hashlib.sha256(found.encode()).hexdigest()
        context.tell({"step": step})
        time.sleep(0.02)
    return Payload(found)
