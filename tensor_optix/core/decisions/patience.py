"""When to stop: how long a learning curve may stay quiet before it counts as finished. Pure functions.

A constant patience is right on one scale only: a run that rose for a million steps is not finished after 70,000 quiet
ones. Here it is a multiple of the steps Rₜ that the curve took to get where it is (`curve_statistics`):

    quiet       = t − Rₜ
    allowed     = multiple · Rₜ, and at least `dormant_threshold` evaluations since the arrival there

The multiple is small only where the plateau is certain. With the gain Gₜ, the standard deviation σ of one episode's
return at present, γ = Gₜ / σ, and n training episodes:

    UNLEARNED    Gₜ ≤ 8 σ₁ (σ₁: of the first returns) or Gₜ ≤ 2 σ, now or where the best level was reached, as a few
                 lucky episodes would have it:  at least min(2·10⁷ steps, 10⁴ episodes), and at most
                 20 Rₜ where Gₜ > σ₁ and Gₜ > 3 σ
    EMERGED      but Gₜ > 4 σ₁ and Gₜ > 10 σ, of first returns that spread far and present ones that do not:  multiple 7
    SATURATED    γ · (n / 1000)^1.5 > 120, and the upper bound of the slope of the last fifth, per unit of ln t,
                 is below 0.25·Gₜ:  multiple 0.22; below 0.5·Gₜ:  multiple 1
    SATURATING   else:  multiple 3.5

A known target (`reward_threshold`, `max_return`) changes that. It is reached by the best level, by the mean of at least
three scores until now plus its standard error, or by the best policy in many episodes of its own. Then something has
been learned, and the multiple is 1 of Aₜ, the steps of the arrival there, quiet from then on. Else the share of the way
that is left decides, whatever the plateau looks like: a near miss is waited for little longer than a success.

    left        = (target − level) / (target − first level), from 1 where nothing is learned to 0 at the target
    multiple    1 + left · (10.5 − 1) of Rₜ, and while UNLEARNED, at least left · min(2·10⁷ steps, 10⁴ episodes)

A policy that has stopped changing has multiple 1 of Rₜ, too.

The constants were chosen on public learning curves (`python -m benchmarks curves`, which also leaves out whole
environments). Source: Domhan, Springenberg and Hutter, "Speeding up automatic hyperparameter optimization of deep
neural networks by extrapolation of learning curves" (IJCAI 2015): stop by the chance of a further gain.
"""

import math
from dataclasses import dataclass, replace

from tensor_optix.core.decisions.curve_statistics import REST, CurveStatistics, statistics_of
from tensor_optix.core.decisions.patience_verdict import PatienceVerdict, Phase, chance_of_rise, short
from tensor_optix.core.decisions.score_curve import ScoreCurve
from tensor_optix.support.arguments import check_amount, check_count, check_threshold

MOST_STRETCH = 4.0
"""Evaluations that one counts for at most, where others were put off."""
EPISODES_SCALE, EPISODES_POWER = 1_000.0, 1.5
"""Certainty: γ · (n / scale)^power."""
_SHORTEST = 5
"""Evaluations before which nothing is said about a curve."""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """The tuned numbers of the rule; what the public curves chose, on which `benchmarks.curves` varies them."""

    learned: float = 8.0
    """Gain from which something has been learned, in deviations of the first returns ..."""
    clear: float = 2.0
    """... and in deviations of the present ones, and of those where the best level was reached."""
    emerged: float = 4.0
    """Gain from which it may have been, in deviations of the first returns, where it is `distinct` of the present."""
    distinct: float = 10.0
    visible: float = 3.0
    """Gain in present deviations from which a rise is waited on for `visible_multiple` times its steps at most."""
    visible_multiple: float = 20.0
    certainty: float = 120.0
    """γ · (n / 1000)^1.5 from which a plateau is certain."""
    flat_slope: float = 0.25
    """Upper bound of the slope of a flat curve, in gains per unit of ln t."""
    nearly_flat_slope: float = 0.5
    """The same of a nearly flat one."""
    saturated: float = 0.22
    """Multiple of the steps to the rise where the plateau is certain and flat."""
    nearly_saturated: float = 1.0
    """Multiple where it is certain and nearly flat."""
    emerging: float = 7.0
    """Multiple where something may have been learned."""
    saturating: float = 3.5
    """Multiple elsewhere."""
    reached: float = 1.0
    """Multiple at most where a known target is reached."""
    below_target: float = 10.5
    """Multiple where nothing of the way to a known target is done."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait.

    Args:
        dormant_threshold: evaluations without a rise at least, >= 1.
        is_scaled: False = `dormant_threshold` evaluations without improvement are the whole rule, to the letter.
        episodes_per_evaluation: episodes behind one score; scales its standard error to that of one return.
        reward_threshold: score from which the task counts as solved; None = unknown.
        max_return: highest possible score; None = unknown.
        unlearned_steps: steps to wait while nothing has been learned.
        unlearned_episodes: training episodes to wait while nothing has been learned; the smaller of the two counts.
        constants: the tuned numbers of the rule.

    Raises:
        InvalidArgumentError: a value out of its range.
    """

    dormant_threshold: int = 20
    is_scaled: bool = True
    episodes_per_evaluation: int = 5
    reward_threshold: float | None = None
    max_return: float | None = None
    unlearned_steps: float = 20_000_000
    unlearned_episodes: float = 10_000
    constants: Constants = Constants()

    def __post_init__(self) -> None:
        check_count("dormant_threshold", self.dormant_threshold, 1)
        check_count("episodes_per_evaluation", self.episodes_per_evaluation, 1)
        check_amount("unlearned_steps", self.unlearned_steps)
        check_amount("unlearned_episodes", self.unlearned_episodes)
        for name in ("reward_threshold", "max_return"):
            if getattr(self, name) is not None:
                check_threshold(name, getattr(self, name))

    @property
    def target(self) -> float | None:
        """Score that is known to be enough; None where none is known."""
        known = [value for value in (self.reward_threshold, self.max_return) if value is not None]
        return min(known) if known else None


def assess(
    curve: ScoreCurve,
    patience: Patience,
    no_improvement: int = 0,
    *,
    is_settled: bool = False,
    has_learned: bool = False,
    has_reached: bool = False,
    evaluation_steps: float | None = None,
) -> PatienceVerdict:
    """Return how far the patience with a curve is used up.

    Args:
        curve: the evaluations so far.
        patience: how long to wait.
        no_improvement: evaluations in a row without an improvement, as the state machine counts them; it is the rule
            where the patience is not scaled, and nothing else.
        is_settled: True if the policy is known to have stopped changing (entropy and KL exhausted, no gradient left):
            the multiple is at most that of a reached target.
        has_learned: True for a learner that goes on from a trained policy: that it does not rise is no sign that
            nothing has been learned yet.
        has_reached: True if the best policy has reached the target in many episodes of its own.
        evaluation_steps: steps from one evaluation to the next, where some that were due may have been put off: those
            since the arrival count, up to three for each that took place, or else the patience would grow with what
            an evaluation costs. None = none were.
    """
    if not patience.is_scaled:
        return PatienceVerdict(
            phase=Phase.SATURATING,
            quiet_steps=0,
            quiet_evaluations=no_improvement,
            allowed_steps=0,
            allowed_evaluations=patience.dormant_threshold,
            chance_of_rise=None,
            reason=f"{no_improvement} of {patience.dormant_threshold} evaluations without improvement",
        )
    if curve.evaluations < _SHORTEST:
        return PatienceVerdict(
            phase=Phase.UNLEARNED,
            quiet_steps=0,
            quiet_evaluations=0,
            allowed_steps=int(patience.unlearned_steps),
            allowed_evaluations=patience.dormant_threshold,
            chance_of_rise=None,
            reason="too few evaluations",
        )
    seen = statistics_of(curve, patience.episodes_per_evaluation, patience.target)
    return decide(
        seen,
        patience,
        is_settled=is_settled,
        has_learned=has_learned,
        has_reached=has_reached,
        evaluation_steps=evaluation_steps,
    )


def decide(
    seen: CurveStatistics,
    patience: Patience,
    *,
    is_settled: bool = False,
    has_learned: bool = False,
    has_reached: bool = False,
    evaluation_steps: float | None = None,
) -> PatienceVerdict:
    """Return the verdict on a curve's statistics, see the module's table; arguments as of `assess`."""
    left, there = _share_left(seen, patience.target), seen.target_steps
    if there is not None and there > seen.arrival_steps and left > 0.0 and not has_reached:
        seen = replace(seen, arrival_steps=there, quiet_evaluations=seen.target_evaluations)
    phase = _phase(seen, patience, has_reached=has_reached)
    if has_learned and phase in (Phase.UNLEARNED, Phase.EMERGED):
        phase = Phase.SATURATING
    multiple, reason = _multiple(seen, patience, phase, left)
    if is_settled and phase in (Phase.EMERGED, Phase.SATURATING) and multiple > patience.constants.reached:
        multiple, reason = patience.constants.reached, "the policy has stopped changing"
    is_reached = patience.target is not None and phase is Phase.SATURATED
    since = seen.arrival_steps if is_reached else seen.rise_steps
    allowed = multiple * since
    if phase is Phase.UNLEARNED:
        allowed = max(allowed, _unlearned_steps(seen, patience))
    quiet, evaluations = seen.steps - since, _evaluations_asked(seen, patience, evaluation_steps)
    return PatienceVerdict(
        phase=phase,
        quiet_steps=round(quiet),
        quiet_evaluations=seen.quiet_evaluations,
        allowed_steps=math.ceil(allowed),
        allowed_evaluations=evaluations,
        chance_of_rise=chance_of_rise(min(quiet / max(allowed, 1.0), seen.quiet_evaluations / evaluations)),
        reason=reason,
    )


def _evaluations_asked(seen: CurveStatistics, patience: Patience, evaluation_steps: float | None) -> int:
    if evaluation_steps is None or seen.quiet_evaluations == 0:
        return patience.dormant_threshold
    stretch = (seen.steps - seen.arrival_steps) / (evaluation_steps * seen.quiet_evaluations)
    return math.ceil(patience.dormant_threshold / min(max(stretch, 1.0), MOST_STRETCH))


def _phase(seen: CurveStatistics, patience: Patience, *, has_reached: bool) -> Phase:
    rule = patience.constants
    if patience.target is not None:
        left = _share_left(seen, patience.target)
        if has_reached or left == 0.0 or seen.target_steps is not None:
            return Phase.SATURATED
        if left <= REST:
            return Phase.SATURATING
    if seen.gain <= max(rule.learned * seen.first_deviation, rule.clear * seen.noise):
        has_emerged = seen.gain > max(rule.emerged * seen.first_deviation, rule.distinct * seen.noise)
        return Phase.EMERGED if has_emerged and patience.target is None else Phase.UNLEARNED
    is_flat = seen.slope_bound < rule.nearly_flat_slope * seen.gain
    is_certain = is_flat and _certainty(seen) > rule.certainty
    return Phase.SATURATED if is_certain and patience.target is None else Phase.SATURATING


def _share_left(seen: CurveStatistics, target: float | None) -> float:
    """Return the share of the way from the first level to a target that is left; 1 without a target."""
    if target is None:
        return 1.0
    missing = target - max(seen.best, seen.level + seen.level_error)
    return min(missing / (target - (seen.best - seen.gain)), 1.0) if missing > 0.0 else 0.0


def _multiple(seen: CurveStatistics, patience: Patience, phase: Phase, left: float) -> tuple[float, str]:
    rule, target = patience.constants, patience.target
    if target is not None and phase is Phase.SATURATED:
        return rule.reached, f"the target {target:g} is reached"
    multiple = rule.saturating if target is None else rule.reached + left * (rule.below_target - rule.reached)
    if phase is Phase.UNLEARNED:
        return multiple, "no clear rise since the first evaluation"
    if target is not None:
        return multiple, f"{phase.value}, the target {target:g} is not reached"
    if phase is Phase.EMERGED:
        multiple = rule.emerging
    if phase is Phase.SATURATED:
        is_flat = seen.slope_bound < rule.flat_slope * seen.gain
        multiple = rule.saturated if is_flat else rule.nearly_saturated
    return multiple, f"{phase.value}, the last rise took {short(seen.rise_steps)} steps"


def _certainty(seen: CurveStatistics) -> float:
    if seen.episodes is None:
        return 0.0
    ratio = min(seen.gain / seen.deviation, 1_000.0) if seen.deviation > 0.0 else 1_000.0
    return ratio * (seen.episodes / EPISODES_SCALE) ** EPISODES_POWER


def _unlearned_steps(seen: CurveStatistics, patience: Patience) -> float:
    rule, steps = patience.constants, patience.unlearned_steps
    if seen.episodes:
        steps = min(steps, patience.unlearned_episodes * seen.steps / seen.episodes)
    is_visible = seen.gain > max(seen.first_deviation, rule.visible * seen.noise)
    return min(steps, rule.visible_multiple * seen.rise_steps) if is_visible and patience.target is None else steps
