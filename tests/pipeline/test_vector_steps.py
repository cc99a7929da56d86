"""Steps of several environments: what is in the windows is exactly what happened, in every autoreset mode."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from tensor_optix import HyperparamSet, TorchPPOAgent, VectorBatchPipeline
from tests.fakes.vectors import ByStepAgent, CountingEnv, makers, vector, windows_of

Transition = tuple[tuple[float, ...], int, float, tuple[float, ...], bool, bool]


def expected_rows(number: int, steps: int) -> list[Transition]:
    """The true transitions of one environment, by a plain loop."""
    env, agent, found = CountingEnv(number), ByStepAgent(), []
    observation, _ = env.reset()
    for _ in range(steps):
        action = agent.act(observation)
        following, reward, terminated, truncated, _ = env.step(action)
        found.append((tuple(observation), action, reward, tuple(following), terminated, truncated))
        observation = env.reset()[0] if terminated or truncated else following
    return found


STEPS, N_ENVS = 100_000, 16
FEW = 8_000


@functools.cache
def truth(number: int, steps: int) -> tuple[np.ndarray, ...]:
    """(observations, actions, rewards, next observations, terminated, truncated) of one environment."""
    rows = expected_rows(number, steps // N_ENVS)
    return tuple(np.array([row[column] for row in rows]) for column in range(6))


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(
    ("is_async", "steps"),
    [
        (False, FEW),
        (True, FEW // 4),
        *(pytest.param(is_async, STEPS, marks=pytest.mark.slow) for is_async in (False, True)),
    ],
)
def test_every_autoreset_mode_gives_exactly_the_transitions_that_happened(
    mode: AutoresetMode, is_async: bool, steps: int
) -> None:
    pipeline = VectorBatchPipeline(vector(N_ENVS, mode, is_async), ByStepAgent(), window_size=125)
    windows = windows_of(pipeline, steps // N_ENVS // 125)
    assert sum(window.length for window in windows) == steps // N_ENVS // 125 * 125 * N_ENVS
    for number in range(N_ENVS):
        rows = slice(number * 125, (number + 1) * 125)
        fields = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")
        expected_fields = truth(number, max(steps, FEW))
        for name, expected in zip(fields, expected_fields, strict=True):
            found = np.concatenate([getattr(window, name)[rows] for window in windows])
            np.testing.assert_array_equal(found, expected[: len(found)], err_msg=f"{name} of environment {number}")
        told = [info["step"] for window in windows for info in window.infos[rows]]
        np.testing.assert_array_equal(
            told, expected_fields[3][: len(told), 1], err_msg=f"infos of environment {number}"
        )


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_completed_episodes_are_whole_across_windows(mode: AutoresetMode) -> None:
    windows = windows_of(VectorBatchPipeline(vector(3, mode, False), ByStepAgent(), window_size=7), 20)
    completed = sorted((e.length, e.total_return) for window in windows for e in window.completed or ())
    expected = []
    for number in range(3):
        length, total = 0, 0.0
        for _, _, reward, _, terminated, truncated in expected_rows(number, 140):
            length, total = length + 1, total + reward
            if terminated or truncated:
                expected.append((length, total))
                length, total = 0, 0.0
    assert completed == sorted(expected)


def test_rows_are_env_major_and_segments_end_with_each_environment() -> None:
    window = windows_of(VectorBatchPipeline(makers(3), ByStepAgent(), window_size=5), 1)[0]
    assert window.n_envs == 3
    assert window.observations[:, 0].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert window.segment_ends()[[4, 9, 14]].all()


class NestedInfoEnv(CountingEnv):
    """Its info has numbers, arrays and dictionaries in dictionaries, some of them only now and then."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, terminated, truncated, info = super().step(action)
        info["deep"] = {"er": {"step": self.steps}, "array": np.array([self.steps, self.number])}
        if self.steps % 2:
            info["odd"] = {"text": str(self.steps)}
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_infos_come_through_however_deep(mode: AutoresetMode, kind: Any) -> None:
    env = kind([lambda i=i: NestedInfoEnv(i) for i in range(2)], autoreset_mode=mode)
    (window,) = windows_of(VectorBatchPipeline(env, ByStepAgent(), window_size=30), 1)
    for (number, step), info in zip(window.next_observations, window.infos, strict=True):
        odd = {"odd": {"text": str(int(step))}} if step % 2 else {}
        assert info["deep"].pop("array").tolist() == [step, number]
        assert info == {"step": step, "deep": {"er": {"step": step}}} | odd


class LastMaskEnv(CountingEnv):
    """Masks that allow all but action 0, and nothing at all once the episode has ended."""

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict]:
        observation, _ = super().reset(**arguments)
        return observation, {"action_mask": np.array([0, 1, 1, 1, 1], bool)}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, terminated, truncated, _ = super().step(action)
        ended = terminated or truncated
        return observation, reward, ended, False, {"action_mask": np.arange(5) > (5 if ended else 0)}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_an_end_that_allows_nothing_is_no_trouble_in_any_mode(mode: AutoresetMode) -> None:
    env = SyncVectorEnv([lambda i=i: LastMaskEnv(2 * i) for i in range(2)], autoreset_mode=mode)
    actor, critic = (torch.nn.Linear(2, size) for size in (5, 1))
    agent = TorchPPOAgent(
        actor, critic, torch.optim.Adam([*actor.parameters(), *critic.parameters()]), HyperparamSet({}), seed=0
    )
    for window in windows_of(VectorBatchPipeline(env, agent, window_size=40), 2):
        assert window.action_masks is not None
        assert window.action_masks[:, 1:].all()
        assert not window.action_masks[:, 0].any()
        assert (window.actions > 0).all()
        allowed = window.next_action_masks[:, 1:].any(1)  # type: ignore[index]
        np.testing.assert_array_equal(allowed, ~window.terminated)


class Unequal(CountingEnv):
    """The first one ends with each step, the second one hardly ever."""

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict]:
        returned = super().reset(**arguments)
        self.left = 1 if self.number == 0 else 90
        return returned


def test_none_gets_ahead_of_the_others_without_bound_and_what_is_kept_is_what_happened() -> None:
    env = SyncVectorEnv([lambda i=i: Unequal(i) for i in range(2)])  # it resets in the next step
    pipeline = VectorBatchPipeline(env, ByStepAgent(), window_size=10)
    windows, kept = [], []
    episodes = pipeline.episodes()
    for _ in range(40):
        windows.append(next(episodes))
        kept.append(len(pipeline.stream_state()["builder"]["steps"]["rewards"]))
    pipeline.teardown()
    assert max(kept[20:]) == max(kept[:20]) <= 40
    seen, followed = (
        np.concatenate([getattr(window, name)[10:, 1] for window in windows])
        for name in ("observations", "next_observations")
    )
    ended = np.concatenate([window.dones[10:] for window in windows])
    assert (followed == seen + 1).all()
    jumps = np.flatnonzero(np.diff(seen) > 1)
    assert len(jumps) > 10  # steps were left out
    assert ended[jumps].all()
    whole = [one.length for window in windows for one in window.completed or ()]
    assert set(whole) <= {1, 90}
