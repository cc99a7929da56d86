"""Bad steps end their episode: what was collected before is kept, and nothing of them is acted on or learned from."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from tensor_optix import BatchPipeline, RLOptimizer, VectorBatchPipeline
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.faults import BadStepsError
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tests.helpers import NumpyAgent

LENGTH = 5


class InvalidSteps(gym.Env):
    """Episodes of five steps; observation = [episode, step], reward = 10·episode + step; `bad` says what is invalid.

    Args:
        bad: (episode, step) -> what to put in the place of a field: "observation", "reward", "terminated", "returned".
    """

    observation_space = spaces.Box(-1.0, 1e6, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, bad: dict[tuple[int, int], tuple[str, Any]] | None = None) -> None:
        self.bad = bad or {}
        self.episode, self.now = -1, 0

    def field(self, name: str, value: Any) -> Any:
        found, bad_value = self.bad.get((self.episode, self.now), ("", None))
        return bad_value if found == name else value

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.episode, self.now = self.episode + 1, 0
        return self.field("observation", np.array([self.episode, 0], np.float32)), {}

    def step(self, action: Any) -> Any:
        self.now += 1
        observation = self.field("observation", np.array([self.episode, self.now], np.float32))
        reward = self.field("reward", 10.0 * self.episode + self.now)
        terminated = self.field("terminated", self.now == LENGTH)
        return self.field("returned", (observation, reward, terminated, False, {}))


BAD: list[tuple[str, Any]] = [
    ("observation", np.array([0.0, math.nan], np.float32)),
    ("observation", np.array([math.inf, 0.0], np.float32)),
    ("observation", np.zeros(3, np.float32)),
    ("observation", np.array(["a", "b"])),
    ("observation", None),
    ("reward", math.nan),
    ("reward", -math.inf),
    ("reward", 1e39),
    ("reward", None),
    ("reward", np.zeros(2)),
    ("reward", "1.0"),
    ("terminated", None),
    ("terminated", math.nan),
    ("returned", (np.zeros(2, np.float32), 0.0, False)),
]


def collected(pipeline: BasePipeline, windows: int) -> list[EpisodeData]:
    pipeline.agent = NumpyAgent()
    stream = pipeline.episodes()
    return [next(stream) for _ in range(windows)]  # type: ignore[call-overload]


def rows(window: EpisodeData) -> list[tuple[int, int, float, int, bool, bool]]:
    """Return (episode, step, reward, next step, terminated, truncated) of each row; both ends are of one episode."""
    assert (window.observations[:, 0] == window.next_observations[:, 0]).all()
    assert window.observations.dtype == np.float32
    return [
        (int(o[0]), int(o[1]), float(r), int(n[1]), bool(te), bool(tr))
        for o, r, n, te, tr in zip(
            window.observations,
            window.rewards,
            window.next_observations,
            window.terminated,
            window.truncated,
            strict=True,
        )
    ]


def whole(episode: int) -> list[tuple[int, int, float, int, bool, bool]]:
    return [(episode, s, 10.0 * episode + s + 1, s + 1, s + 1 == LENGTH, False) for s in range(LENGTH)]


def piece(episode: int, steps: int) -> list[tuple[int, int, float, int, bool, bool]]:
    return [(*row[:5], row[1] + 1 == steps) for row in whole(episode)[:steps]]


EXPECTED = [*whole(0), *piece(1, 2), *whole(2)]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad[0]}-{str(bad[1])[:12]}")
def test_what_was_collected_before_is_kept_as_a_truncated_piece(bad: tuple[str, Any]) -> None:
    (window,) = collected(BatchPipeline(InvalidSteps({(1, 3): bad}), window_size=12), 1)
    assert rows(window) == EXPECTED
    assert [episode.length for episode in window.completed_episodes()] == [LENGTH, LENGTH]
    assert list(window.metadata["bad_steps"].values()) == [1]


def test_a_piece_of_an_earlier_window_and_a_bad_reset_leave_nothing_behind() -> None:
    nan = ("observation", np.full(2, math.nan, np.float32))
    windows = collected(BatchPipeline(InvalidSteps({(0, 4): nan, (1, 0): nan}), window_size=3), 3)
    assert [row for window in windows for row in rows(window)] == [*whole(0)[:3], *whole(2), *whole(3)[:1]]
    assert [sum(window.metadata.get("bad_steps", {}).values()) for window in windows] == [0, 2, 0]
    assert windows[2].completed_episodes()[0].total_return == sum(row[2] for row in whole(2))


def vectors(bad: dict[tuple[int, int], tuple[str, Any]], mode: AutoresetMode | None) -> Any:
    makers = [InvalidSteps, lambda: InvalidSteps(bad), InvalidSteps]
    return makers if mode is None else SyncVectorEnv(makers, autoreset_mode=mode)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad[0]}-{str(bad[1])[:12]}")
def test_one_of_several_environments_is_reset_and_the_others_live_on(bad: tuple[str, Any]) -> None:
    windows = collected(VectorBatchPipeline(vectors({(1, 3): bad}, None), window_size=6), 3)
    by_env = [[row for window in windows for row in rows(window)[6 * i : 6 * i + 6]] for i in range(3)]
    good = [row for episode in range(4) for row in whole(episode)][:18]
    assert by_env == [good, [*EXPECTED, *whole(3), *whole(4)][:18], good]
    named = {name: times for window in windows for name, times in window.metadata.get("bad_steps", {}).items()}
    assert list(named.values()) == [1]
    assert next(iter(named)).startswith("environment 1: ")
    assert [episode.length for window in windows for episode in window.completed_episodes()] == [LENGTH] * 9


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(
    ("place", "bad"),
    [((episode, step), bad) for episode, step in [(1, 3), (1, 4), (1, 1), (1, 5)] for bad in (BAD[0], BAD[5])]
    + [((2, 0), BAD[0])],
    ids=str,
)
def test_a_vector_that_the_user_made_in_each_mode(mode: AutoresetMode, place: Any, bad: tuple[str, Any]) -> None:
    windows = collected(VectorBatchPipeline(vectors({place: bad}, mode), window_size=4), 5)
    by_env = [[row for window in windows for row in rows(window)[4 * i : 4 * i + 4]] for i in range(3)]
    good = [row for episode in range(4) for row in whole(episode)]
    if mode is AutoresetMode.SAME_STEP and place in ((2, 0), (1, 5)):
        # The last step of episode 1 and the reset after it are one: both are left out.
        before, after = piece(1, LENGTH - 1), 2 if place == (1, 5) and bad[0] == "observation" else 3
    elif place == (2, 0):
        before, after = whole(1), 3
    else:
        before, after = piece(1, place[1] - 1), 2
    kept = [*whole(0), *before, *(row for episode in range(after, 6) for row in whole(episode))]
    if place == (1, 4):
        kept[7] = whole(1)[2]  # the last row of its window, which was handed out before the bad step
    assert [by_env[0], by_env[2]] == [good[:20]] * 2
    assert by_env[1] == kept[:20]


class Together(VectorEnv):
    """Two `InvalidSteps` that are reset together only."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    num_envs = 2
    single_observation_space = InvalidSteps.observation_space
    single_action_space = InvalidSteps.action_space

    def __init__(self, bad: dict[tuple[int, int], tuple[str, Any]]) -> None:
        self.env = SyncVectorEnv([InvalidSteps, lambda: InvalidSteps(bad)])

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        assert not options
        return self.env.reset(seed=seed)

    def step(self, actions: Any) -> Any:
        return self.env.step(actions)


def test_a_vector_that_resets_only_as_a_whole_is_reset_as_a_whole() -> None:
    windows = collected(VectorBatchPipeline(Together({(1, 3): BAD[0]}), window_size=6), 2)
    for i in range(2):
        of_environment = [row for window in windows for row in rows(window)[6 * i : 6 * i + 6]]
        assert of_environment == [*whole(0), *piece(1, 2), *whole(2)]
    assert [sum(window.metadata.get("bad_steps", {}).values()) for window in windows] == [0, 1]


@pytest.mark.parametrize("n_episodes", [None, 1])
def test_a_third_in_a_row_ends_it_and_a_good_step_between_does_not(n_episodes: int | None) -> None:
    nan = ("reward", math.nan)
    bad = {(episode, 1): nan for episode in (0, 1, 3, 4, 6, 7, 8)}
    pipeline = BatchPipeline(InvalidSteps(bad), NumpyAgent(), 5, n_episodes=n_episodes)
    stream = pipeline.episodes()
    assert [int(next(stream).observations[0, 0]) for _ in range(2)] == [2, 5]
    with pytest.raises(BadStepsError, match=r"3 episodes in a row.*its reward is nan") as raised:
        next(stream)
    assert sum(raised.value.found.values()) == 3
    assert isinstance(raised.value, BadDataError)


def test_a_window_of_whole_episodes_of_which_none_ends_is_given_up() -> None:
    never = InvalidSteps({(episode, 4): ("reward", math.nan) for episode in range(50)})
    with pytest.raises(BadDataError, match="in a row"):
        next(BatchPipeline(never, NumpyAgent(), n_episodes=2).episodes())


@pytest.mark.parametrize("place", [0, 1])
def test_three_in_a_row_of_one_environment_end_a_vector(place: int) -> None:
    bad = {(episode, place): ("observation", None) for episode in range(1, 9)}
    with pytest.raises(BadDataError, match=r"3 episodes in a row.*environment 1: its observation"):
        collected(VectorBatchPipeline(vectors(bad, None), window_size=10), 5)


def test_validation_leaves_an_episode_out_and_has_no_score_where_none_is_left() -> None:
    pipeline = ValidationPipeline([InvalidSteps, lambda: InvalidSteps({(0, 3): BAD[0], (1, 1): BAD[8]})], NumpyAgent())
    assert [episode.length for episode in pipeline.play([1, 2]).completed_episodes()] == [LENGTH]
    with pytest.raises(BadDataError, match="its reward is NoneType"):
        ValidationPipeline([lambda: InvalidSteps({(0, 2): BAD[8]})], NumpyAgent()).play([1])


def test_a_run_counts_them_and_one_that_is_given_up_too(tmp_path: Any) -> None:
    def run(bad: dict[tuple[int, int], tuple[str, Any]], name: str) -> RLOptimizer:
        pipeline = BatchPipeline(InvalidSteps(bad), window_size=10)
        return RLOptimizer(
            NumpyAgent(), pipeline, val_pipeline=None, checkpoint_dir=tmp_path / name, max_episodes=6, seed=1
        )

    some = run({(episode, 3): BAD[episode] for episode in (1, 4, 5)}, "some")
    assert some.run().health == {"step": 3}
    none = run({(episode, 1): ("reward", None) for episode in range(5, 9)}, "none")
    with pytest.raises(BadDataError, match=r"3 episodes in a row"):
        none.run()
    assert none._controller.report().health == {"step": 3}


def test_a_normalised_return_restarts_with_the_episode() -> None:
    def stream(bad: dict[tuple[int, int], tuple[str, Any]]) -> Any:
        pipeline = BatchPipeline(InvalidSteps(bad), window_size=3, normalize_rewards=True)
        collected(pipeline, 2)
        return pipeline.stream_state()["normalization"]["returns"]

    # The fourth step of episode 0 is the first of the second window: its episode is over without a row there.
    gamma = 0.99
    (found,) = stream({(0, 4): BAD[5]})
    assert found == pytest.approx(((11 * gamma + 12) * gamma + 13) * gamma)
