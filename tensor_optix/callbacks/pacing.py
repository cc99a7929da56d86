"""How often something is shown or sent while a run goes on: so rarely that the run is not slowed."""

SHARE = 0.005
"""Of the processor time of the process, as far as it is done often enough: the view and three trackers take 2 %."""
_SMALLEST = 1e-3
"""A share by which is still divided."""


def pause_after(taken: float, *, least: float, most: float, busy: float = 1.0) -> float:
    """Return the seconds until something is done again, so that it takes `SHARE` of what the process computes.

    Args:
        taken: seconds that it has taken this time.
        least: seconds of a pause, however little it takes.
        most: seconds of a pause, however long it takes.
        busy: processor seconds that the process uses in a second: few where others have the machine.
    """
    return min(max(taken / (SHARE * max(busy, _SMALLEST)), least), most)
