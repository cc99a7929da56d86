"""Bad steps end their episode: what was collected before is kept, and nothing of them is acted on or learned from."""

import logging
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
from tensor_optix.pipeline.environment.bad_steps import BadSteps, StepCheck, VectorStepCheck
from tensor_optix.pipeline.environment.observations import ObservationForm
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


@pytest.mark.parametrize("n_envs", [0, 1, 2])
def test_rewards_of_several_objectives_end_it_at_the_first_step(n_envs: int) -> None:
    several = {(episode, 1): ("reward", np.array([1.0, 2.0])) for episode in range(9)}
    if n_envs:
        pipeline: Any = VectorBatchPipeline([lambda: InvalidSteps(several)] * n_envs, NumpyAgent(), 5)
    else:
        pipeline = BatchPipeline(InvalidSteps(several), NumpyAgent(), 5)
    with pytest.raises(BadStepsError, match=r"Nothing can be learned .* weigh its objectives") as raised:
        next(pipeline.episodes())
    assert sum(raised.value.found.values()) == 1


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


# --- the checks alone ---

BOX, WORDS = spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.Discrete(3)
ZEROS = np.zeros(2, np.float32)


def step_check(space: spaces.Space[Any] = BOX) -> StepCheck:
    return StepCheck(ObservationForm(space))


class TestStepCheck:
    def test_a_step_comes_out_in_plain_types(self) -> None:
        info = {"action_mask": np.array([1, 0], np.int8), "more": [1]}
        step = step_check().step((ZEROS, np.float32(0.5), False, True, info))
        assert (step.reward, step.terminated, step.truncated) == (0.5, False, True)
        assert type(step.reward) is float
        assert step.mask is not None
        assert (step.mask.dtype, step.mask.tolist()) == (bool, [True, False])
        info["more"].append(2)  # type: ignore[attr-defined]
        assert step.info["more"] == [1]

    def test_a_look_tells_the_commonest_and_the_check_the_rest(self) -> None:
        check = step_check()
        step = check.looked_at((ZEROS, 1.0, False, True, {}))
        assert step is not None
        assert (step.reward, step.terminated, step.truncated, step.info, step.mask) == (1.0, False, True, {}, None)
        for returned in (
            [ZEROS, 1.0, False, False, {}],
            (ZEROS, True, False, False, {}),
            (ZEROS, 1.0, 0, False, {}),
            (ZEROS, 1.0, False, 0, {}),
            (ZEROS, 1.0, False, False, None),
        ):
            assert check.looked_at(returned) is None
            assert check.step(returned).reward == 1.0

    @pytest.mark.parametrize(
        ("returned", "reason"),
        [
            (None, "what step returned is NoneType, and not five values"),
            ((ZEROS, 0.0, False, False), "not five values"),
            (([1.0, "a"], 0.0, False, False, {}), "its observation is no numbers"),
            ((ZEROS, 1e39, False, False, {}), "its reward is"),
            ((ZEROS, 0.0, False, False, {"action_mask": np.ones((2, 2))}), "its action mask is malformed"),
        ],
    )
    def test_what_is_wrong_is_named(self, returned: Any, reason: str) -> None:
        with pytest.raises(BadDataError, match=reason):
            step_check().step(returned)

    def test_other_spaces_are_judged_by_their_form(self) -> None:
        assert step_check(WORDS).step((np.int64(2), 0, False, False, {})).reward == 0.0
        with pytest.raises(BadDataError, match="its observation is not of Discrete"):
            step_check(WORDS).step(("a", 0.0, False, False, {}))

    @pytest.mark.parametrize("returned", [ZEROS, (ZEROS,), (ZEROS, {}, 0.0), None])
    def test_a_reset_returns_two_values(self, returned: Any) -> None:
        assert step_check().reset((ZEROS, {})) is not None
        assert step_check().reset([ZEROS, {}]).terminated is False
        with pytest.raises(BadDataError, match=r"what reset returned is .*, and not two values"):
            step_check().reset(returned)


def vector_step(**changes: Any) -> Any:
    plain = {
        "observations": np.zeros((3, 2), np.float32),
        "rewards": np.array([1.0, 2.0, 3.0]),
        "terminated": np.array([False, True, False]),
        "truncated": np.zeros(3, bool),
        "infos": {},
    }
    return VectorStepCheck(ObservationForm(BOX), 3).step(tuple({**plain, **changes}.values()))


class TestVectorStepCheck:
    def test_a_good_step_comes_out_in_plain_types(self) -> None:
        step = vector_step()
        assert (step.rewards, step.terminated, step.truncated) == ([1.0, 2.0, 3.0], [False, True, False], [False] * 3)
        assert (step.bad, step.masks) == ({}, None)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"observations": np.zeros((3, 3), np.float32)}, r"observations have shape \(3, 3\), not \(3, 2\)"),
            ({"observations": np.full((3, 2), "a")}, "malformed|which is no number"),
            ({"rewards": np.zeros(2)}, r"its rewards have shape \(2,\), not \(3,\)"),
            ({"rewards": np.zeros((3, 2))}, r"\(3, 2\), not \(3,\); weigh its objectives"),
            ({"rewards": np.zeros((3, 1, 1))}, r"\(3, 1, 1\), not \(3,\)$"),
            ({"rewards": np.array(["a", "b", "c"])}, "its rewards are of dtype <U1, and no numbers"),
            ({"infos": 3}, "what it returned is malformed"),
            ({"terminated": False}, r"its terminated have shape \(\)"),
            ({"truncated": np.zeros((3, 1), bool)}, r"its truncated have shape \(3, 1\)"),
        ],
    )
    def test_where_nothing_can_be_made_of_it_all_are_bad(self, changes: Any, reason: str) -> None:
        step = vector_step(**changes)
        assert list(step.bad) == [0, 1, 2]
        with pytest.raises(BadDataError, match=reason):
            raise BadDataError(step.bad[2])
        assert (step.rewards, step.terminated, step.truncated) == ([0.0] * 3, [False] * 3, [False] * 3)
        assert (step.masks, step.infos) == (None, {})
        assert step.observations.shape == (3, 2)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"rewards": np.array([1.0, math.nan, 3.0])}, "its reward is nan, which is no finite float32"),
            ({"rewards": [1.0, 1e39, 3.0]}, "its reward is"),
            ({"rewards": [1.0, -1e39, 3.0]}, "its reward is"),
            ({"terminated": np.array([0, 2, 1])}, "its terminated is int64, but must be True or False"),
            ({"truncated": np.array([False, 0.5, True], object)}, "its truncated is float"),
            ({"truncated": np.array([False, None, True], object)}, "its truncated is NoneType"),
        ],
    )
    def test_one_that_is_bad_has_no_meaning_and_the_others_stay(self, changes: Any, reason: str) -> None:
        step = vector_step(**{"terminated": np.array([False, True, True]), **changes})
        assert list(step.bad) == [1]
        assert (step.rewards[0], step.rewards[2], step.terminated[2]) == (1.0, 3.0, True)
        with pytest.raises(BadDataError, match=reason):
            raise BadDataError(step.bad[1])
        assert (step.rewards[1], step.terminated[1], step.truncated[1]) == (0.0, False, False)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_an_observation_that_is_not_finite_is_its_environments(self, value: float) -> None:
        observations = np.zeros((3, 2), np.float32)
        observations[2, 1] = value
        assert vector_step(observations=observations).bad == {2: "its observation is not finite"}

    def test_large_numbers_are_looked_at_one_by_one_and_pass(self) -> None:
        observations = np.full((3, 2), 3e38, np.float32)
        step = vector_step(observations=observations, rewards=np.array([3e38, -3e38, 0.0]))
        assert step.bad == {}
        assert step.rewards == [3e38, -3e38, 0.0]

    def test_flags_may_be_numbers_that_are_zero_or_one(self) -> None:
        step = vector_step(terminated=np.array([0, 1, 0]), truncated=[1, 0, 0])
        assert (step.bad, step.terminated, step.truncated) == ({}, [False, True, False], [True, False, False])
        assert {type(flag) for flag in step.terminated} == {bool}

    @pytest.mark.parametrize(("returned", "is_bad"), [((np.zeros((3, 2)), {}), False), (np.zeros((3, 2)), True)])
    def test_a_reset_has_no_rewards_and_ends_nothing(self, returned: Any, is_bad: bool) -> None:
        step = VectorStepCheck(ObservationForm(BOX), 3).reset(returned)
        assert (list(step.bad), step.rewards, step.terminated) == ([0, 1, 2] if is_bad else [], [0.0] * 3, [False] * 3)

    @pytest.mark.parametrize("has_nothing", [False, True])
    def test_steps_that_were_checked_one_by_one_are_put_together(self, has_nothing: bool) -> None:
        observations = [ZEROS, None if has_nothing else ZEROS, ZEROS + 1]
        masks = [None, np.array([True, False]), None]
        flags = [False] * 3
        step = VectorStepCheck(ObservationForm(BOX), 3).each(
            observations, masks, [1.0, 2.0, 3.0], flags, flags, has_nothing=has_nothing
        )
        assert step.observations.shape == (3, 2)
        assert step.observations[2].tolist() == [1.0, 1.0]
        assert step.masks is not None
        assert step.masks.tolist() == [[True, True], [True, False], [True, True]]
        assert step.bad == {}


class TestBadSteps:
    def test_they_are_logged_the_first_second_fourth_time(self, caplog: pytest.LogCaptureFixture) -> None:
        bad = BadSteps()
        with caplog.at_level(logging.WARNING):
            for _ in range(9):
                bad.fault("NaN")
                bad.clear()
        told = [int(record.getMessage().partition("(")[2].split()[0]) for record in caplog.records]
        assert told == [1, 2, 4, 8]
        assert bad.metadata() == {"bad_steps": {"NaN": 9}}
        assert bad.metadata() == {}

    def test_a_good_step_of_one_environment_is_none_of_another(self) -> None:
        bad = BadSteps(2)
        for i in (0, 1, 0):
            bad.fault("NaN", i)
        assert bad.state() == [2, 1]
        bad.clear(but=[0])
        assert bad.state() == [2, 0]
        bad.fault("inf", 1)
        with pytest.raises(BadStepsError, match=r"3 episodes in a row.*the last: environment 0: NaN") as raised:
            bad.fault("NaN", 0)
        assert raised.value.found == {"environment 0: NaN": 3, "environment 1: NaN": 1, "environment 1: inf": 1}

    def test_a_resumed_run_goes_on_counting(self) -> None:
        bad, again = BadSteps(2), BadSteps(2)
        bad.fault("NaN", 1)
        bad.fault("NaN", 1)
        again.restore(bad.state())
        with pytest.raises(BadStepsError):
            again.fault("NaN", 1)
        again.restore([0, 0])
        again.fault("NaN", 1)
        again.restore([0, 2])
        again.clear()
        assert again.state() == [0, 0]
