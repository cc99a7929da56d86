"""Draws the picture of the states in README.md and docs/loop.md: `python docs/states.py` writes it into both.

The arrows are the moves that `BackoffScheduler.transition` makes, tried for every state, event and counter, so that the
picture cannot differ from the code. `tests/test_docs.py` draws it again and compares.
"""

import itertools
import re
from collections import defaultdict
from pathlib import Path

from tensor_optix.core.backoff_scheduler import BackoffScheduler, Event, SchedulerState
from tensor_optix.core.types import LoopState

ROOT = Path(__file__).parent.parent
SHOWN_IN = (ROOT / "README.md", ROOT / "docs" / "loop.md")
PICTURE = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)
MEANING = {
    LoopState.ACTIVE: "learns, evaluates every base_interval windows",
    LoopState.COOLING: "a plateau, learns, evaluates more and more rarely",
    LoopState.DORMANT: "the learner has ended",
    LoopState.WATCHDOG: "the best policy acts, nothing is learned",
}


def moves() -> dict[tuple[LoopState, LoopState], list[str]]:
    """Return the events that lead from each state to another one, with the threshold that the counter must reach."""
    plateau, dormant = 2, 4
    scheduler = BackoffScheduler(plateau_threshold=plateau, dormant_threshold=dormant)
    found: dict[tuple[LoopState, LoopState], list[str]] = defaultdict(list)
    for state, event in itertools.product(LoopState, Event):
        firsts: dict[LoopState, int] = {}
        for count in range(1, dormant + 1):
            new = scheduler.transition(SchedulerState(state, 1, count - 1), event).state
            firsts.setdefault(new, count)
        for target, count in firsts.items():
            if target is not state:
                needs = {plateau: " × plateau_threshold", dormant: " × dormant_threshold"}.get(count, "")
                found[state, target].append(event.name + needs)
    return dict(found)


def picture() -> str:
    """Return the picture as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> ACTIVE"]
    lines += [f"    {state.name} : {state.name} - {meaning}" for state, meaning in MEANING.items()]
    lines += [f"    {old.name} --> {new.name} : {', '.join(events)}" for (old, new), events in moves().items()]
    return "\n".join(["```mermaid", *lines, "```", ""])


if __name__ == "__main__":
    for path in SHOWN_IN:
        path.write_text(PICTURE.sub(picture(), path.read_text(encoding="utf-8"), count=1), encoding="utf-8")
