"""What every pipeline must keep: inherit, and give a fixture `pipeline` with an agent in it."""

import itertools
import json

import numpy as np
import pytest

from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.types import EpisodeData
from tensor_optix.support.trees import leaves


class PipelineContract:
    @pytest.fixture
    def windows(self, pipeline: BasePipeline) -> list[EpisodeData]:
        pipeline.setup()
        windows = list(itertools.islice(pipeline.episodes(), 4))
        pipeline.teardown()
        return windows

    def test_rows_agree_in_number(self, windows: list[EpisodeData]) -> None:
        for window in windows:
            for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations", "infos"):
                assert all(len(column) == window.length > 0 for column in leaves(getattr(window, name))), name

    def test_windows_are_numbered(self, windows: list[EpisodeData]) -> None:
        assert [window.episode_id for window in windows] == [0, 1, 2, 3]

    def test_observations_follow_each_other_within_a_segment(self, windows: list[EpisodeData]) -> None:
        for window in windows:
            follows = ~window.segment_ends()[:-1]
            for after, now in zip(leaves(window.next_observations), leaves(window.observations), strict=True):
                np.testing.assert_array_equal(after[:-1][follows], now[1:][follows])

    def test_masks_are_there_for_both_observations_or_for_none(self, windows: list[EpisodeData]) -> None:
        for window in windows:
            assert (window.action_masks is None) == (window.next_action_masks is None)
            for masks in (window.action_masks, window.next_action_masks):
                assert masks is None or (masks.dtype == bool and masks.shape[0] == window.length and masks.ndim == 2)

    def test_the_state_comes_back(self, pipeline: BasePipeline) -> None:
        pipeline.setup()
        list(itertools.islice(pipeline.episodes(), 2))
        state = pipeline.state_dict()
        next(iter(pipeline.episodes()))
        pipeline.load_state_dict(json.loads(json.dumps(state)))
        assert pipeline.state_dict() == state
        pipeline.teardown()

    def test_completed_episodes_match_the_flags(self, windows: list[EpisodeData]) -> None:
        for window in windows:
            assert window.completed is not None
            assert len(window.completed) == int(window.dones.sum())
        assert sum(len(window.completed or ()) for window in windows) > 0

    def test_every_step_is_in_exactly_one_episode(self, windows: list[EpisodeData]) -> None:
        steps = sum(window.length for window in windows)
        in_completed = sum(episode.length for window in windows for episode in window.completed or ())
        assert in_completed <= steps

    def test_goes_on_where_an_iterator_was_left(self, pipeline: BasePipeline) -> None:
        pipeline.setup()
        first = next(iter(pipeline.episodes()))
        second = next(iter(pipeline.episodes()))
        assert (first.episode_id, second.episode_id) == (0, 1)
        pipeline.teardown()

    def test_teardown_may_be_called_twice(self, pipeline: BasePipeline) -> None:
        pipeline.setup()
        pipeline.teardown()
        pipeline.teardown()
