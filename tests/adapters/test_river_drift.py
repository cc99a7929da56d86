"""With river where it is installed, with a stand-in that keeps to its interface where it is not."""

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters.river_drift import RiverDetector
from tensor_optix.core.decisions.drift import DriftDetector
from tensor_optix.errors import InvalidArgumentError, MissingDependencyError

HAS_RIVER = importlib.util.find_spec("river") is not None


class Jump:
    """Drift where a score is further than `far` from the one before, as river's detectors say it."""

    def __init__(self, far: float = 3.0) -> None:
        self.far, self.last, self.drift_detected = far, None, False

    def update(self, x: float) -> None:
        self.drift_detected = self.last is not None and abs(x - self.last) > self.far
        self.last: float | None = x


@pytest.fixture
def river(monkeypatch: pytest.MonkeyPatch) -> None:
    package, drift = ModuleType("river"), ModuleType("river.drift")
    package.__path__ = []  # type: ignore[attr-defined]
    Jump.drift_detected = False  # type: ignore[attr-defined]
    drift.Jump = Jump  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "river", package)
    monkeypatch.setitem(sys.modules, "river.drift", drift)


def falls(detector: RiverDetector, scores: Any) -> list[int]:
    return [n for n, score in enumerate(scores) if detector.update(float(score))]


@pytest.mark.usefixtures("river")
def test_what_river_says_is_reported_where_it_is_a_fall() -> None:
    detector = RiverDetector("Jump", far=2.0)
    assert isinstance(detector, DriftDetector)
    assert falls(detector, [5, 5, 5, 5, 5, 5, 0, 3, 0, 3, 0, 3]) == [8, 9, 10, 11]  # as soon as the level is lower
    detector.reset()
    assert falls(detector, [0, 0, 0, 0, 0, 0, 5, 5, 5, 9, 9, 9]) == []


@pytest.mark.usefixtures("river")
def test_it_goes_on_from_the_scores_that_it_has_seen() -> None:
    first, second = RiverDetector("Jump"), RiverDetector("Jump")
    falls(first, [9, 9, 9, 9, 9, 9, 1, 1])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert falls(first, [9, 1, 9]) == falls(second, [9, 1, 9])
    for n in range(3000):
        first.update(float(n))
    assert len(first.state_dict()["scores"]) == 1000


@pytest.mark.usefixtures("river")
def test_a_name_or_an_option_that_river_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"no detector 'Jumps'.*Did you mean 'Jump'"):
        RiverDetector("Jumps")
    with pytest.raises(InvalidArgumentError, match=r"cannot be made with .*'fare'"):
        RiverDetector("Jump", fare=1.0)


@pytest.mark.skipif(HAS_RIVER, reason="river is installed")
def test_without_river_the_error_has_the_install_line() -> None:
    with pytest.raises(MissingDependencyError, match=r"RiverDetector needs river.*tensor-optix\[drift\]"):
        RiverDetector("ADWIN")


@pytest.mark.skipif(not HAS_RIVER, reason="river is not installed")
@pytest.mark.parametrize(
    ("name", "options"),
    [("PageHinkley", {"mode": "down"}), ("ADWIN", {}), ("KSWIN", {"seed": 1, "alpha": 1e-4})],
)
def test_river_sees_a_fall_and_no_rise(name: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    calm = rng.normal(size=200)
    detector = RiverDetector(name, **options)
    assert falls(detector, calm) == []
    assert falls(detector, rng.normal(-4.0, 1.0, 60))
    detector.reset()
    assert falls(detector, np.concatenate([calm, rng.normal(4.0, 1.0, 60)])) == []
    again = RiverDetector(name, **options)
    again.load_state_dict(detector.state_dict())
    then = rng.normal(-4.0, 1.0, 60)
    assert falls(detector, then) == falls(again, then) != []
