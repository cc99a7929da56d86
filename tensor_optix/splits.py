"""Recorded data, cut by time: what is learned from, what chooses the policy, and what neither has had.

A copy of an environment that replays data plays the same rows again, whatever its seed. So data is held out by rows:

    |-------- train --------|  embargo  |-- validation --|  embargo  |-- test --|

Training learns from the first slice. Validation chooses the best policy by the second: its score there is the highest
of many, and too high. Only the third, played once when all is decided, says what the policy is worth on new data.

The embargo leaves out rows between two slices, so that none is seen from both sides: at least as many as an observation
looks back, or a reward looks ahead. Source: "Advances in Financial Machine Learning", chapter 7, López de Prado, 2018;
its usual embargo is 1 % of the rows.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.slice_pipeline import SlicePipeline
from tensor_optix.support.arguments import check_count, is_real, is_whole

EMBARGO = 0.01
"""Share of all rows that is left out between two slices."""
Series: TypeAlias = Any
"""Rows in the order of time: an array, a sequence, anything with `iloc` such as a DataFrame, or a mapping of those."""


class SplitPipelines(NamedTuple):
    """The pipelines of a split, in the order of `RLOptimizer(agent, train, validation, test_pipeline=test)`."""

    train: BatchPipeline
    validation: BasePipeline
    test: BasePipeline


@dataclass(frozen=True)
class TimeSplit:
    """Three slices of the same data, in the order of time, and where they lie in it."""

    train: Series
    """What is learned from."""
    validation: Series
    """What chooses the policy."""
    test: Series
    """What neither has had."""
    train_rows: range
    validation_rows: range
    test_rows: range

    def pipelines(
        self,
        make_env: Callable[[Series], gym.Env],
        agent: BaseAgent | None = None,
        *,
        held_out_episodes: int = 1,
        seed: int | None = None,
        **train_options: Any,
    ) -> SplitPipelines:
        """Return a pipeline over each slice.

        Training steps its slice over and over. Validation and test play theirs greedily from end to end, and normalise
        observations by training's statistics where training does.

        Args:
            make_env: returns an environment over the slice that it is given.
            agent: the acting policy; `RLOptimizer` fills it in.
            held_out_episodes: per window of validation and test; more than one where the environment has some chance.
            seed: of the episodes.
            train_options: of the training's `BatchPipeline`, such as `window_size`.

        Raises:
            ContractError: `make_env` returns no environment.
        """
        train = BatchPipeline(make_env(self.train), agent, seed=seed, **train_options)
        validation, test = (
            SlicePipeline(
                lambda rows=rows: make_env(rows),
                agent,
                n_episodes=held_out_episodes,
                seed=seed,
                observation_normalizer=train.observation_normalizer,
            )
            for rows in (self.validation, self.test)
        )
        return SplitPipelines(train, validation, test)

    def __str__(self) -> str:
        named = (("train", self.train_rows), ("validation", self.validation_rows), ("test", self.test_rows))
        return ", ".join(f"{name} {rows.start}-{rows.stop - 1}" for name, rows in named)


def split_by_time(
    data: Series, *, validation: float = 0.2, test: float = 0.2, embargo: float = EMBARGO, times: Series = None
) -> TimeSplit:
    """Cut data by time into training, validation and test.

        test = the last t rows,  validation = the v rows before e that are left out,  train = all before e more

    Args:
        data: rows in the order of time: an array, a list or another sequence, anything with `iloc` such as a DataFrame,
            or a mapping of those, which are cut alike.
        validation: v, as a number of rows, or below 1 as a share of all rows.
        test: t, as `validation`.
        embargo: e, as `validation`; it may be 0.
        times: (rows,) when each row is from, where the data has no index that says so. Rows of one time are not parted:
            those before a cut are left out.

    Raises:
        InvalidArgumentError: data that cannot be cut, is not in the order of time, or has too few rows.
    """
    n = _length(data)
    times = _checked_times(data, times, n)
    v, t, e = (
        _rows(name, size, n) for name, size in (("validation", validation), ("test", test), ("embargo", embargo))
    )
    return _split(data, times, range(max(n - t - 2 * e - v, 0)), v, t, e)


def walk_forward(
    data: Series,
    folds: int = 5,
    *,
    train: float | None = None,
    validation: float | None = None,
    test: float | None = None,
    embargo: float = EMBARGO,
    times: Series = None,
) -> tuple[TimeSplit, ...]:
    """Cut data by time into folds, each of which is tested on what comes after it.

    The test slices follow each other without a gap up to the last row, so that together they are one walk through the
    data in which each policy has seen the past only.

        fold 1:  |- train -| e |- validation -| e |- test -|
        fold 2:  |------ train -----| e |- validation -| e |- test -|

    Args:
        data: as in `split_by_time`.
        folds: how many.
        train: rows of training at most, the newest ones; None = all that came before.
        validation: rows of each fold's validation, or below 1 a share of all rows; None = as many as its test has.
        test: the same of its test; None = rows / (folds + 2).
        embargo: as in `split_by_time`.
        times: as in `split_by_time`.

    Raises:
        InvalidArgumentError: fewer than one fold, or as in `split_by_time`.
    """
    check_count("folds", folds, 1)
    n = _length(data)
    times = _checked_times(data, times, n)
    t = n // (folds + 2) if test is None else _rows("test", test, n)
    v = t if validation is None else _rows("validation", validation, n)
    e, most = _rows("embargo", embargo, n), None if train is None else _rows("train", train, n)
    ends = (n - (folds - 1 - fold) * t for fold in range(folds))
    stops = [max(end - t - 2 * e - v, 0) for end in ends]
    trained = (range(0 if most is None else max(stop - most, 0), stop) for stop in stops)
    return tuple(_split(data, times, train, v, t, e) for train in trained)


def _split(data: Series, times: Series, train: range, v: int, t: int, e: int) -> TimeSplit:
    validation = range(train.stop + e, train.stop + e + v)
    test = range(validation.stop + e, validation.stop + e + t)
    if len(train) and v and t and times is not None:
        train, validation = _before(validation, train, times), _before(test, validation, times)
    if not (len(train) and len(validation) and t):
        raise InvalidArgumentError(
            f"Each slice needs a row, but {_length(data)} rows give {len(train)} for training, {len(validation)} for "
            f"validation and {t} for the test, with {e} left out before each of the last two. Give more data, fewer "
            f"folds, or smaller slices."
        )
    return TimeSplit(_cut(data, train), _cut(data, validation), _cut(data, test), train, validation, test)


def _rows(name: str, size: object, n: int) -> int:
    """Return a number of rows that is given as such, or as a share of n."""
    if is_whole(size) and size >= 0:
        return int(size)
    if is_real(size) and 0.0 <= size < 1.0:
        return round(size * n)
    raise InvalidArgumentError(
        f"{name} must be a whole number of rows, or a share of them of at least 0 and below 1, but got {size!r}."
    )


def _length(data: Series) -> int:
    if hasattr(data, "iloc"):
        return len(data.iloc[:])
    if isinstance(data, Mapping):
        lengths = {name: _length(values) for name, values in data.items()}
        if len(set(lengths.values())) != 1:
            raise InvalidArgumentError(f"The parts of data must have one number of rows, but got {lengths}.")
        return next(iter(lengths.values()))
    is_cut = isinstance(data, Sequence) or hasattr(data, "__array__") or hasattr(data, "shape")
    if not is_cut or isinstance(data, str | bytes) or not isinstance(data, Sized):
        raise InvalidArgumentError(
            f"data must be an array, a sequence, anything with iloc (a DataFrame), or a mapping of those, but got "
            f"{type(data).__name__}. Read a generator into a list first."
        )
    return len(data)


def _cut(data: Series, rows: range) -> Series:
    if hasattr(data, "iloc"):
        return data.iloc[rows.start : rows.stop]
    if isinstance(data, Mapping):
        return {name: _cut(values, rows) for name, values in data.items()}
    return data[rows.start : rows.stop]


def _before(later: range, earlier: range, times: Series) -> range:
    """Return the rows of a slice but for those at its end that are of the time at which the later one begins."""
    stop = earlier.stop
    while stop > earlier.start and times[stop - 1] == times[later.start]:
        stop -= 1
    return range(earlier.start, stop)


def _checked_times(data: Series, times: Series, n: int) -> Series:
    """Return when each row is from; None where nothing says so."""
    if times is not None:
        if len(times) != n:
            raise InvalidArgumentError(f"times must have one entry per row, but got {len(times)} for {n} rows.")
        times = list(times)
        told = [times]
        is_ordered = all(earlier <= later for earlier, later in itertools.pairwise(times))
    else:
        parts = data.values() if isinstance(data, Mapping) else [data]
        indexes = [part.index for part in parts if hasattr(getattr(part, "index", None), "is_monotonic_increasing")]
        told = indexes
        is_ordered = all(index.is_monotonic_increasing for index in indexes)
        times = indexes[0] if indexes else None
        if getattr(times, "nlevels", 1) > 1:  # of dates, and what was seen at each
            times = times.get_level_values(0)
    if not is_ordered:
        if any(time != time for index in told for time in index):  # as NaN and NaT are
            raise InvalidArgumentError(
                "Some rows have no time (NaT, NaN), so that their place is not known. Leave them out (a DataFrame: "
                "data[data.index.notna()])."
            )
        raise InvalidArgumentError(
            "data must be in the order of time, but its rows are not. Sort it first (a DataFrame: data.sort_index())."
        )
    return times if n and times is not None and times[0] != times[n - 1] else None
