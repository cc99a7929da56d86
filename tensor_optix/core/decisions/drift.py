"""Has the score of a policy that does not change fallen? A detector is told every score, and says so."""

import bisect
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Protocol, runtime_checkable

from tensor_optix.core.decisions.trend import degradation_drop, rounding_of
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.plain import SavedState

_OVERSHOOT = 1.166
"""By how much the sum passes its threshold, in Siegmund's approximation."""
_MOST = 250
"""Scores that the calm is remembered by."""
_SHORTEST, _LONGEST = 3, 10
"""Windows in a row that are looked at together: fewer may be one bad moment, more are the matter of the sum."""
_SHARE = 0.1
"""Share of the rate of false alarms that runs of one length have."""
_FAR = 8
"""Windows in a row after which a fall far beyond the noise needs no calm scores in number."""
_FEW = 4
"""Calm scores up to which such a fall must be as wide as the fallen scores are apart; of more, the less wide."""
_EXPECTED = 40
"""Expected scores that are kept."""
_OWN = 25
"""Windows after which the scores of the watch speak for themselves."""
_COMPARED, _FEWEST, _MEANS = 4, 3, 24
"""Windows in a row from which their mean is compared with that of so many calm scores, at least and at most."""
_ENOUGH = 12
"""Calm scores among them with which a run in progress is not given up."""
_NORMAL = NormalDist()


@runtime_checkable
class DriftDetector(Protocol):
    """Tells drift from noise, one score at a time."""

    def update(self, score: float) -> bool:
        """Take the next score, a finite number, and return whether drift is seen by now."""
        ...

    def reset(self) -> None:
        """Begin anew: the policy is another one, or the world is."""
        ...

    def state_dict(self) -> dict[str, object]:
        """Return what it knows, as plain JSON values."""
        ...

    def load_state_dict(self, state: SavedState) -> None:
        """Go on from what `state_dict` returned."""
        ...


@runtime_checkable
class KnowsItsLevel(Protocol):
    """A detector that may be told beforehand what is usual, so that it can see a fall in the first windows, too.

    What a `DriftDetector` may add; the loop looks for it once.
    """

    def expect(self, scores: Sequence[float]) -> None:
        """Take what single windows have scored before the watch, finite numbers; called after `reset`, if at all."""
        ...


class PageHinkley:
    """Page-Hinkley on standardised scores: sees a fall of their level, and knows how often it is wrong.

        gₜ = max(0, gₜ₋₁ − zₜ − k)     drift where gₜ > h     k = min_shift / 2

    z = Φ⁻¹((r − ½) / n) of the score that is the r-th of n so far: whatever their distribution and however heavy its
    tails, the z of independent scores are all but independent standard normal ones. So one wild score counts no more
    than any other lowest, noise and level are learned as the scores come, and h follows from the wanted rate of false
    alarms alone, by Siegmund's approximation of the mean time to one:

        1 / rate = (exp(x) − x − 1) λ² / (2k²),  x = 2kb / λ²,  b = h + 1.166 λ,  λ² = (1 + ρ) / (1 − ρ)

    λ² is by how much the sum of scores that depend on each other spreads more than that of independent ones, where the
    correlation ρ from each to the next fades geometrically. A rise is no drift: who does better than before need not be
    woken. The first 250 scores stay what is compared with, so that a slow fall is seen, too.

    Ranks among few scores are no evidence, and each fallen score makes the next one look more usual. So there is a
    second rule. Scores below what must be held, `level − max(|level|·(1 − degradation_threshold),
    min_degradation_drop)`, are a run until one is not, and only then join the calm ones, whose median is the level. The
    newest k = 3 … 10 scores of a run are drift where that many are too seldom that low by chance:

        P = C(j + k, k) / C(n + k, k)      drift where ln P ≤ λ ln(rate / 10)

    for j of n calm scores no higher than the highest of the k; exact where scores are independent, whatever their
    distribution. Few calm scores can never be so seldom: so it is drift, too, where Student's t of the k and the n
    calm scores, with their pooled variance, is as improbable; for k >= 4, n from 3 to 24, and scores that differ on
    both sides. And it is where at least 8 lie further below every calm one than min(1, 4/n) times the distance that
    they lie apart. Scores that were usual before the watch (`expect`) are calm ones for its first 25 windows.

    E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); D. V. Hinkley, "Inference about the change-point
    from cumulative sum tests", Biometrika 58 (1971); D. Siegmund, "Sequential Analysis" (1985); ranks: F. Lombard and
    C. van Zyl, "Signed sequential rank CUSUMs" (2018); t as a normal deviate: D. L. Wallace, "Bounds on normal
    approximations to Student's and the chi-square distributions" (1959).

    Args:
        false_alarm_rate: alarms per window where nothing changes, in (0, 0.5).
        min_shift: the fall that is to be seen soonest, in standard deviations of a score.
        degradation_threshold: share of the calm level that must be held: a fall by less is none.
        min_degradation_drop: smallest fall that counts, in units of the score.
        correlation: of neighbouring scores where nothing changes, up to which the rate is kept, in [0, 1).

    Raises:
        InvalidArgumentError: an argument out of its range.
    """

    def __init__(
        self,
        false_alarm_rate: float = 0.001,
        min_shift: float = 1.0,
        degradation_threshold: float = 0.95,
        min_degradation_drop: float = 0.0,
        correlation: float = 0.2,
    ) -> None:
        if not 0.0 < false_alarm_rate < 0.5:
            raise InvalidArgumentError(f"false_alarm_rate must be in (0, 0.5), but got {false_alarm_rate!r}.")
        if not 0.0 < min_shift < math.inf:
            raise InvalidArgumentError(f"min_shift must be positive and finite, but got {min_shift!r}.")
        if not 0.0 < degradation_threshold <= 1.0:
            raise InvalidArgumentError(f"degradation_threshold must be in (0, 1], but got {degradation_threshold!r}.")
        if not min_degradation_drop >= 0.0:
            raise InvalidArgumentError(f"min_degradation_drop must not be negative, but got {min_degradation_drop!r}.")
        if not 0.0 <= correlation < 1.0:
            raise InvalidArgumentError(f"correlation must be in [0, 1), but got {correlation!r}.")
        self._allowance = min_shift / 2.0
        self._tolerated = (degradation_threshold, min_degradation_drop)
        spread = math.sqrt((1.0 + correlation) / (1.0 - correlation))
        self.threshold = _threshold(false_alarm_rate, self._allowance, spread)
        """h, in standard deviations of a score."""
        self._rarest = spread * math.log(_SHARE * false_alarm_rate)
        self._highest = -_NORMAL.inv_cdf(math.exp(self._rarest))
        self.reset()

    def reset(self) -> None:
        """Forget every score."""
        self._ranked: list[float] = []
        self._calm: list[float] = []
        self._run: list[float] = []
        self._fall = 0.0
        self._expects = False

    def expect(self, scores: Sequence[float]) -> None:
        """Begin anew, with the newest 40 of these as the calm scores of the first 25 windows.

        Args:
            scores: of single windows, in the order of time.
        """
        self.reset()
        self._calm = sorted(float(score) for score in scores[-_EXPECTED:])
        self._expects = bool(self._calm)

    def update(self, score: float) -> bool:
        """Take the next score and return whether its level has fallen by now."""
        self._fall = max(0.0, self._fall - self._standardised(score) - self._allowance)
        _insert(self._ranked, score)
        if self._calm and score < self._held(self._calm):
            self._run = [*self._run, score][-_MOST:]
        else:
            for calm in (*self._run, score):
                _insert(self._calm, calm)
            self._run = []
        has_fallen = self._fall > self.threshold or self._is_run_too_low()
        if self._expects and len(self._ranked) >= _OWN and not has_fallen:
            self._forget_expected()
        return has_fallen

    def _standardised(self, score: float) -> float:
        if not self._ranked:
            return 0.0
        level = _median(self._ranked)
        if self._held(self._ranked) <= score < level:
            score = level  # what may be lost is not counted as lost
        # Equals share the rank in their middle.
        rank = (bisect.bisect_left(self._ranked, score) + bisect.bisect_right(self._ranked, score)) / 2 + 1
        return _NORMAL.inv_cdf((rank - 0.5) / (len(self._ranked) + 1))

    def _held(self, scores: list[float]) -> float:
        """Return the lowest score that is no fall."""
        level = _median(scores)
        return level - degradation_drop(level, *self._tolerated) - float(rounding_of(level))

    def _is_run_too_low(self) -> bool:
        highest, lowest, n = -math.inf, math.inf, len(self._calm)
        for k, score in enumerate(reversed(self._run[-_LONGEST:]), 1):
            highest, lowest = max(highest, score), min(lowest, score)
            if k < _SHORTEST:
                continue
            j = bisect.bisect_right(self._calm, highest)
            if math.log(math.comb(j + k, k) / math.comb(n + k, k)) <= self._rarest:
                return True
            if k >= _FAR and self._calm[0] - highest > min(1.0, _FEW / n) * (highest - lowest):
                return True
            if k >= _COMPARED and _FEWEST <= n <= _MEANS and _deviate(self._calm, self._run[-k:]) >= self._highest:
                return True
        return False

    def _forget_expected(self) -> None:
        """Let the calm scores be those of the watch itself."""
        self._expects = False
        self._calm = list(self._ranked)
        if len(self._calm) - len(self._run) < _ENOUGH:
            self._run = []  # the watch itself is what is usual: what was expected was too high
        for score in self._run:
            self._calm.remove(score)

    def state_dict(self) -> dict[str, object]:
        """Return the scores, the run and the sum."""
        return {
            "ranked": list(self._ranked),
            "calm": list(self._calm),
            "run": list(self._run),
            "fall": self._fall,
            "expects": self._expects,
        }

    def load_state_dict(self, state: SavedState) -> None:
        """Go on from `state_dict`."""
        self._calm, self._fall = [float(score) for score in state["calm"]], float(state["fall"])
        # Versions without runs saved the calm scores alone.
        self._ranked = [float(score) for score in state.get("ranked", self._calm)]
        self._run = [float(score) for score in state.get("run", ())]
        self._expects = bool(state.get("expects", False))


def _median(scores: list[float]) -> float:
    return scores[len(scores) // 2]


def _deviate(calm: Sequence[float], run: Sequence[float]) -> float:
    """Return Student's t for a lower mean of the run, as a normal deviate; -inf where one side's scores are equal."""
    means = [math.fsum(scores) / len(scores) for scores in (calm, run)]
    squares = [math.fsum((s - m) ** 2 for s in scores) for scores, m in zip((calm, run), means, strict=True)]
    fall, freedom = means[0] - means[1], len(calm) + len(run) - 2
    if min(max(calm) - min(calm), max(run) - min(run)) <= rounding_of(*means) or fall <= 0.0:
        return -math.inf
    t_squared = fall**2 / (sum(squares) / freedom * (1.0 / len(calm) + 1.0 / len(run)))
    return (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t_squared / freedom))


def _insert(scores: list[float], score: float) -> None:
    if len(scores) < _MOST:
        bisect.insort(scores, score)


def _threshold(rate: float, k: float, spread: float) -> float:
    """Solve the formula of `PageHinkley` for h, where sums spread λ = `spread` times as far as independent ones."""
    k /= spread  # in units of λ it is the formula for independent scores
    low, high = 0.0, 400.0 / k
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        x = 2.0 * k * middle
        too_low = x < 700.0 and (math.exp(x) - x - 1.0) / (2.0 * k * k) < 1.0 / rate
        low, high = (middle, high) if too_low else (low, middle)
    return max(high - _OVERSHOOT, 0.0) * spread
