"""Draws the picture of the states in docs/loop.md: `python docs/states.py` writes `docs/pictures/states.svg`.

The arrows are the moves that `BackoffScheduler.transition` makes, tried for every state, event and counter, so that the
picture cannot differ from the code. `tests/test_docs.py` draws it again and compares.
"""

import itertools
from collections import defaultdict
from html import escape
from pathlib import Path

from tensor_optix.core.backoff_scheduler import BackoffScheduler, Event, SchedulerState
from tensor_optix.core.types import LoopState

PICTURE = Path(__file__).parent / "pictures" / "states.svg"
MEANING = {
    LoopState.ACTIVE: "learns, evaluates every base_interval windows",
    LoopState.COOLING: "a plateau: learns, evaluates more and more rarely",
    LoopState.DORMANT: "the learner has ended",
    LoopState.WATCHDOG: "the best policy acts, nothing is learned",
}
_WIDTH, _ROW, _BOX = 760, 96, (240, 40, 300)
"""Of the picture; from a box to the next; left, height and width of a box."""
Moves = dict[tuple[LoopState, LoopState], list[str]]


def moves() -> Moves:
    """Return the events that lead from each state to another one, with the threshold that the counter must reach."""
    plateau, dormant = 2, 4
    scheduler = BackoffScheduler(plateau_threshold=plateau, dormant_threshold=dormant)
    found: Moves = defaultdict(list)
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
    """Return the picture as SVG: the states one below the other, moves down at the left and moves up at the right."""
    order = list(MEANING)
    height = _ROW * len(order)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="11">',
        "<title>The states of the loop, and the events that lead from one to another</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#0072b2"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for row, state in enumerate(order):
        parts += _box(row, state)
    for (old, new), events in moves().items():
        parts += _arrow(old, new, order.index(old), order.index(new), events)
    return "\n".join([*parts, "</svg>", ""])


def _box(row: int, state: LoopState) -> list[str]:
    left, height, width = _BOX
    top, middle = row * _ROW + 20, left + width // 2
    return [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="#eef4fa" stroke="#0072b2"/>',
        f'<text x="{middle}" y="{top + 17}" text-anchor="middle" font-weight="bold">{state.name}</text>',
        f'<text x="{middle}" y="{top + 32}" text-anchor="middle">{escape(MEANING[state])}</text>',
    ]


def _arrow(old: LoopState, new: LoopState, start_row: int, end_row: int, events: list[str]) -> list[str]:
    """Return an arrow beside the boxes, the longer the further from them, and outside of all arrows its events."""
    left, height, width = _BOX
    side, span = (-1 if end_row > start_row else 1), abs(end_row - start_row)
    edge = left if side < 0 else left + width
    at, text_at = edge + side * 14 * span, edge + side * 52
    apart = 5 * span * -side
    start, end = (row * _ROW + 20 + height // 2 + shift for row, shift in ((start_row, apart), (end_row, -apart)))
    top = (start_row + end_row) * _ROW / 2 + 20 + height / 2 - 6 * len(events) + 4
    anchor = "end" if side < 0 else "start"
    texts = [f"{old.name} → {new.name}", *events]
    lines = [
        f'<text x="{text_at}" y="{top + 12 * line:.0f}" text-anchor="{anchor}" '
        f'font-weight="{"normal" if line else "bold"}">{escape(text)}</text>'
        for line, text in enumerate(texts)
    ]
    path = f"M{edge} {start}H{at}V{end}H{edge}"
    return [f'<path d="{path}" fill="none" stroke="#0072b2" marker-end="url(#tip)"/>', *lines]


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
