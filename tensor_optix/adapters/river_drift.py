"""The drift detectors of `river`, as detectors of this library."""

import statistics
from collections import deque

from tensor_optix.errors import InvalidArgumentError, did_you_mean
from tensor_optix.support.optional import require
from tensor_optix.support.plain import SavedState

_MOST = 1000
"""Scores that are remembered, to go on from."""
_NEWEST = 5
"""Scores whose level tells a fall from a rise."""


class RiverDetector:
    """One of the detectors in `river.drift`, by name: `RiverDetector("ADWIN", delta=0.001)`.

    Their thresholds are in units of the score and set by you; none of them promises a rate of false alarms. A drift in
    which the newest five scores are no lower than those before is a rise, and not reported.

    River's objects have no state that could be saved as plain values: a resumed run shows a new one the newest 1,000
    scores again.

    Args:
        name: of a class in `river.drift`, e.g. "PageHinkley", "ADWIN", "KSWIN".
        **options: of that class. Give one that draws at random (KSWIN) a `seed`.

    Raises:
        MissingDependencyError: river is not installed.
        InvalidArgumentError: there is no such detector, or it does not take the options.
    """

    def __init__(self, name: str, **options: object) -> None:
        drift = require("river.drift", "RiverDetector", "drift")
        kinds = {kind: found for kind, found in vars(drift).items() if hasattr(found, "drift_detected")}
        if name not in kinds:
            raise InvalidArgumentError(f"river.drift has no detector {name!r}.{did_you_mean(name, kinds)}")
        self._kind, self._options = kinds[name], options
        try:
            self.reset()
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"river.drift.{name} cannot be made with {options}: {error}.") from error

    def reset(self) -> None:
        """Begin with a new one."""
        self._detector = self._kind(**self._options)
        self._scores: deque[float] = deque(maxlen=_MOST)

    def update(self, score: float) -> bool:
        """Take the next score and return whether river sees drift, and it is downwards."""
        self._detector.update(score)
        self._scores.append(score)
        if not self._detector.drift_detected or len(self._scores) <= _NEWEST:
            return False
        scores = list(self._scores)
        return statistics.median(scores[-_NEWEST:]) < statistics.median(scores[:-_NEWEST])

    def state_dict(self) -> dict[str, object]:
        """Return the newest scores."""
        return {"scores": list(self._scores)}

    def load_state_dict(self, state: SavedState) -> None:
        """Show a new one the scores of `state_dict`."""
        self.reset()
        for score in state["scores"]:
            self.update(float(score))
