"""Flags are made from settings, and only those that were given are found."""

import argparse
from typing import Any

import pytest

from tensor_optix.cli.config import SETTINGS
from tensor_optix.cli.flags import add_settings, default_of, given_by_flags


def made(otherwise: str | None = None) -> argparse.ArgumentParser:
    command = argparse.ArgumentParser()
    add_settings(command, SETTINGS.values(), otherwise)
    return command


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], {}),
        (["E-v0"], {"env": "E-v0"}),
        (["--algo", "sac", "--framework", "torch"], {"algorithm": "sac", "framework": "torch"}),
        (["--hp", "a=1", "--hp", "b=2"], {"hyperparams": ["a=1", "b=2"]}),
        (["--net-arch", "64", "32", "--threads", "2"], {"net_arch": [64, 32], "threads": 2}),
        (["--threads", "auto"], {"threads": "auto"}),
        (["--total-steps", "1e6", "--net-arch", "1e2", "6_4"], {"max_steps": 1_000_000, "net_arch": [100, 64]}),
        (["--no-tuning", "--async-envs"], {"tuning": False, "async_envs": True}),
        (["--no-escape", "--normalize-rewards"], {"escape": False, "normalize_rewards": True}),
        (["--max-windows", "3"], {"max_episodes": 3}),
        (["--max-episodes", "3"], {"max_episodes": 3}),
        (["--max-steps", "9", "--target-score", "-90"], {"max_steps": 9, "target_score": -90.0}),
        (["--validation-share", "1"], {"validation_share": 1.0}),
    ],
)
def test_what_is_given_is_found_and_nothing_else(arguments: list[str], given: dict[str, Any]) -> None:
    assert given_by_flags(made().parse_args(arguments), SETTINGS.values()) == given


def test_neither_a_value_nor_the_word_in_its_place_is_refused_with_both(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        made().parse_args(["--threads", "two"])
    assert "argument --threads: must be a whole number or 'auto', but got 'two'" in capsys.readouterr().err


def test_every_setting_has_a_flag_that_the_help_explains() -> None:
    text = "".join(made().format_help().split())  # it breaks lines at hyphens, too
    for one in SETTINGS.values():
        assert one.about.is_positional or one.flags[0] in text
        assert one.about.help.replace(" ", "") in text


def test_defaults_are_told_in_words() -> None:
    told = {name: default_of(one) for name, one in SETTINGS.items()}
    assert (told["threads"], told["evolve"], told["tuning"], told["async_envs"]) == ("1", "0", "yes", "no")
    assert (told["validation_share"], told["window_size"], told["env_kwargs"]) == ("0.15", "the preset's", "")
    assert "(default: as at the start)" in made("as at the start").format_help()
