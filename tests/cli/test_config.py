"""A file of settings, and `--set`: one list of names, checked one by one, laid over each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.cli.config import (
    MAX_BYTES,
    SETTINGS,
    checked_settings,
    hyperparams_in,
    merged,
    read_config,
    settings_of_pairs,
)
from tensor_optix.errors import HyperparamError, InvalidArgumentError
from tensor_optix.runs import RUN_FORMAT, RunDescription


def written(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


class TestFiles:
    def test_names_are_those_of_the_flags_and_of_run_json(self, tmp_path: Path) -> None:
        text = "env: E-v0\nalgo: ppo\nmax-windows: 3\n".replace("-w", "_w")
        text += "env_kwargs: {size: 3}\nnet_arch: [64, 32]\nppo: {learning_rate: 1e-3, n_epochs: 4}\nseed: 7\n"
        assert read_config(written(tmp_path, text)) == {
            "env": "E-v0",
            "algorithm": "ppo",
            "max_episodes": 3,
            "env_kwargs": {"size": 3},
            "net_arch": [64, 32],
            "ppo": {"learning_rate": 0.001, "n_epochs": 4},
            "seed": 7,
        }

    def test_the_run_json_of_a_run_is_such_a_file(self, tmp_path: Path) -> None:
        run = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=7, n_envs=2)
        run.write(tmp_path)
        given = read_config(tmp_path / "run.json")
        assert given.pop("validation_share") == 1.0
        assert RunDescription(**given) == run

    def test_another_format_or_a_run_of_python_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidArgumentError, match=f"format 99, this version reads {RUN_FORMAT}"):
            read_config(written(tmp_path, json.dumps({"format": 99, "env": "E-v0"}), "run.json"))
        with pytest.raises(InvalidArgumentError, match="made in Python"):
            read_config(written(tmp_path, json.dumps({"format": RUN_FORMAT, "made_in": "python"}), "run.json"))

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.json", "{", "cannot be read as JSON"),
            ("a.json", '{"seed": 1, "seed": 2}', "a key is there twice"),
            ("a.json", "[" * 100_000, "cannot be read as JSON"),
            ("a.json", "[]", "must map names to values"),
            ("a.yaml", "- 1", "must map names to values"),
            ("a.yaml", "just text", "must map names to values"),
            ("a.yaml", " " * (MAX_BYTES + 1), "settings need at most"),
        ],
    )
    def test_what_is_no_file_of_settings_is_refused(self, tmp_path: Path, name: str, text: str, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message):
            read_config(written(tmp_path, text, name))

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidArgumentError, match="No such file"):
            read_config(tmp_path / "nowhere.yaml")
        with pytest.raises(InvalidArgumentError, match="directory"):
            read_config(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"window_sise": 3}, r"a: there is no setting 'window_sise'. Did you mean 'window_size'\?"),
        ({"total_stepz": 3}, "Did you mean"),
        ({"learning_rate": 1e-3}, r"A hyper-parameter is named with its algorithm: ppo.learning_rate"),
        ({"xyzzy": 1}, "There are: env, env_kwargs"),
        ({"window_size": "many"}, r"a: window_size cannot be 'many': Expected `int`, got `str`. It means: steps"),
        ({"window_size": 0}, r"window_size cannot be 0: Expected `int` >= 1"),
        ({"seed": True}, "seed cannot be True"),
        ({"tuning": "off"}, "tuning cannot be 'off': Expected `bool`"),
        ({"algorithm": "a3c"}, "algorithm cannot be 'a3c': Expected one of auto, ppo"),
        ({"net_arch": [64, "x"]}, "net_arch cannot be"),
        ({"validation_share": 2}, "validation_share cannot be 2"),
        (
            {"hyperparams": {"gamma": "high"}},
            "hyperparams cannot be .*: Expected a number, or a schedule such as `lin_3e-4`",
        ),
        ({"ppo": {"gamma": float("inf")}}, "a: ppo: hyperparams cannot be"),
        ({"ppo": 3}, "a: ppo: hyperparams cannot be 3"),
        ({"max_windows": 3, "max_episodes": 4}, "another name of a setting that is there already"),
        ({"env": "os system"}, "env cannot be"),
    ],
)
def test_unknown_names_and_wrong_values_are_told(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        checked_settings(data, "a")


def test_hyper_parameters_of_every_section_are_those_of_its_algorithm() -> None:
    with pytest.raises(HyperparamError, match=r"run.yaml: sac has no hyper-parameter 'clip_ratio'"):
        checked_settings({"ppo": {"clip_ratio": 0.1}, "sac": {"clip_ratio": 0.1}}, "run.yaml")


def test_pairs_name_settings_and_what_is_in_them() -> None:
    pairs = ["window_size=64", "ppo.learning_rate=1e-3", "ppo.n_epochs=2", "env_kwargs.size=3", "env_kwargs.name=x"]
    assert settings_of_pairs([*pairs, "net_arch=[8, 8]", "max_steps=null"]) == {
        "window_size": 64,
        "ppo": {"learning_rate": 0.001, "n_epochs": 2},
        "env_kwargs": {"size": 3, "name": "x"},
        "net_arch": [8, 8],
        "max_steps": None,
    }


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("window_size", "--set takes KEY=VALUE"),
        ("windowsize=3", "--set: there is no setting 'windowsize'. Did you mean 'window_size'"),
        ("window_size.a=3", "--set: window_size cannot be"),
        ("ppo.clip_ratoi=3", "Did you mean 'clip_ratio'"),
        ("pppo.gamma=0.9", "Did you mean 'ppo'"),
    ],
)
def test_a_pair_that_is_no_setting_is_told(pair: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        settings_of_pairs([pair])


def test_the_last_layer_holds_and_arguments_are_merged_by_name() -> None:
    layers = [
        {"seed": 1, "env_kwargs": {"a": 1, "b": 1}, "hyperparams": {"gamma": 0.1, "n_epochs": 1}, "net_arch": [1]},
        {"seed": 2, "env_kwargs": {"b": 2}, "hyperparams": {"gamma": 0.2}, "ppo": {"gamma": 0.3}},
        {"net_arch": [3, 3], "sac": {"gamma": 0.9}},
    ]
    found = merged(layers)
    assert (found["seed"], found["env_kwargs"], found["net_arch"]) == (2, {"a": 1, "b": 2}, [3, 3])
    assert hyperparams_in(layers, "ppo") == {"gamma": 0.3, "n_epochs": 1}
    assert hyperparams_in(layers, "sac") == {"gamma": 0.9, "n_epochs": 1}


def test_no_name_of_one_setting_is_another_ones() -> None:
    names = [name for one in SETTINGS.values() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))
