"""What reaches an agent, and what its actions come to, by what it declares."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import EnsembleAgent, PolicyManager
from tensor_optix.core.base_agent import GreedyAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.errors import SpaceError
from tensor_optix.pipeline.environment.wiring import Wiring
from tests.helpers import NumpyAgent

OBSERVATIONS = spaces.Dict({"kind": spaces.Discrete(3), "x": spaces.Box(-1, 1, (2,), np.float32)})
BOX = spaces.Box(0.0, 100.0, (1,), np.float32)
SEEN = {"kind": 2, "x": np.array([0.5, -0.5], np.float32)}
FLAT = [0.0, 0.0, 1.0, 0.5, -0.5]


class Unit(NumpyAgent):
    action_range = (-1.0, 1.0)


class Flat(NumpyAgent):
    takes_flat_observations = True


def test_an_agent_that_declares_nothing_sees_and_acts_as_the_environment_does() -> None:
    wiring, action = Wiring(OBSERVATIONS, BOX), np.array([30.0])
    assert not wiring.connect(NumpyAgent())
    found = wiring.form.one(SEEN)
    assert found["kind"] == 2
    assert type(found["kind"]) is int
    assert not np.shares_memory(found["x"], SEEN["x"])
    assert wiring.to_env(action) is action


def test_another_agent_may_see_and_act_otherwise() -> None:
    wiring = Wiring(OBSERVATIONS, BOX)
    assert wiring.connect(Flat())
    assert not wiring.connect(Flat())
    assert wiring.form.one(SEEN).tolist() == FLAT
    assert wiring.connect(Unit())
    assert wiring.form.one(SEEN)["kind"] == 2
    np.testing.assert_array_equal(wiring.to_env(np.array([0.5])), [75.0])


@pytest.mark.parametrize("as_list", [False, True])
def test_a_batch_of_actions_is_handed_on_as_each_of_them_is(as_list: bool) -> None:
    wiring, actions = Wiring(OBSERVATIONS, BOX), np.array([[0.5], [-2.0]])
    wiring.connect(Unit())
    chosen, taken = wiring.chosen_and_taken(list(actions) if as_list else actions)
    assert [one.tolist() for one in chosen] == actions.tolist()
    np.testing.assert_array_equal(taken, [wiring.to_env(action) for action in actions])
    assert not any(np.shares_memory(one, actions) for one in chosen)


def test_an_agent_that_has_use_for_the_space_is_told_of_it_also_as_a_member_and_in_its_greedy_view(
    tmp_path: Path,
) -> None:
    told: list[Any] = []

    class Asking(NumpyAgent):
        def take_observation_space(self, observation_space: Any) -> None:
            told.append(observation_space)

    manager = PolicyManager(CheckpointRegistry(tmp_path))
    manager.add_agent(Asking())
    for agent in (Asking(), GreedyAgent(Asking()), EnsembleAgent(manager, manager.agents[0])):
        Wiring(OBSERVATIONS, BOX).connect(agent)
        Wiring(None, None).connect(agent)
    assert told == [OBSERVATIONS] * 3


def test_boxes_look_the_same_to_all() -> None:
    wiring = Wiring(BOX, BOX)
    assert not wiring.connect(Flat())


def test_what_cannot_be_flattened_is_refused_to_those_who_want_it_so_only() -> None:
    wiring = Wiring(spaces.Dict(words=spaces.Text(3)), BOX)
    wiring.connect(NumpyAgent())
    with pytest.raises(SpaceError, match="cannot be flattened"):
        wiring.connect(Flat())


def test_a_feed_that_names_no_space_cannot_be_flattened_unless_it_is_numbers() -> None:
    wiring = Wiring(None, None)
    wiring.connect(NumpyAgent())
    assert wiring.seen(SEEN) is SEEN
    wiring.connect(Flat())
    assert wiring.seen(SEEN["x"]) is SEEN["x"]
    assert wiring.seen(3).dtype == np.float64
    with pytest.raises(SpaceError, match="Give the source an observation_space"):
        wiring.seen(SEEN)


@pytest.mark.parametrize(
    ("space", "actions", "expected"),
    [
        (spaces.Discrete(3), np.array([1, 2]), [1, 2]),
        (spaces.MultiDiscrete([2, 3]), [(1, 2), (0, 1)], [(1, 2), (0, 1)]),
        (spaces.MultiDiscrete([2, 3]), ((1, 2), (0, 1)), [(1, 2), (0, 1)]),
        (
            spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3))),
            (np.array([1, 0]), np.array([2, 1])),
            [(1, 2), (0, 1)],
        ),
        (spaces.Dict(a=spaces.Discrete(2)), {"a": np.array([1, 0])}, [{"a": 1}, {"a": 0}]),
    ],
    ids=str,
)
def test_actions_of_any_kind_are_listed_and_stacked(space: Any, actions: Any, expected: list[Any]) -> None:
    wiring = Wiring(BOX, space)
    listed = wiring.listed_actions(actions)
    assert listed == expected
    assert repr(wiring.listed_actions(wiring.stacked_actions(listed))) == repr(
        wiring.listed_actions(wiring.stacked_actions(expected))
    )


def test_members_are_translated_for() -> None:
    wiring, rows = Wiring(OBSERVATIONS, BOX), {"kind": np.array([2]), "x": SEEN["x"][None]}
    assert wiring.shown(NumpyAgent(), rows) is rows
    assert wiring.shown(Flat(), rows).tolist() == [FLAT]
    np.testing.assert_array_equal(wiring.executed(Unit(), np.array([[0.5]])), [[75.0]])
    np.testing.assert_array_equal(wiring.chosen(Unit(), np.array([[75.0]])), [[0.5]])
    assert wiring.executed(NumpyAgent(), rows) is wiring.chosen(NumpyAgent(), rows) is rows
    with pytest.raises(SpaceError, match="Give the source an action_space"):
        Wiring(None, None).executed(Unit(), np.zeros((1, 1)))
