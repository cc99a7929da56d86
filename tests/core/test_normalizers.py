"""Running statistics and what is scaled by them."""

import json
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.normalizers import ObsNormalizer, RawWindow, RewardNormalizer, RunningMeanStd
from tensor_optix.errors import BadDataError, CheckpointMismatchError, InvalidArgumentError


class TestRunningMeanStd:
    def test_before_anything_was_seen(self) -> None:
        stats = RunningMeanStd((2,))
        assert (stats.count, stats.mean.tolist(), stats.var.tolist()) == (0, [0.0, 0.0], [1.0, 1.0])

    @pytest.mark.parametrize("sizes", [[1000], [1] * 1000, [1, 999], [333, 333, 334], [500, 0, 500]])
    def test_any_batches_give_the_statistics_of_the_whole(self, sizes: list[int]) -> None:
        samples = np.random.default_rng(0).normal([3.0, -1e3], [0.5, 20.0], (1000, 2))
        stats, start = RunningMeanStd((2,)), 0
        for size in sizes:
            stats.update(samples[start : start + size])
            start += size
        assert stats.count == 1000
        np.testing.assert_allclose(stats.mean, samples.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(stats.var, samples.var(axis=0), rtol=1e-10)
        np.testing.assert_allclose(stats.std, samples.std(axis=0), rtol=1e-10)

    def test_a_large_offset_does_not_swallow_the_variance(self) -> None:
        stats = RunningMeanStd()
        for value in (1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3):
            stats.update(np.array([value], np.float64))
        assert float(stats.var) == pytest.approx(1.25)

    def test_images_are_counted_in_double_precision(self) -> None:
        stats = RunningMeanStd((2, 2))
        stats.update(np.full((3, 2, 2), 255, np.uint8))
        assert stats.mean.dtype == np.float64
        assert stats.mean.tolist() == [[255.0] * 2] * 2

    @pytest.mark.parametrize("batch", [np.zeros((4, 3)), np.zeros(2), 1.0, [[np.nan, 0.0]], [[np.inf, 0.0]]])
    def test_other_shapes_and_values_that_are_not_finite_are_refused_and_change_nothing(self, batch: Any) -> None:
        stats = RunningMeanStd((2,))
        stats.update([[1.0, 2.0], [3.0, 4.0]])
        before = stats.state_dict()
        with pytest.raises(BadDataError):
            stats.update(batch)
        assert stats.state_dict() == before

    def test_the_state_is_plain_json_and_comes_back_exactly(self) -> None:
        stats, twin = RunningMeanStd((3,)), RunningMeanStd((3,))
        stats.update(np.random.default_rng(1).normal(size=(7, 3)))
        twin.load_state_dict(json.loads(json.dumps(stats.state_dict())))
        np.testing.assert_array_equal(twin.mean, stats.mean)
        np.testing.assert_array_equal(twin.var, stats.var)
        for each in (stats, twin):
            each.update(np.ones((2, 3)))
        np.testing.assert_array_equal(twin.var, stats.var)

    @pytest.mark.parametrize(
        "state",
        [
            {},
            {"mean": [0.0], "var": [1.0], "count": 3},
            {"mean": [0.0, "x"], "var": [1.0, 1.0], "count": 3},
            {"mean": [0.0, 0.0], "var": [1.0, -1.0], "count": 3},
            {"mean": [0.0, None], "var": [1.0, 1.0], "count": 3},
            {"mean": [[0.0], [0.0, 1.0]], "var": [1.0, 1.0], "count": 3},
        ],
    )
    def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(self, state: dict[str, Any]) -> None:
        stats = RunningMeanStd((2,))
        before = stats.state_dict()
        with pytest.raises(CheckpointMismatchError):
            stats.load_state_dict(state)
        assert stats.state_dict() == before


class TestObsNormalizer:
    def test_by_hand(self) -> None:
        normalizer = ObsNormalizer(obs_shape=(2,), clip=1.5)
        normalizer.update([[0.0, 10.0], [2.0, 30.0]])  # mean 1, 20; standard deviation 1, 10
        np.testing.assert_allclose(normalizer.normalize([3.0, 25.0]), [1.5, 0.5], rtol=1e-6)
        np.testing.assert_allclose(normalizer.normalize([[1.0, 10.0], [-9.0, 20.0]]), [[0, -1], [-1.5, 0]], rtol=1e-6)

    def test_nothing_seen_leaves_observations_as_they_are_but_for_the_clip(self) -> None:
        np.testing.assert_allclose(ObsNormalizer((3,)).normalize([0.5, -20.0, 20.0]), [0.5, -10, 10])
        assert ObsNormalizer(3).stats.shape == (3,)  # as numpy reads shapes

    def test_one_observation_is_a_batch_of_one(self) -> None:
        one, batch = ObsNormalizer((2,)), ObsNormalizer((2,))
        one.update([1.0, 2.0])
        batch.update([[1.0, 2.0]])
        assert one.state_dict() == batch.state_dict()

    def test_a_row_is_the_same_alone_and_in_a_batch(self) -> None:
        rng = np.random.default_rng(0)
        normalizer = ObsNormalizer((5,))
        normalizer.update(rng.normal(2, 3, (100, 5)))
        rows = rng.normal(2, 3, (64, 5)).astype(np.float32)
        np.testing.assert_array_equal(normalizer.normalize(rows), [normalizer.normalize(row) for row in rows])

    def test_normalising_leaves_no_trace_and_gives_float32(self) -> None:
        normalizer = ObsNormalizer((1,))
        normalizer.update([[1.0], [2.0]])
        before = normalizer.state_dict()
        assert normalizer.normalize(np.zeros((2, 1), np.uint8)).dtype == np.float32
        assert normalizer.state_dict() == before

    @pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
    def test_bad_clip(self, clip: float) -> None:
        with pytest.raises(InvalidArgumentError, match="clip"):
            ObsNormalizer((1,), clip=clip)


def test_a_scaling_is_what_a_normaliser_computes() -> None:
    values = np.random.default_rng(0).normal(5.0, 3.0, (50, 2))
    observations, rewards = ObsNormalizer(2, clip=1.0), RewardNormalizer(clip=1.0)
    observations.update(values)
    rewards.update(values.T, np.zeros((2, 50), bool))
    raw = RawWindow(values, values, values[:, 0], observations, rewards)
    batches = {"observations": values, "next_observations": values + 1.0, "rewards": values[:, 0]}
    normalized = raw.normalized(batches)
    assert normalized.keys() == raw.scalings.keys()
    for name, scaling in raw.scalings.items():
        scaled = np.clip((batches[name] - scaling.mean) / scaling.std, -scaling.clip, scaling.clip)
        np.testing.assert_array_equal(scaled.astype(np.float32), normalized[name])
    assert RawWindow(values, values, values[:, 0], None, None).scalings == {}


class TestRewardNormalizer:
    def test_by_hand(self) -> None:
        normalizer = RewardNormalizer(gamma=0.5, clip=10.0)
        for reward in (1.0, 1.0, 2.0):  # running returns 1, 1.5, 2.75
            normalizer.step(reward)
        np.testing.assert_allclose(normalizer.normalize([1.0, -3.0]), np.array([1, -3]) / np.std([1, 1.5, 2.75]), 1e-5)

    def test_an_episodes_end_restarts_the_return(self) -> None:
        normalizer = RewardNormalizer(gamma=1.0)
        for reward, ends in ((1.0, False), (2.0, True), (5.0, False)):
            normalizer.step(reward, ends)
        assert float(normalizer.stats.mean) == pytest.approx(np.mean([1, 3, 5]))

    def test_a_reset_ends_the_episodes_in_progress_and_keeps_the_statistics(self) -> None:
        normalizer = RewardNormalizer(gamma=1.0)
        normalizer.step(4.0)
        normalizer.reset()
        normalizer.step(2.0)
        assert float(normalizer.stats.mean) == pytest.approx(3.0)

    def test_a_window_of_many_environments_equals_a_plain_loop_over_each(self) -> None:
        rng = np.random.default_rng(0)
        rewards, ends = rng.normal(size=(3, 40)), rng.random((3, 40)) < 0.2
        expected = []
        for i in range(3):
            running = 0.0
            for reward, end in zip(rewards[i], ends[i], strict=True):
                running = 0.9 * running + reward
                expected.append(running)
                running = 0.0 if end else running
        normalizer = RewardNormalizer(gamma=0.9)
        for window in (slice(0, 7), slice(7, 40)):
            normalizer.update(rewards[:, window], ends[:, window])
        assert float(normalizer.stats.mean) == pytest.approx(np.mean(expected))
        assert float(normalizer.stats.var) == pytest.approx(np.var(expected))

    def test_clipped_float32_of_the_same_shape(self) -> None:
        normalizer = RewardNormalizer(clip=2.0)
        scaled = normalizer.normalize(np.array([[100.0, -100.0, 0.5]]))
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled, [[2, -2, 0.5]])

    @pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
    def test_bad_gamma(self, gamma: float) -> None:
        with pytest.raises(InvalidArgumentError, match="gamma"):
            RewardNormalizer(gamma=gamma)
