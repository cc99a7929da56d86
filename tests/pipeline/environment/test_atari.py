"""Games that ale-py steps together are the same as single ones with the usual preprocessing, frame for frame."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("ale_py", reason="ale-py is not installed: pip install 'tensor-optix-core[atari]'")

from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from tensor_optix import VectorBatchPipeline
from tensor_optix.pipeline.environment import atari
from tensor_optix.pipeline.environment.atari import FRAMES, AtariGames, has_games
from tensor_optix.pipeline.environment.environment import check_registered, make_environment
from tests.helpers import NumpyAgent

BREAKOUT = "ALE/Breakout-v5"
"""It has five lives, and a ball that only comes with FIRE."""
SEEDS = (3, 4)


@pytest.fixture(autouse=True)
def registered() -> None:
    check_registered(BREAKOUT)


class Player(NumpyAgent):
    """Plays each action as often as the others."""

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return self.rng.integers(4, size=len(observations))


class Waiting(AtariPreprocessing):
    """Begins an episode with `waits` steps of no action, and not with as many as its generator says."""

    waits = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        _, info = super().reset(seed=seed, options=options)
        for _ in range(self.waits):
            self.env.step(0)
        self.ale.getScreenGrayscale(self.obs_buffer[0])
        return self._get_obs(), info


def plain(seed: int, env: str = BREAKOUT, waits: int = 0, **settings: Any) -> gym.Env:
    """A single game as it is made elsewhere, after so many steps of no action, with ALE's own generator at `seed`."""
    game = gym.make(env, frameskip=1, **settings)
    preprocessed = Waiting(game, noop_max=0, frame_skip=FRAMES)
    single = FrameStackObservation(preprocessed, FRAMES, padding_type="zero")
    single.reset(seed=0)
    unwrapped: Any = game.unwrapped
    unwrapped.ale.setInt("random_seed", seed)
    unwrapped.load_game()
    preprocessed.waits = waits
    return single


def test_they_are_single_games_step_by_step() -> None:
    games: Any = AtariGames(BREAKOUT, len(SEEDS), noop_max=0, threads=1)
    singles = [plain(seed) for seed in SEEDS]
    seen, _ = games.reset(seed=list(SEEDS))
    shown = [single.reset()[0] for single in singles]
    rng, lost, scored, ended = np.random.default_rng(0), 0, 0.0, np.zeros(len(SEEDS), bool)
    lives = np.full(len(SEEDS), 5)
    for _ in range(400):
        np.testing.assert_array_equal(seen, shown)
        actions = rng.integers(4, size=len(SEEDS))
        seen, rewards, terminated, truncated, infos = games.step(actions)
        steps = [single.step(action) for single, action in zip(singles, actions, strict=True)]
        shown = [step[0] for step in steps]
        np.testing.assert_array_equal(rewards, [step[1] for step in steps])
        np.testing.assert_array_equal(terminated, [step[2] for step in steps])
        np.testing.assert_array_equal(truncated, [step[3] for step in steps])
        ended = terminated | truncated
        if ended.any():
            np.testing.assert_array_equal(infos["final_obs"][ended], np.array(shown)[ended])
            break
        now = [step[4]["lives"] for step in steps]
        np.testing.assert_array_equal(infos["lives"], now)
        lost, scored, lives = lost + int((lives - now).sum()), scored + float(rewards.sum()), np.array(now)
    assert ended.any()  # with the last life, and with no other
    assert lost >= 4
    assert scored > 1.0
    games.close()


PACMAN = "ALE/MsPacman-v5"
"""A point is worth ten here."""


def test_rewards_are_not_clipped() -> None:
    games: Any = AtariGames(PACMAN, 1, noop_max=0, threads=1)
    single = plain(7, PACMAN)
    games.reset(seed=[7])
    single.reset()
    rng, rewards = np.random.default_rng(1), set()
    for _ in range(120):  # it lets nobody move for the first 65
        action = rng.integers(9)
        reward = games.step(np.array([action]))[1][0]
        assert reward == single.step(action)[1]
        rewards.add(float(reward))
    assert {0.0, 10.0} <= rewards
    games.close()


def test_actions_are_repeated_by_the_games_own_chance() -> None:
    """The same seeds with the chance of the id, which is a quarter, and without it."""
    assert gym.spec(BREAKOUT).kwargs["repeat_action_probability"] == 0.25
    games: Any = AtariGames(BREAKOUT, 1, noop_max=0, threads=1)
    sticky, exact = plain(3), plain(3, repeat_action_probability=0.0)
    seen, _ = games.reset(seed=[3])
    shown, other = sticky.reset()[0], exact.reset()[0]
    rng, is_other = np.random.default_rng(2), False
    for _ in range(40):
        np.testing.assert_array_equal(seen[0], shown)
        is_other = is_other or not np.array_equal(shown, other)
        action = rng.integers(4)
        seen = games.step(np.array([action]))[0]
        shown, other = sticky.step(action)[0], exact.step(action)[0]
    assert is_other
    games.close()


@pytest.mark.parametrize("seed", [0, 5])
def test_steps_of_no_action_are_those_of_a_single_game(seed: int) -> None:
    games: Any = AtariGames(BREAKOUT, 1, threads=1)
    seen, infos = games.reset(seed=[seed])
    waits = int(infos["episode_frame_number"][0])
    assert 1 <= waits <= 30
    single = plain(seed, waits=waits)
    shown, _ = single.reset()
    rng = np.random.default_rng(seed)
    for _ in range(30):
        np.testing.assert_array_equal(seen[0], shown)
        action = rng.integers(4)
        seen, shown = games.step(np.array([action]))[0], single.step(action)[0]
    games.close()


def test_every_episode_begins_with_steps_of_no_action_and_a_seed_of_its_own() -> None:
    games: Any = AtariGames(BREAKOUT, 4, threads=1)
    first, infos = games.reset(seed=0)
    assert len(set(infos["episode_frame_number"].tolist())) > 1
    again, _ = games.reset(options={"reset_mask": np.array([True, False, False, False])})
    np.testing.assert_array_equal(again[1:], first[1:])
    other = AtariGames(BREAKOUT, 4, threads=2)
    np.testing.assert_array_equal(other.reset(seed=0)[0], first)
    np.testing.assert_array_equal(other.reset(options={"reset_mask": np.array([True, False, False, False])})[0], again)


def test_a_pipeline_steps_an_id_with_them_and_plays_validation_in_single_games() -> None:
    assert has_games()
    agent = Player()
    pipeline = VectorBatchPipeline((BREAKOUT, 2), agent, window_size=30, seed=0)
    assert isinstance(pipeline.env, AtariGames)
    assert pipeline.observation_space == make_environment(BREAKOUT).observation_space
    held_out = pipeline.validation_pipeline(1, seed=0)
    assert held_out is not None
    pipeline.teardown()


@pytest.mark.parametrize(
    ("installed", "has"), [("0.12.1", True), ("1.0.0", True), ("0.11.2", False), (None, False), ("unknown", False)]
)
def test_an_older_ale_py_steps_its_games_one_by_one(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, has: bool
) -> None:
    monkeypatch.setattr(atari, "version_of", lambda package: installed)
    assert has_games() is has


def test_a_run_goes_on_exactly_where_it_was() -> None:
    def windows(pipeline: VectorBatchPipeline, n: int) -> list[Any]:
        stream = pipeline.episodes()
        return [next(stream) for _ in range(n)]

    whole = VectorBatchPipeline((BREAKOUT, 2), Player(), window_size=70, seed=0)
    expected = windows(whole, 4)
    assert any(window.completed for window in expected[:3])
    first = VectorBatchPipeline((BREAKOUT, 2), agent := Player(), window_size=70, seed=0)
    windows(first, 3)
    second = VectorBatchPipeline((BREAKOUT, 2), agent, window_size=70, seed=0)
    second.restore_stream(json.loads(json.dumps(first.stream_state())))
    (window,) = windows(second, 1)
    np.testing.assert_array_equal(window.observations, expected[3].observations)
    np.testing.assert_array_equal(window.next_observations, expected[3].next_observations)
    np.testing.assert_array_equal(window.rewards, expected[3].rewards)
