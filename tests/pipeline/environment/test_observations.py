"""Structures of observations as the agents see them: like gymnasium's own flatten, in every pipeline."""

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from tensor_optix import BatchPipeline, VectorBatchPipeline
from tensor_optix.errors import ModelShapeError, SpaceError
from tensor_optix.factory import make_agent
from tensor_optix.pipeline.environment.observations import ObservationForm, blank_observations, flat_observation_space
from tests.fakes.environments import Structured
from tests.helpers import FlatAgent

SPACES = [
    spaces.Discrete(5),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([3, 2, 4]),
    spaces.MultiDiscrete([[3, 2], [2, 5]], start=[[1, 0], [0, -3]]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 3]),
    spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2,), np.float32))),
    spaces.Dict(
        {
            "z": spaces.Box(-1, 1, (2, 2), np.float64),
            "a": spaces.Discrete(3),
            "m": spaces.Dict({"deep": spaces.MultiBinary(2), "pair": spaces.Tuple((spaces.MultiDiscrete([2, 3]),))}),
            "image": spaces.Box(0, 255, (2, 2, 3), np.uint8),
        }
    ),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_one_and_many_are_gymnasiums_flatten(space: spaces.Space) -> None:
    space.seed(0)
    samples = [space.sample() for _ in range(6)]
    expected = np.stack([spaces.flatten(space, sample) for sample in samples]).astype(np.float32)
    flattener = ObservationForm(space, is_flat=True)
    batched = concatenate(space, samples, create_empty_array(space, 6))
    np.testing.assert_array_equal(flattener.batch(batched, 6), expected)
    np.testing.assert_array_equal([flattener.one(sample) for sample in samples], expected)
    assert flattener.one(samples[0]).dtype == np.float32
    assert all(flattener.space.contains(row) for row in flattener.batch(batched, 6))
    assert flattener.space == flat_observation_space(space)
    assert batch_space(space, 6).contains(batched)
    assert blank_observations(space, 6).shape == expected.shape


def test_blank_choices_are_one_hot() -> None:
    assert blank_observations(spaces.Discrete(3, start=1), 2).tolist() == [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert not blank_observations(spaces.Box(-1, 1, (3,), np.float64), 2).any()


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 255, (84, 84, 3), np.uint8), spaces.Box(-1, 1, (3,), np.float64)], ids=str
)
def test_a_box_passes_as_it_is_but_as_a_copy(space: spaces.Box) -> None:
    flattener, sample = ObservationForm(space, is_flat=True), space.sample()
    assert flattener.space is space
    assert flat_observation_space(space) is space
    for seen in (flattener.one(sample), flattener.batch(sample[None], 1)[0]):
        assert seen.dtype == space.dtype
        assert not np.shares_memory(seen, sample)
        np.testing.assert_array_equal(seen, sample)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(5),
        spaces.Dict({"words": spaces.Text(5)}),
        spaces.Tuple((spaces.Sequence(spaces.Discrete(2)),)),
    ],
    ids=str,
)
def test_what_has_no_array_form_is_refused_by_name(space: spaces.Space) -> None:
    with pytest.raises(SpaceError, match=r"cannot be flattened.*TransformObservation\(env, function, space\)"):
        flat_observation_space(space)


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (0,)), spaces.Dict({}), spaces.Tuple((spaces.Dict({}),))], ids=str)
def test_what_holds_no_number_is_refused(space: spaces.Space) -> None:
    with pytest.raises(SpaceError, match=r"hold no number.*TransformObservation\(env, function, space\)"):
        flat_observation_space(space)


def test_a_member_that_holds_nothing_takes_no_place() -> None:
    space = spaces.Dict({"a": spaces.Dict({}), "b": spaces.Box(-1, 1, (0,)), "c": spaces.Discrete(2)})
    form = ObservationForm(space, is_flat=True)
    assert form.one({"a": {}, "b": np.zeros(0, np.float32), "c": 1}).tolist() == [0.0, 1.0]
    assert form.space.shape == (2,)


def test_what_has_no_array_form_is_left_out_of_a_dict_by_name() -> None:
    space = spaces.Dict({"words": spaces.Text(5), "x": spaces.Discrete(2), "t": spaces.Tuple((spaces.Text(2),))})
    with pytest.raises(SpaceError, match=r"FilterObservation\(env, \['x'\]\), .* --wrapper '.*:filter_keys=\[\"x\"\]'"):
        flat_observation_space(space)


def test_one_number_is_a_vector_of_one() -> None:
    space = spaces.Box(-1.0, 1.0, (), np.float32)
    form = ObservationForm(space, is_flat=True)
    assert form.space == spaces.Box(-1.0, 1.0, (1,), np.float32)
    assert form.one(np.float32(0.5)).tolist() == [0.5]
    assert form.batch(np.array([0.5, 0.25], np.float32), 2).tolist() == [[0.5], [0.25]]
    assert ObservationForm(space).space is space


def test_a_custom_space_passes_as_it_is() -> None:
    flattener = ObservationForm(spaces.Text(5))
    assert flattener.one("abc") == "abc"


def flat(step: int) -> list[float]:
    return [*np.eye(3)[step % 3], step]


EXPECTED = [(flat(step), flat(step + 1)) for step in range(1, 40) if step % 4]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_vectors_of_structures(mode: AutoresetMode, kind: Any) -> None:
    pipeline = VectorBatchPipeline(kind([Structured] * 2, autoreset_mode=mode), FlatAgent(), window_size=24)
    pipeline.setup()
    window = next(pipeline.episodes())
    for rows in (slice(0, 24), slice(24, 48)):
        pairs = list(zip(window.observations[rows].tolist(), window.next_observations[rows].tolist(), strict=True))
        assert pairs == EXPECTED[:24]
    pipeline.teardown()


def test_single_environments_and_validation_of_structures() -> None:
    pipeline = BatchPipeline(Structured(), FlatAgent(), window_size=24)
    window = next(pipeline.episodes())
    assert list(zip(window.observations.tolist(), window.next_observations.tolist(), strict=True)) == EXPECTED[:24]


@pytest.mark.parametrize("vectorised", [False, True])
def test_an_agent_is_checked_against_the_flattened_space_and_learns_from_it(vectorised: bool) -> None:
    gym.register("Structured-v0", entry_point=Structured, max_episode_steps=10)
    try:
        box = gym.make("CartPole-v1")  # observations of 4 numbers, as ours are
        agent = make_agent(box, framework="torch", seed=0)
        make: Any = VectorBatchPipeline if vectorised else BatchPipeline
        source: Any = ("Structured-v0", 2) if vectorised else "Structured-v0"
        pipeline = make(source, agent, window_size=20)
        pipeline.setup()
        assert "loss" in " ".join(agent.learn(next(pipeline.episodes())))
        validation = pipeline.validation_pipeline(2, 0)
        validation.setup()
        (window,) = itertools.islice(validation.episodes(), 1)
        assert window.observations.shape == (6, 4)
        with pytest.raises(ModelShapeError):
            make(source, make_agent("Acrobot-v1", framework="torch", seed=0)).setup()
    finally:
        del gym.registry["Structured-v0"]
