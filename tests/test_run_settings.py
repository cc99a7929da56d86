"""The list of a run's settings: each has its meaning, and its default is one that a file may hold."""

import dataclasses

import pytest

from tensor_optix._run_settings import RunSettings
from tensor_optix._settings import settings_of
from tensor_optix.runs import RunDescription

SETTINGS = settings_of(RunSettings)
DEFAULTS = dataclasses.asdict(RunSettings(env="E-v0", algorithm="ppo", framework="tf", seed=0))


def test_a_run_has_these_settings_and_no_others() -> None:
    assert settings_of(RunDescription).keys() == SETTINGS.keys() == DEFAULTS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_each_says_what_it_means_and_what_holds_otherwise(name: str) -> None:
    one = SETTINGS[name]
    assert one.about.help
    assert not one.about.help.endswith(".")
    assert one.about.otherwise or one.default is not None or one.about.is_positional
    assert one.checked(DEFAULTS[name], "here") == DEFAULTS[name]


@pytest.mark.parametrize("name", [name for name, one in SETTINGS.items() if one.default is not None])
def test_what_train_takes_by_default_may_be_in_a_file(name: str) -> None:
    assert SETTINGS[name].checked(SETTINGS[name].default, "here") == SETTINGS[name].default
