"""Data cut by time: no row is in two slices, and none of the future is in an earlier one."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import BaseEvaluator, EvalMetrics, RLOptimizer, TimeSplit, split_by_time, walk_forward
from tensor_optix.errors import ContractError, InvalidArgumentError
from tests.fakes.environments import Replay
from tests.helpers import NumpyAgent

ROWS = np.arange(100)


class Frame:
    """What a DataFrame has of all this: positions by `iloc`, and an index."""

    def __init__(self, values: Any, index: Any = None, columns: int = 2) -> None:
        self.values, self.columns = np.asarray(values), columns
        labels = range(len(values)) if index is None else index
        self.index = labels if isinstance(labels, Index) else Index(labels)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, column: Any) -> Any:
        raise KeyError(column)  # a slice would be by label

    @property
    def iloc(self) -> Any:
        return ByPosition(self)


class Index:
    def __init__(self, labels: Any) -> None:
        self.labels = list(labels)

    @property
    def is_monotonic_increasing(self) -> bool:
        return self.labels == sorted(self.labels)

    def __getitem__(self, row: int) -> Any:
        return self.labels[row]


class Levels(Index):
    """Of dates, and of what was seen at each."""

    nlevels = 2

    def get_level_values(self, level: int) -> Index:
        return Index([label[level] for label in self.labels])


class ByPosition:
    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def __getitem__(self, rows: slice) -> Frame:
        return Frame(self.frame.values[rows], self.frame.index.labels[rows])


def slices(split: TimeSplit) -> list[list[int]]:
    return [list(part) for part in (split.train, split.validation, split.test)]


class TestSplitByTime:
    def test_shares_and_rows(self) -> None:
        by_share = split_by_time(ROWS, validation=0.2, test=0.1, embargo=0.05)
        by_rows = split_by_time(ROWS, validation=20, test=10, embargo=5)
        assert slices(by_share) == slices(by_rows)
        assert (by_rows.train_rows, by_rows.validation_rows, by_rows.test_rows) == (
            range(60),
            range(65, 85),
            range(90, 100),
        )
        assert str(by_rows) == "train 0-59, validation 65-84, test 90-99"

    def test_the_embargo_is_one_percent_if_nothing_is_said(self) -> None:
        split = split_by_time(range(1000))
        assert (split.train_rows.stop, split.validation_rows.start) == (580, 590)
        assert split.test_rows.start - split.validation_rows.stop == 10

    @pytest.mark.parametrize(
        "data",
        [ROWS, list(ROWS), tuple(ROWS), range(100), np.stack([ROWS, -ROWS], axis=1), memoryview(bytes(range(100)))],
    )
    def test_each_kind_of_rows_is_cut(self, data: Any) -> None:
        split = split_by_time(data, embargo=0)
        assert [len(part) for part in (split.train, split.validation, split.test)] == [60, 20, 20]
        assert type(split.train) is type(data)

    def test_a_frame_is_cut_by_position(self) -> None:
        split = split_by_time(Frame(ROWS, index=ROWS + 7000), embargo=0)
        assert isinstance(split.test, Frame)
        assert (list(split.test.values), split.test.index.labels[0]) == (list(range(80, 100)), 7080)

    def test_parts_are_cut_alike(self) -> None:
        split = split_by_time({"prices": ROWS, "features": Frame(ROWS * 2), "names": [str(n) for n in ROWS]}, embargo=0)
        assert list(split.validation["prices"]) == list(range(60, 80))
        assert list(split.validation["features"].values) == list(range(120, 160, 2))
        assert split.validation["names"][0] == "60"

    @pytest.mark.parametrize("data", ["a text", b"bytes", 5, iter(range(9)), {1, 2, 3}, None])
    def test_what_has_no_rows_in_order_is_refused(self, data: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="data must be an array"):
            split_by_time(data)

    def test_parts_of_several_lengths_are_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"one number of rows, but got .*'b': 99"):
            split_by_time({"a": ROWS, "b": ROWS[1:]})

    @pytest.mark.parametrize(
        "shuffled",
        [
            {"data": Frame(ROWS, index=ROWS[::-1])},
            {"data": ROWS, "times": ROWS[::-1]},
            {"data": {"prices": ROWS, "features": Frame(ROWS, index=ROWS[::-1])}},
        ],
    )
    def test_rows_out_of_the_order_of_time_are_refused(self, shuffled: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=r"order of time.*sort_index"):
            split_by_time(**shuffled)

    def test_rows_without_a_time_are_refused(self) -> None:
        times = [float(row) for row in range(len(ROWS))]
        times[7] = float("nan")
        with pytest.raises(InvalidArgumentError, match=r"no time \(NaT, NaN\).*data\.index\.notna"):
            split_by_time(ROWS, times=times)

    @pytest.mark.parametrize(
        "dated",
        [
            {"data": ROWS, "times": ROWS // 3},
            {"data": Frame(ROWS, index=ROWS // 3)},
            {"data": Frame(ROWS, index=Levels(zip(ROWS // 3, ROWS % 3, strict=True)))},
            {"data": {"prices": ROWS, "features": Frame(ROWS, index=ROWS // 3)}},
        ],
    )
    def test_rows_of_one_time_are_in_one_slice(self, dated: Any) -> None:
        split = split_by_time(**dated, embargo=0)
        assert (split.train_rows, split.validation_rows, split.test_rows) == (range(60), range(60, 78), range(80, 100))
        split = split_by_time(**dated, validation=21, test=20, embargo=0)
        assert split.train_rows == range(57)

    def test_an_index_that_is_all_the_same_says_nothing(self) -> None:
        split = split_by_time(Frame(ROWS, index=ROWS * 0), embargo=0)
        assert (split.train_rows, split.test_rows) == (range(60), range(80, 100))

    def test_times_of_another_length_are_refused(self) -> None:
        with pytest.raises(InvalidArgumentError, match="one entry per row, but got 99 for 100"):
            split_by_time(ROWS, times=ROWS[1:])

    @pytest.mark.parametrize("name", ["validation", "test", "embargo"])
    @pytest.mark.parametrize("size", [-1, 1.0, -0.1, float("nan"), "half", None, True])
    def test_a_size_that_is_none_is_refused(self, name: str, size: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=f"{name} must be a whole number of rows, or a share"):
            split_by_time(ROWS, **{name: size})

    @pytest.mark.parametrize("sizes", [{"validation": 60, "test": 60}, {"test": 0}, {"validation": 0}, {"embargo": 40}])
    def test_a_slice_without_a_row_is_refused(self, sizes: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="Each slice needs a row, but 100 rows give"):
            split_by_time(ROWS, **sizes)


class TestWalkForward:
    @pytest.mark.parametrize("folds", [1, 2, 5])
    def test_tests_follow_each_other_to_the_last_row(self, folds: int) -> None:
        found = walk_forward(range(1000), folds)
        assert len(found) == folds
        tested = [row for fold in found for row in fold.test]
        assert tested == list(range(tested[0], 1000))
        for fold in found:
            past, chosen, future = slices(fold)
            assert past[-1] + 11 == chosen[0]
            assert chosen[-1] + 11 == future[0]

    def test_all_that_came_before_is_learned_from_or_the_newest_of_it(self) -> None:
        growing, rolling = walk_forward(range(1000), 3), walk_forward(range(1000), 3, train=100)
        assert [fold.train_rows.start for fold in growing] == [0, 0, 0]
        assert all(a.train_rows.stop < b.train_rows.stop for a, b in itertools.pairwise(growing))
        assert [len(fold.train) for fold in rolling] == [100, 100, 100]
        assert [fold.train_rows.stop for fold in rolling] == [fold.train_rows.stop for fold in growing]

    def test_sizes_may_be_given(self) -> None:
        (first, second) = walk_forward(ROWS, 2, validation=10, test=20, embargo=0)
        assert (first.validation_rows, first.test_rows) == (range(50, 60), range(60, 80))
        assert (second.validation_rows, second.test_rows) == (range(70, 80), range(80, 100))

    @pytest.mark.parametrize(("folds", "message"), [(0, "folds must be"), (2.5, "folds must be"), (200, "needs a row")])
    def test_folds_that_cannot_be_are_refused(self, folds: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            walk_forward(ROWS, folds)


class Long(NumpyAgent):
    """Whoever holds: action 1."""

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return np.ones(len(observations), int)

    def act(self, observation: Any) -> int:
        return 1


class Sharpe(BaseEvaluator):
    def score(self, episode_data: Any, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        rewards = np.asarray(episode_data.rewards, float)
        return EvalMetrics(float(rewards.mean() / (rewards.std() + 1e-8)), {}, episode_data.episode_id)


class TestPipelines:
    def test_each_slice_is_played_by_its_own_pipeline(self) -> None:
        pipelines = split_by_time(np.arange(100.0), embargo=0).pipelines(Replay, Long(), window_size=59)
        seen = [next(iter(pipeline.episodes())).observations[:, 0] for pipeline in pipelines]
        assert [(rows[0], len(rows)) for rows in seen] == [(0.0, 59), (60.0, 19), (80.0, 19)]

    def test_held_out_slices_are_normalised_by_training(self) -> None:
        split = split_by_time(np.arange(100.0) % 7, embargo=0)
        train, *held_out = split.pipelines(Replay, Long(), window_size=59, normalize_observations=True)
        next(iter(train.episodes()))
        before = train.state_dict()
        assert train.observation_normalizer is not None
        for pipeline, rows in zip(held_out, (split.validation, split.test), strict=True):
            expected = train.observation_normalizer.normalize(rows[:-1, None].astype(np.float32))
            np.testing.assert_allclose(next(iter(pipeline.episodes())).observations, expected, rtol=1e-5)
        assert train.state_dict() == before

    def test_a_factory_that_makes_no_environment_is_named(self) -> None:
        with pytest.raises(ContractError, match="env must be a Gymnasium environment"):
            split_by_time(ROWS).pipelines(lambda rows: rows)  # type: ignore[arg-type, return-value]


def trained(folder: Path, rows: np.ndarray, **options: Any) -> Any:
    train, validation, test = split_by_time(rows).pipelines(Replay, window_size=100)
    arguments = {"test_pipeline": test, "evaluator": Sharpe(), "checkpoint_dir": folder, "max_episodes": 4, **options}
    return RLOptimizer(Long(), train, validation, **arguments).run()


def test_the_test_is_reported_once_at_the_end_with_its_interval(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(size=1000)
    report = trained(tmp_path, noise)
    played = noise[800:][:-1]
    assert report.test.score == pytest.approx(played.mean() / (played.std() + 1e-8))
    assert report.test.interval.low < 0.0 < report.test.interval.high
    assert report.test.steps == 199
    assert not report.confirmed  # the validation slice has chosen it
    assert "Test score" in str(report)
    assert "199 steps that nothing was chosen by" in str(report)
    assert type(report).from_dict(report.to_dict()).test == report.test


def test_without_a_test_pipeline_there_is_no_test_score(tmp_path: Path) -> None:
    report = trained(tmp_path, np.random.default_rng(3).normal(size=1000), test_pipeline=None)
    assert report.test is None
    assert "Test score" not in str(report)
