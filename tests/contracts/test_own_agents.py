"""Agents of the user's own, in every pipeline: they see what the environment gives, and it gets what they return.

Nothing here declares anything. Each kind of space is tried as observations and as actions.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from tensor_optix import BatchPipeline, EnvironmentSource, LivePipeline, ReplaySource, VectorBatchPipeline
from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.support.trees import leaves, rows
from tensor_optix.testing import check_acting_leaves_no_trace, check_acts
from tests.fakes.echo import SAID, SEEN, Echo, Own, assert_records, is_same, kinds
from tests.helpers import NumpyAgent

DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-2.0, 5.0, (2,), np.float64)
NESTED = spaces.Dict(
    {
        "z": spaces.Box(-1.0, 1.0, (2, 2), np.float32),
        "a": spaces.Discrete(3, start=-1),
        "m": spaces.Dict(
            {"deep": spaces.MultiBinary(2), "pair": spaces.Tuple((spaces.MultiDiscrete([2, 3]), DISCRETE))}
        ),
        "level": spaces.Box(0.0, 1.0, (), np.float64),
    }
)
SPACES = [
    DISCRETE,
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([3, 2, 4]),
    spaces.MultiDiscrete([3, 2], start=[1, -3]),
    spaces.MultiBinary(3),
    spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2,), np.float32))),
    NESTED,
    BOX,
    spaces.Box(0, 255, (2, 2), np.uint8),
    spaces.Dict({"said": spaces.Text(9), "n": DISCRETE}),
]
CASES = [*((space, DISCRETE) for space in SPACES), *((DISCRETE, space) for space in SPACES[1:]), (NESTED, NESTED)]
every_kind = pytest.mark.parametrize(("space", "actions"), CASES, ids=str)


def first(pipeline: Any, n: int = 1) -> list[Any]:
    pipeline.setup()
    windows: Iterator[Any] = iter(pipeline.episodes())
    found = [next(windows) for _ in range(n)]
    pipeline.teardown()
    return found


def assert_saw(steps: Any) -> None:
    """What the agent saw and said is what the environment gave and got, integers as integers."""
    assert all(map(is_same, SEEN, [step[0] for step in steps]))
    assert all(map(is_same, SAID, [step[1] for step in steps]))
    assert [kinds(seen) for seen in SEEN[:3]] == [kinds(step[0]) for step in steps[:3]]
    assert len(SEEN) >= len(steps)


@every_kind
@pytest.mark.parametrize("how", [{"window_size": 7}, {"n_episodes": 2}, {"window_size": 7, "deterministic": True}])
def test_single(space: Any, actions: Any, how: dict[str, Any]) -> None:
    env = Echo(space, actions)
    windows = first(BatchPipeline(env, Own(actions), seed=0, **how), 2)
    assert_saw(env.steps)
    for number, window in enumerate(windows):
        assert_records(window, env.steps[number * window.length : (number + 1) * window.length])


@every_kind
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector(space: Any, actions: Any, mode: AutoresetMode) -> None:
    vector = SyncVectorEnv([partial(Echo, space, actions, seed) for seed in range(2)], autoreset_mode=mode)
    windows = first(VectorBatchPipeline(vector, Own(actions), window_size=7), 2)
    for i, env in enumerate(vector.envs):
        for number, window in enumerate(windows):
            assert_records(window, env.steps[number * 7 : number * 7 + 7], offset=7 * i)
    assert kinds(SEEN[0]) == kinds(vector.envs[0].steps[0][0])
    assert is_same(SEEN[0], vector.envs[0].steps[0][0])


@pytest.mark.parametrize("space", [DISCRETE, NESTED], ids=["Discrete", "Dict"])
def test_vector_in_processes_of_their_own(space: Any) -> None:
    """A ready vector, and environments that are made in processes of their own."""

    def window(kind: Any) -> Any:
        env = kind([partial(Echo, space, NESTED, seed) for seed in range(2)], autoreset_mode=AutoresetMode.SAME_STEP)
        return first(VectorBatchPipeline(env, Own(NESTED), window_size=7))[0]

    makers = [partial(Echo, space, NESTED, seed) for seed in range(2)]
    made = first(VectorBatchPipeline(makers, Own(NESTED), window_size=7, async_envs=True))[0]
    apart, together = window(AsyncVectorEnv), window(SyncVectorEnv)
    for name in ("observations", "actions", "next_observations"):
        assert is_same(getattr(apart, name), getattr(together, name))
        assert is_same(getattr(made, name), getattr(together, name))


@every_kind
@pytest.mark.parametrize("shown", [lambda agent: agent, GreedyAgent], ids=["own", "greedy"])
def test_validation(space: Any, actions: Any, shown: Any) -> None:
    made: list[Echo] = []

    def make() -> Echo:
        made.append(Echo(space, actions, len(made)))
        return made[-1]

    (window,) = first(ValidationPipeline([make, make], shown(Own(actions)), seed=0))
    assert window.length == 6
    for i, env in enumerate(made):
        assert_records(window, env.steps, offset=3 * i)
    assert is_same(SEEN[0], made[0].steps[0][0])
    assert kinds(SEEN[0]) == kinds(made[0].steps[0][0])


@every_kind
def test_live_and_its_replay(space: Any, actions: Any, tmp_path: Path) -> None:
    env, path = Echo(space, actions), tmp_path / "session.jsonl.zst"
    live = LivePipeline(EnvironmentSource(env), Own(actions), LivePipeline.every_n_steps(7), record=path)
    (window,) = first(live)
    assert_saw(env.steps[:7])
    assert_records(window, env.steps[:7])
    (again,) = first(LivePipeline(ReplaySource(path), Own(actions), LivePipeline.every_n_steps(7)))
    assert is_same(again.observations, window.observations)
    assert is_same(again.next_observations, window.next_observations)
    assert [kinds(seen) for seen in SEEN[:3]] == [kinds(step[0]) for step in env.steps[:3]]
    assert [leaf.dtype for leaf in leaves(again.observations)] == [leaf.dtype for leaf in leaves(window.observations)]


@every_kind
def test_a_run_goes_on_where_it_was_left(space: Any, actions: Any) -> None:
    """The episodes in progress are replayed, with actions of every kind, and lead to the same observations."""

    class Repeatable(Echo):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            self.observation_space.seed(seed)
            return super().reset(seed=seed, options=options)

    def windows(make: Any) -> Any:
        pipeline = make(Own(actions))
        pipeline.setup()
        found = pipeline.episodes()
        expected = [next(found), next(found)][1]
        pipeline.teardown()
        agent = Own(actions)
        pipeline = make(agent)
        pipeline.setup()
        next(pipeline.episodes())
        state = pipeline.stream_state()
        pipeline.teardown()
        pipeline = make(agent)  # which goes on with its own generator
        pipeline.setup()
        pipeline.restore_stream(state)
        resumed = next(pipeline.episodes())
        pipeline.teardown()
        return expected, resumed

    def single(agent: Any) -> Any:
        return BatchPipeline(Repeatable(space, actions), agent, window_size=7, seed=0)

    def several(agent: Any) -> Any:
        return VectorBatchPipeline([partial(Repeatable, space, actions, i) for i in range(2)], agent, 7, seed=0)

    for make in (single, several):
        expected, resumed = windows(make)
        for name in ("observations", "actions", "next_observations"):
            assert is_same(getattr(expected, name), getattr(resumed, name)), (make, name)


@pytest.mark.parametrize("space", [NESTED, SPACES[5], DISCRETE], ids=["Dict", "Tuple", "Discrete"])
def test_the_checks_for_own_agents_take_every_kind(space: Any) -> None:
    for check in (check_acts, check_acting_leaves_no_trace):
        check(Own(space), Echo(space, space))


class Reuses(NumpyAgent):
    """Fills the same array for each action."""

    def __init__(self) -> None:
        super().__init__()
        self.action = np.zeros(2)

    def act(self, observation: Any) -> Any:
        self.action += 0.125
        return self.action


def test_actions_are_recorded_as_they_were_returned_also_where_one_array_is_filled_again() -> None:
    env = Echo(DISCRETE, BOX)
    for pipeline in (
        BatchPipeline(env, Reuses(), window_size=4),
        LivePipeline(EnvironmentSource(env), Reuses(), LivePipeline.every_n_steps(4)),
    ):
        (window,) = first(pipeline)
        assert window.actions[:, 0].tolist() == [0.125, 0.25, 0.375, 0.5]


@pytest.mark.parametrize("action", [7.5, -9.0])
def test_actions_outside_the_space_are_not_clipped(action: float) -> None:
    class Beyond(NumpyAgent):
        def act(self, observation: Any) -> Any:
            return np.full(2, action)

    env = Echo(DISCRETE, BOX)
    (window,) = first(BatchPipeline(env, Beyond(), window_size=3))
    assert [step[1].tolist() for step in env.steps] == [[action, action]] * 3
    assert window.actions.tolist() == [[action, action]] * 3
    vector = SyncVectorEnv([partial(Echo, DISCRETE, BOX)], autoreset_mode=AutoresetMode.SAME_STEP)
    first(VectorBatchPipeline(vector, Beyond(), window_size=3))
    assert [step[1].tolist() for step in vector.envs[0].steps] == [[action, action]] * 3


def test_a_batch_that_is_a_list_or_a_tuple_of_actions_is_taken_row_by_row() -> None:
    class Rows(NumpyAgent):
        def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
            return [(int(row), 1) for row in rows(observations)]

    space = spaces.MultiDiscrete([3, 2])
    vector = SyncVectorEnv([partial(Echo, DISCRETE, space)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    (window,) = first(VectorBatchPipeline(vector, Rows(), window_size=3))
    assert window.actions.tolist() == [[kind, 1] for kind in window.observations]


class Overwrites(Own):
    """Works on the very observation that it is given."""

    def act(self, observation: Any) -> Any:
        action = super().act(observation)
        if isinstance(observation, dict):
            observation.pop("level")
        for leaf in leaves(observation):
            leaf[...] = 0
        return action


MAPPED = spaces.Dict({"level": DISCRETE, "seen": BOX})


@pytest.mark.parametrize("space", [BOX, MAPPED], ids=["Box", "Dict"])
def test_an_agent_may_change_what_it_is_given(space: Any) -> None:
    env, agent = Echo(space, DISCRETE), Overwrites(DISCRETE)
    live = LivePipeline(EnvironmentSource(env), agent, LivePipeline.every_n_steps(7))
    for pipeline in (BatchPipeline(env, agent, window_size=7), live):
        env.steps.clear()
        SEEN.clear()
        SAID.clear()
        (window,) = first(pipeline)
        assert_saw(env.steps[:7])
        assert_records(window, env.steps[:7])
    vector = SyncVectorEnv([partial(Echo, space, DISCRETE, seed) for seed in range(2)])
    (window,) = first(VectorBatchPipeline(vector, Overwrites(DISCRETE), window_size=7))
    for i, one in enumerate(vector.envs):
        assert_records(window, one.steps[:7], offset=7 * i)
    alone = Echo(space, DISCRETE)
    (window,) = first(ValidationPipeline([lambda: alone], Overwrites(DISCRETE), seed=0))
    assert_records(window, alone.steps)
