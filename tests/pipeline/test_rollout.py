"""Steps in, windows out: what the builder promises about edges, episodes and final observations."""

import json

import numpy as np

from tensor_optix.core.types import EpisodeData, EpisodeSummary
from tensor_optix.pipeline._rollout import RolloutBuilder, VectorRolloutBuilder

Step = tuple[float, float, bool, bool, float]
"""(observation, reward, terminated, truncated, what the environment returned)"""


def add(builder: RolloutBuilder, steps: list[Step]) -> None:
    for observation, reward, terminated, truncated, following in steps:
        builder.add(
            np.array([observation], np.float32),
            int(observation) % 2,
            reward,
            terminated,
            truncated,
            {"at": observation},
            np.array([following], np.float32),
        )


def window(builder: RolloutBuilder, steps: list[Step], window_id: int, next_observation: float) -> EpisodeData:
    add(builder, steps)
    return builder.build(window_id, np.array([next_observation], np.float32))


def test_a_window_holds_the_steps_as_they_were_added() -> None:
    data = window(RolloutBuilder(), [(0, 1.5, False, False, 1), (1, -2.0, False, False, 2)], 7, 2)
    assert data.episode_id == 7
    assert data.length == 2
    np.testing.assert_array_equal(data.observations, [[0], [1]])
    np.testing.assert_array_equal(data.actions, [0, 1])
    np.testing.assert_array_equal(data.rewards, [1.5, -2.0])
    assert [info["at"] for info in data.infos] == [0, 1]
    assert data.observations.dtype == data.next_observations.dtype == np.float32


def test_the_last_row_of_an_unfinished_window_is_followed_by_the_observation_given_at_its_edge() -> None:
    data = window(RolloutBuilder(), [(0, 0, False, False, 1), (1, 0, False, False, 2)], 0, 2)
    np.testing.assert_array_equal(data.next_observations, [[1], [2]])
    assert data.completed == ()


def test_a_finished_episode_is_followed_by_its_own_last_observation_and_never_by_the_next_episode() -> None:
    # The episodes 0-1 (ends in 99) and 10-11 (ends in 88) stand next to each other.
    data = window(
        RolloutBuilder(),
        [
            (0, 0, False, False, 1),
            (1, 0, True, False, 99),
            (10, 0, False, False, 11),
            (11, 0, False, True, 88),
            (20, 0, False, False, 21),
        ],
        0,
        21,
    )
    np.testing.assert_array_equal(data.next_observations.ravel(), [1, 99, 11, 88, 21])


def test_an_episode_that_ends_on_the_windows_edge_keeps_its_own_last_observation() -> None:
    data = window(RolloutBuilder(), [(0, 0, False, False, 1), (1, 0, True, False, 99)], 0, next_observation=10)
    np.testing.assert_array_equal(data.next_observations.ravel(), [1, 99])


def test_terminated_and_truncated_stay_apart() -> None:
    data = window(
        RolloutBuilder(),
        [(0, 0, True, False, 9), (1, 0, False, True, 9), (2, 0, True, True, 9), (3, 0, False, False, 4)],
        0,
        4,
    )
    np.testing.assert_array_equal(data.terminated, [True, False, True, False])
    np.testing.assert_array_equal(data.truncated, [False, True, True, False])
    assert data.terminated.dtype == data.truncated.dtype == bool


def test_an_episode_counts_the_part_collected_in_earlier_windows() -> None:
    builder = RolloutBuilder()
    first = window(builder, [(0, 1, False, False, 1), (1, 2, False, False, 2)], 0, 2)
    second = window(builder, [(2, 4, False, False, 3), (3, 8, False, False, 4)], 1, 4)
    third = window(builder, [(4, 16, True, False, 5), (0, 100, True, False, 1)], 2, 0)
    assert first.completed == second.completed == ()
    assert third.completed == (EpisodeSummary(31.0, 5), EpisodeSummary(100.0, 1))


def test_a_long_return_is_summed_in_double_precision() -> None:
    builder = RolloutBuilder()
    add(builder, [(0, 1e8, False, False, 1)])
    add(builder, [(0, 1.0, i == 9, False, 1) for i in range(10)])
    (episode,) = builder.build(0, np.zeros(1)).completed or ()
    assert episode.total_return == 1e8 + 10


def test_a_new_window_begins_empty() -> None:
    builder = RolloutBuilder()
    window(builder, [(0, 0, True, False, 1), (1, 0, False, False, 2)], 0, 2)
    assert len(builder) == 0
    assert builder.episodes_completed == 0
    data = window(builder, [(2, 0, False, False, 3)], 1, 3)
    np.testing.assert_array_equal(data.observations, [[2]])
    np.testing.assert_array_equal(data.next_observations, [[3]])
    assert len(data.infos) == 1


def test_episodes_completed_counts_the_ends_of_the_present_window() -> None:
    builder = RolloutBuilder()
    counts = []
    for step in [(0, 0, False, False, 1), (1, 0, True, False, 2), (0, 0, False, True, 1)]:
        add(builder, [step])
        counts.append((len(builder), builder.episodes_completed))
    assert counts == [(1, 0), (2, 1), (3, 2)]


def test_the_same_steps_cut_anywhere_join_into_the_same_rows() -> None:
    rng = np.random.default_rng(0)
    ends = rng.random(40) < 0.2
    steps: list[Step] = [
        (float(i), float(rng.normal()), bool(end), False, 1000.0 + i if end else i + 1.0) for i, end in enumerate(ends)
    ]
    whole = window(RolloutBuilder(), steps, 0, 40.0)
    for cut in (1, 7, 39):
        builder = RolloutBuilder()
        parts = [window(builder, steps[:cut], 0, float(cut)), window(builder, steps[cut:], 1, 40.0)]
        for name in ("observations", "next_observations", "rewards", "terminated"):
            np.testing.assert_array_equal(
                np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name), err_msg=name
            )
        assert (parts[0].completed or ()) + (parts[1].completed or ()) == whole.completed
        assert whole.completed


def test_masks_follow_as_observations_do() -> None:
    builder = RolloutBuilder()
    masks = np.eye(5, dtype=bool)
    for row, ends in enumerate((False, True, False)):
        final = masks[4] if ends else masks[row + 1]
        builder.add(np.zeros(1), 0, 0.0, ends, False, {}, np.zeros(1), masks[row], final)
    data = builder.build(0, np.zeros(1), masks[3])
    np.testing.assert_array_equal(data.action_masks, masks[[0, 1, 2]])
    np.testing.assert_array_equal(data.next_action_masks, masks[[1, 4, 3]])
    assert window(builder, [(0, 0, False, False, 1)], 1, 1).action_masks is None


class Vector:
    """Environments that last `lengths` steps, the observation being 10·environment + steps since it began."""

    def __init__(self, lengths: list[int], resets: bool) -> None:
        self.lengths, self.resets = lengths, resets
        self.builder = VectorRolloutBuilder(len(lengths), resets)
        self.at = [0] * len(lengths)

    def observations(self) -> np.ndarray:
        return np.array([[10.0 * i + at] for i, at in enumerate(self.at)])

    def step(self) -> None:
        before, lengths = self.observations(), self.lengths
        resetting = [self.resets and at == length for at, length in zip(self.at, lengths, strict=True)]
        self.at = [0 if reset else at + 1 for reset, at in zip(resetting, self.at, strict=True)]
        ended = [at == length for at, length in zip(self.at, lengths, strict=True)]
        finals = {} if self.resets else {i: self.observations()[i] for i, end in enumerate(ended) if end}
        rewards = [1000.0 if reset else 1.0 for reset in resetting]
        if not self.resets:
            self.at = [0 if end else at for end, at in zip(ended, self.at, strict=True)]
        self.builder.add(before, np.zeros(len(lengths)), rewards, ended, [False] * len(lengths), {}, finals)

    def window(self, size: int) -> EpisodeData:
        while missing := self.builder.missing(size):
            for _ in range(missing):
                self.step()
        return self.builder.build(0, self.observations(), size)


def test_environments_that_reset_for_a_step_get_ahead_and_keep_what_they_collected() -> None:
    for resets in (False, True):
        vector = Vector([2, 100], resets)
        first, second = vector.window(4), vector.window(4)
        np.testing.assert_array_equal(first.observations.ravel(), [0, 1, 0, 1, 10, 11, 12, 13])
        np.testing.assert_array_equal(first.next_observations.ravel(), [1, 2, 1, 2, 11, 12, 13, 14])
        np.testing.assert_array_equal(second.observations.ravel(), [0, 1, 0, 1, 14, 15, 16, 17])
        assert first.completed == second.completed == (EpisodeSummary(2.0, 2),) * 2
        assert first.n_envs == 2
        assert vector.builder.missing(1) == 1  # the one that resets has nothing in hand


def test_no_step_is_kept_twice() -> None:
    vector = Vector([1, 3, 50], resets=True)
    for _ in range(20):
        window = vector.window(5)
        assert window.rewards.max() == 1.0  # no reset among the steps
    held = {len(steps) for steps in vector.builder._steps.values()}
    assert len(held) == 1
    assert held.pop() <= 20 * 5 * 2  # what the slowest of them cost the others


def test_the_last_info_of_an_episode_tells_its_success() -> None:
    builder, seen = RolloutBuilder(), np.zeros(1, np.float32)
    for info, ends in (({"is_success": False}, False), ({"is_success": True}, True), ({}, True)):
        builder.add(seen, 0, 1.0, ends, False, info, seen)
    assert [one.success for one in builder.build(0, seen).completed or ()] == [True, None]


def test_environments_tell_their_success_also_after_a_resume() -> None:
    builder, observations = VectorRolloutBuilder(2, False), np.zeros((2, 1))
    infos, finals = {0: {"is_success": True}}, {0: observations[0], 1: observations[1]}
    builder.add(observations, np.ones(2), [1.0, 1.0], [True, True], [False, False], infos, finals)
    resumed = VectorRolloutBuilder(2, False)
    resumed.restore(json.loads(json.dumps(builder.state())))
    for one in (builder, resumed):
        assert [summary.success for summary in one.build(0, observations, 1).completed or ()] == [True, None]


def test_a_state_from_before_success_was_told_is_restored() -> None:
    builder = VectorRolloutBuilder(1, False)
    state = builder.state()
    builder.restore({**state, "completed": [[0, 0, 2.0, 5]]})
    assert builder.state()["completed"] == [[0, 0, 2.0, 5, None]]
