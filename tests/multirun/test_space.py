from dataclasses import replace
from typing import Any

import pytest

from tensor_optix.multirun.space import Choices, Range, nearest, run_of, space_of, with_environments
from tensor_optix.runs import RunDescription

RUN = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=0, n_envs=8, window_size=2048)
PRESET = {
    "learning_rate": 3e-4,
    "clip_ratio": 0.2,
    "entropy_coef": 0.0,
    "gamma": 0.997,
    "gae_lambda": 0.95,
    "n_epochs": 10,
    "minibatch_size": 64,
    "max_grad_norm": 0.5,
    "vf_coef": 0.5,
}


def test_the_space_is_that_of_the_table_and_holds_the_preset() -> None:
    space, preset = space_of(RUN, PRESET, (64, 64))
    assert space["learning_rate"] == Range(1e-5, 1e-2, "log")
    assert space["gamma"] == Choices([0.9, 0.95, 0.98, 0.99, 0.995, 0.997, 0.999])
    assert space["net_arch"] == Choices(["32-32", "64-64", "128-128", "256-256"])
    assert preset["gamma"] == 0.997
    assert preset["net_arch"] == "64-64"
    assert "vf_coef" not in space
    assert space.keys() == preset.keys()


def test_a_range_is_as_wide_as_the_preset_needs() -> None:
    space, _ = space_of(RUN, {**PRESET, "learning_rate": 0.05}, (64, 64))
    assert space["learning_rate"] == Range(1e-5, 0.05, "log")


def test_what_the_user_has_set_is_not_searched() -> None:
    run = replace(RUN, hyperparams={"gamma": 0.9, "learning_rate": "lin_1e-3"}, net_arch=[8])
    space, preset = space_of(run, {**PRESET, "gamma": 0.9}, (8,))
    assert not {"gamma", "learning_rate", "net_arch"} & {*space, *preset}


def test_images_have_no_layers_to_search() -> None:
    space, _ = space_of(RUN, PRESET, ())
    assert "net_arch" not in space


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        ({}, [2, 4, 8, 16, 32]),
        ({"window_size": 24}, [2, 4, 8]),
        ({"window_size": 25}, None),
        ({"algorithm": "dqn", "window_size": 256, "n_envs": 1}, [1, 2, 4]),
    ],
)
def test_environments_are_searched_around_those_of_the_preset(settings: dict[str, Any], numbers: list[int]) -> None:
    space, preset = with_environments({}, {}, replace(RUN, **settings))
    assert space == ({} if numbers is None else {"n_envs": Choices(list(numbers))})
    assert preset.keys() == space.keys()


def test_values_stand_for_a_run() -> None:
    found = run_of(replace(RUN, hyperparams={"vf_coef": 1.0}), {"gamma": 0.9, "net_arch": "8-4", "n_envs": 2})
    assert (found.hyperparams, found.net_arch, found.n_envs) == ({"vf_coef": 1.0, "gamma": 0.9}, [8, 4], 2)
    assert run_of(RUN, {}) == RUN


def test_values_from_elsewhere_are_brought_into_the_space() -> None:
    space, preset = space_of(RUN, PRESET, (64, 64))
    found = nearest(
        space, {"learning_rate": 0.5, "gamma": 0.94, "net_arch": "7-7", "n_epochs": "?", "n_envs": 3}, preset
    )
    assert found == {**preset, "learning_rate": 0.01, "gamma": 0.95}
    assert nearest(space, {"net_arch": "32-32"}, preset)["net_arch"] == "32-32"
