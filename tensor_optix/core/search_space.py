"""What may be tuned, and how far: the only place that knows scales, bounds and integers."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

from tensor_optix.errors import HyperparamError, InvalidArgumentError, did_you_mean
from tensor_optix.support.arguments import is_real, is_whole


@dataclass(frozen=True)
class Signal:
    """A diagnostic that grows with a hyper-parameter, and the range in which it is healthy.

    It tells at once, and without the noise of scores, that the parameter is far too small (the diagnostic is below
    `low`) or far too large (above `high`).

    Args:
        diagnostic: its name in `EvalMetrics.metrics`, as `learn` reports it.
        low: below it the parameter is too small.
        high: above it the parameter is too large.
        order: the diagnostic grows like the parameter to this power.
        uncertainty: name of the diagnostic that says how uncertain the policy still is. A policy that has converged
            hardly moves, whatever the parameter, so a low diagnostic then says nothing.

    Raises:
        InvalidArgumentError: a range or an order that is not positive and finite.
    """

    diagnostic: str
    low: float
    high: float
    order: float = 1.0
    uncertainty: str = "entropy"

    def __post_init__(self) -> None:
        if not (0.0 < self.low < self.high < math.inf and 0.0 < self.order < math.inf):
            raise InvalidArgumentError(
                f"A Signal needs `0 < low < high` and a positive order, but got low={self.low!r}, high={self.high!r}, "
                f"order={self.order!r}."
            )

    def correction(self, metrics: Mapping[str, float]) -> float:
        """Return the factor that brings the diagnostic back to the nearer end of its range, 1 where it is healthy.

        1 too where it is not a positive number: nothing was measured.
        """
        measured = metrics.get(self.diagnostic, math.nan)
        if not (is_real(measured) and measured > 0.0):
            return 1.0
        target = min(max(measured, self.low), self.high)
        return (target / measured) ** (1.0 / self.order)


@dataclass(frozen=True)
class Param:
    """The range in which one hyper-parameter may be tuned.

    Args:
        low: smallest value, inclusive.
        high: largest value, inclusive.
        scale: `"linear"`, or `"log"` where factors matter and not differences (then `low > 0`).
        integer: True where only whole numbers make sense.
        signal: a diagnostic that says when the value is far off; only on a log scale.

    Raises:
        InvalidArgumentError: bounds that are not finite, not ordered, or not positive on a log scale; a signal on a
            linear scale.
    """

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False
    signal: Signal | None = None

    def __post_init__(self) -> None:
        if self.signal is not None and self.scale != "log":
            raise InvalidArgumentError("A Param with a signal needs scale='log': it is corrected by factors.")
        if self.scale not in ("linear", "log"):
            raise InvalidArgumentError(f"Param scale must be 'linear' or 'log', but got {self.scale!r}.")
        if not (is_real(self.low) and is_real(self.high) and self.low < self.high):
            raise InvalidArgumentError(
                f"Param bounds must be finite with `low < high`, but got low={self.low!r}, high={self.high!r}."
            )
        if self.scale == "log" and self.low <= 0:
            raise InvalidArgumentError(f"A log-scale Param needs `low > 0`, but got low={self.low!r}.")
        if self.integer and math.ceil(self.low) > math.floor(self.high):
            raise InvalidArgumentError(f"No whole number lies between low={self.low!r} and high={self.high!r}.")

    def clip(self, value: float) -> float | int:
        """Return the value inside the bounds nearest to `value`, whole where `integer`.

        Raises:
            HyperparamError: `value` is not a finite number.
        """
        if not is_real(value):
            raise HyperparamError(f"A hyper-parameter in [{self.low:g}, {self.high:g}] cannot be {value!r}.")
        if self.integer:
            return int(min(max(round(value), math.ceil(self.low)), math.floor(self.high)))
        return float(min(max(value, self.low), self.high))

    def perturb(self, value: float, *, scale: float, min_delta: float, direction: int) -> float | int:
        """Return `value` moved by one step, inside the bounds.

        Linear: `value ± max(scale·|value|, min_delta)`. Log: `value·(1 + scale)^±1`. Whole numbers move by 1 or more.

        Args:
            value: where to start from.
            scale: relative size of the step, e.g. 0.1 for a tenth.
            min_delta: smallest step on a linear scale, in the parameter's own units.
            direction: +1 or -1.
        """
        if self.scale == "log":
            moved = value * (1.0 + scale) ** direction
        else:
            moved = value + direction * max(scale * abs(value), min_delta)
        if self.integer and abs(moved - value) < 1.0:
            moved = value + direction
        return self.clip(moved)

    def mirrored(self, value: float, *, around: float) -> float | int:
        """Return the value as far from `around` as `value` is, on the other side, inside the bounds.

        Linear: `2·around − value`. Log: `around²/value`.
        """
        return self.clip(around * around / value if self.scale == "log" else 2.0 * around - value)

    def to_unit(self, value: float) -> float:
        """Map the range onto [0, 1], along its scale."""
        low, high, value = self._on_scale(self.low), self._on_scale(self.high), self._on_scale(self.clip(value))
        return (value - low) / (high - low) if low < high else 0.0  # two neighbours may have one logarithm

    def from_unit(self, unit: float) -> float | int:
        """Map [0, 1] back onto the range; the inverse of `to_unit` up to rounding of integers."""
        low, high = self._on_scale(self.low), self._on_scale(self.high)
        value = low + min(max(unit, 0.0), 1.0) * (high - low)
        return self.clip(math.exp(value) if self.scale == "log" else value)

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else float(value)


_MISSPELT = 0.88
"""So alike two names are that one is taken for the other misspelt; foreign keys are legitimate below that."""

Bounds: TypeAlias = Mapping[str, Param | tuple[float, float]]


class SearchSpace(Mapping[str, Param]):
    """An immutable, ordered set of named `Param`s; a `(low, high)` pair stands for a linear one.

    A pair says nothing of whole numbers: `fitted` does, once the values in force are known.
    """

    def __init__(self, bounds: Bounds) -> None:
        if not (isinstance(bounds, Mapping) and all(isinstance(name, str) for name in bounds)):
            raise InvalidArgumentError(f"param_bounds must map names to Param or (low, high), but got {bounds!r}.")
        self._params: dict[str, Param] = {}
        for name, bound in bounds.items():
            self._params[name] = bound if isinstance(bound, Param) else _pair_to_param(name, bound)
        pairs = {name for name, bound in bounds.items() if not isinstance(bound, Param)}
        self._pairs = bounds._pairs if isinstance(bounds, SearchSpace) else pairs
        """The names that were given as pairs."""

    def __getitem__(self, name: str) -> Param:
        return self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def __repr__(self) -> str:
        return f"SearchSpace({self._params!r})"

    def fitted(self, params: Mapping[str, object]) -> "SearchSpace":
        """Return the space in which a pair of whole bounds stands for whole numbers where the value in force is an int.

        Args:
            params: the agent's hyper-parameters.
        """
        pairs = {name: self[name] for name in self._pairs if is_whole(params.get(name))}
        whole = {n: p for n, p in pairs.items() if float(p.low).is_integer() and float(p.high).is_integer()}
        return self.changed({name: replace(param, integer=True) for name, param in whole.items()})

    def changed(self, params: Mapping[str, Param]) -> "SearchSpace":
        """Return the space with other ranges for some of its names."""
        changed = SearchSpace(self)
        changed._params |= {name: params[name] for name in self if name in params}
        return changed

    def check_names(self, params: Mapping[str, object]) -> None:
        """Raise `HyperparamError` if a tunable name is not among the agent's hyper-parameters `params`."""
        for name in self:
            if name not in params:
                raise HyperparamError(
                    f"param_bounds names {name!r}, which the agent does not have.{did_you_mean(name, params)} "
                    f"It has: {', '.join(sorted(params))}."
                )
            if not is_real(params[name]):
                raise HyperparamError(f"param_bounds names {name!r}, but its value {params[name]!r} is not a number.")


@dataclass(frozen=True, kw_only=True)
class Hyperparam:
    """One row of an algorithm's table: default, accepted range, tuning range and meaning."""

    default: float
    low: float
    high: float
    doc: str
    integer: bool = False
    low_open: bool = False
    """True where `low` itself is not accepted."""
    tune: Param | None = None
    """The range in which an optimizer may move it; None = it is not tuned by default."""

    def check(self, name: str, value: object, owner: str) -> float | int:
        """Return `value` as a float or an int, or raise `HyperparamError` naming the rule."""
        kind = "an integer" if self.integer else "a number"
        rule = f"must be {kind} in {'(' if self.low_open else '['}{self.low:g}, {self.high:g}]"
        if not is_real(value) or (self.integer and value != int(value)):
            raise HyperparamError(f"{owner}: hyper-parameter {name!r} {rule}, but got {value!r}.")
        if not self.low <= value <= self.high or (self.low_open and value == self.low):
            raise HyperparamError(f"{owner}: hyper-parameter {name!r} {rule}, but got {value!r}.")
        return int(value) if self.integer else float(value)


class HyperparamTable(Mapping[str, Hyperparam]):
    """The hyper-parameters of one algorithm, declared once: defaults, checks, tuning bounds and documentation."""

    def __init__(self, owner: str, rows: Mapping[str, Hyperparam]) -> None:
        self.owner = owner
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> Hyperparam:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def resolve(self, params: Mapping[str, object]) -> dict[str, Any]:
        """Return all values: the given ones checked, the missing ones at their defaults, foreign keys kept as they are.

        Raises:
            HyperparamError: a value that is not finite, not of its kind or out of range; a foreign key that looks like
                a misspelt one of the table.
        """
        for name in params:
            hint = "" if name in self._rows else did_you_mean(name, self._rows, cutoff=_MISSPELT)
            if hint:
                raise HyperparamError(
                    f"Unknown hyper-parameter {name!r} for {self.owner}.{hint} Known: {', '.join(self._rows)}."
                )
        resolved = {name: row.check(name, params.get(name, row.default), self.owner) for name, row in self.items()}
        return resolved | {name: value for name, value in params.items() if name not in self._rows}

    @property
    def tunable(self) -> SearchSpace:
        """The rows that an optimizer may move."""
        return SearchSpace({name: row.tune for name, row in self.items() if row.tune is not None})

    def describe(self) -> str:
        """Return the table as Markdown."""
        lines = ["| Key | Default | Accepted | Tuned in | Meaning |", "|---|---|---|---|---|"]
        for name, row in self.items():
            accepted = f"{'(' if row.low_open else '['}{row.low:g}, {row.high:g}]"
            tuned = f"[{row.tune.low:g}, {row.tune.high:g}] {row.tune.scale}" if row.tune else "-"
            lines.append(f"| `{name}` | `{row.default:g}` | {accepted} | {tuned} | {row.doc} |")
        return "\n".join(lines)


def _pair_to_param(name: str, bound: object) -> Param:
    try:
        low, high = cast(tuple[float, float], bound)
        if isinstance(bound, str) or isinstance(low, str) or isinstance(high, str):
            raise TypeError
        return Param(low, high)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"param_bounds[{name!r}]: {error}") from None
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"param_bounds[{name!r}] must be a Param or a (low, high) pair, but got {bound!r}."
        ) from None
