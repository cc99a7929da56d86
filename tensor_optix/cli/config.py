"""A file of settings for `train --config`, and single ones with `--set KEY=VALUE`.

Both know the names of the flags and of `run.json`, and `ALGORITHM.NAME` for a hyper-parameter. A `run.json` is such a
file, too: with it, a run is trained once more.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensor_optix._hyperparam_names import hyperparam_table, refuse_unknown
from tensor_optix._run_settings import RunSettings
from tensor_optix._settings import settings_of
from tensor_optix.algorithms._description import ALGORITHMS
from tensor_optix.cli.flags import Given
from tensor_optix.cli.yaml_files import read_yaml
from tensor_optix.core.storage.line_log import RUN_ID
from tensor_optix.errors import InvalidArgumentError, did_you_mean
from tensor_optix.runs import RUN_FORMAT
from tensor_optix.support.pairs import split_pair, value_of
from tensor_optix.support.redact import redacted

MAX_BYTES = 1 << 20
SETTINGS = settings_of(RunSettings)
_NAMES = {alias: one.name for one in SETTINGS.values() for alias in (one.name, *one.aliases)}
_OF_RUN_FILES = ("format", "version", RUN_ID)


def read_config(path: Path) -> Given:
    """Return the settings in a YAML or JSON file.

    Raises:
        InvalidArgumentError: it cannot be read, is neither, or has a name or a value that is no setting's.
        MissingDependencyError: it is YAML, and PyYAML is not installed.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise InvalidArgumentError(f"--config {str(path)!r} cannot be read: {error.strerror}.") from error
    if size > MAX_BYTES:
        raise InvalidArgumentError(f"--config {str(path)!r} has {size} bytes; settings need at most {MAX_BYTES}.")
    data = _decoded(content, path)
    if data.get("made_in") is not None:
        raise InvalidArgumentError(f"{str(path)!r} is of a run that was made in Python, where alone it is made again.")
    if data.get("format", RUN_FORMAT) != RUN_FORMAT:
        raise InvalidArgumentError(f"{str(path)!r} has format {data['format']!r}, this version reads {RUN_FORMAT}.")
    return checked_settings({name: one for name, one in data.items() if name not in _OF_RUN_FILES}, str(path))


def settings_of_pairs(pairs: Iterable[str]) -> Given:
    """Return the settings that `--set KEY=VALUE` gives; a key with a dot is a name within the one before it.

    Raises:
        InvalidArgumentError: a name or a value that is no setting's.
    """
    given: Given = {}
    for pair in pairs:
        key, text = split_pair(pair, "--set")
        name, dot, inner = key.partition(".")
        if not dot:
            given |= checked_settings({name: value_of(text)}, "--set")
            continue
        checked = checked_settings({name: {inner: value_of(text)}}, "--set")
        for one, values in checked.items():
            given[one] = {**given.get(one, {}), **values}
    return given


def checked_settings(data: Mapping[str, object], where: str) -> Given:
    """Return settings under their own names, each of its type and within its bounds.

    Args:
        data: values by name, made of JSON's types; the name of an algorithm stands for its hyper-parameters.
        where: they were given, for messages.
    """
    given: Given = {}
    for key, value in data.items():
        name = key if key in ALGORITHMS else _NAMES.get(key)
        if name is None:
            raise InvalidArgumentError(f"{where}: there is no setting {redacted(key)!r}.{_nearest(key)}")
        if name in given:
            raise InvalidArgumentError(f"{where}: {key} is another name of a setting that is there already, {name}.")
        if name in ALGORITHMS:
            value = SETTINGS["hyperparams"].checked(value, f"{where}: {name}")
            refuse_unknown(value, name, where)
            given[name] = value
        elif name == "validation_share" and value in (1, None):  # no bound
            given[name] = 1.0
        else:
            given[name] = SETTINGS[name].checked(value, where)
    return given


def hyperparams_in(layers: Iterable[Given], algorithm: str) -> Given:
    """Return the hyper-parameters of an algorithm, of several layers the last one's; its own section is nearer.

    Args:
        layers: from the weakest to the strongest.
        algorithm: that trains.
    """
    params: Given = {}
    for layer in layers:
        params |= layer.get("hyperparams", {}) | layer.get(algorithm, {})
    return params


def merged(layers: Iterable[Given]) -> Given:
    """Return all settings, of several layers the last one's; arguments of the environment are merged by name.

    Args:
        layers: from the weakest to the strongest.
    """
    found: Given = {}
    for layer in layers:
        env_kwargs = {**found.get("env_kwargs", {}), **layer.get("env_kwargs", {})}
        found |= layer | ({"env_kwargs": env_kwargs} if env_kwargs else {})
    return found


def _decoded(content: bytes, path: Path) -> Given:
    if path.suffix == ".json":
        try:
            data = json.loads(content, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise InvalidArgumentError(f"{str(path)!r} cannot be read as JSON: {error}.") from error
    else:
        data = read_yaml(content, str(path))
    if not isinstance(data, dict):
        raise InvalidArgumentError(f"{str(path)!r} must map names to values, e.g. 'env: CartPole-v1'.")
    return data


def _once(pairs: list[tuple[str, object]]) -> Given:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice in one object")
    return found


def _nearest(key: str) -> str:
    """Return what may have been meant."""
    owners = [algorithm for algorithm in ALGORITHMS if key in hyperparam_table(algorithm)]
    if owners:
        return f" A hyper-parameter is named with its algorithm: {owners[0]}.{key}."
    known = (*_NAMES, *ALGORITHMS)
    return did_you_mean(key, known) or f" There are: {', '.join(SETTINGS)}, and hyper-parameters by algorithm."
