"""Attacks made by hand, one per line of what has been tried on libraries that load models.

Each is a function of a `Bench` that hands hostile content to the real loaders; all it may come to is a typed error.
"""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.history import History, parse_record
from tensor_optix.core.storage.atomic import read_json
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PolicySnapshot
from tensor_optix.runs import RunDescription
from tensor_optix.support.schemas import decode_object
from tests.fakes.histories import record
from tests.soak.targets import METADATA, RUN, SmallAgent, joined, saved, split


class Touch:
    """Unpickled, it leaves a file behind."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path(self.target),))


class Bench:
    """A run's folder, an agent to load into, and a canary tree outside."""

    def __init__(self, folder: Path) -> None:
        self.run, self.outside = folder / "run", folder / "outside"
        for made in (self.run, self.outside):
            made.mkdir()
        self.canary = self.outside / "canary"
        self.canary.write_text("sing")
        self.agent = SmallAgent(0)
        self.weights_file, self.state_file = saved(self.outside)
        self.pickle = pickle.dumps(Touch(str(self.outside / "exploded")))

    def weights(self, data: bytes) -> None:
        (self.run / "m.safetensors").write_bytes(data)
        self.agent.load_weights(str(self.run / "m"))

    def state(self, data: bytes) -> None:
        (self.run / "m.safetensors").write_bytes(data)
        self.agent.load_training_state(str(self.run / "m"))

    def header(self, change: Callable[[dict[str, Any]], Any]) -> None:
        header, arrays = split(self.weights_file)
        self.weights(joined(change(header) or header, arrays))

    def values(self, change: Callable[[dict[str, Any]], None]) -> None:
        header, arrays = split(self.state_file)
        values = json.loads(header["__metadata__"]["tensor_optix"])
        change(values)
        header["__metadata__"]["tensor_optix"] = json.dumps(values)
        self.state(joined(header, arrays))

    def snapshot(self, **changes: Any) -> None:
        PolicySnapshot.from_dict(METADATA["snapshot"] | changes)

    def config(self, **changes: Any) -> None:
        (self.run / "run.json").write_text(json.dumps(RUN | changes))
        RunDescription.read(self.run)

    def config_text(self, text: bytes) -> None:
        (self.run / "run.json").write_bytes(text)
        RunDescription.read(self.run)

    def history(self, plant: Callable[[Path, Path], None]) -> None:
        """Put a link to a file of the user's in place of the history, and go on with a run that had none yet."""
        plant(self.run / "history.jsonl", self.canary)
        History(self.run / "history.jsonl").go_back_to(0)

    def planted(self, name: str, plant: Callable[[Path], None]) -> None:
        """Save a snapshot, put something in place of a part of it, and load it."""
        registry = CheckpointRegistry(self.run / "registry")
        snapshot = registry.save(SmallAgent(1), EvalMetrics(1.0))
        registry.close()
        target = registry.path_of(snapshot) / name
        content = target.read_bytes() if target.is_file() else b""
        if content:
            (self.outside / target.name).write_bytes(content)
            target.unlink()
        else:
            os.rename(target, self.outside / target.name)
        plant(target)
        CheckpointRegistry(self.run / "registry").load(snapshot, self.agent)

    def added(self, name: str) -> None:
        """Save a snapshot, put a file of this name into it, and load it."""
        registry = CheckpointRegistry(self.run / "registry")
        snapshot = registry.save(SmallAgent(1), EvalMetrics(1.0))
        registry.close()
        (registry.path_of(snapshot) / name).write_text("x")
        CheckpointRegistry(self.run / "registry").load(snapshot, self.agent)

    def read(self, plant: Callable[[Path], Any]) -> None:
        """Put something in the place of a JSON file, and read it."""
        plant(self.run / "x.json")
        read_json(self.run / "x.json")


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", '{"class_name": "Lambda"}')
        archive.writestr("bomb", bytes(10_000_000))
    return buffer.getvalue()


def _npy(**how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), **how)
    return buffer.getvalue()


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = to

    return change


def _entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _twice(header: dict[str, Any]) -> bytes:
    text = json.dumps(header)
    return (text[:-1] + f', "model.w": {json.dumps(header["model.w"])}}}').encode()


def _unicode_twin(header: dict[str, Any]) -> None:
    header["m\u043edel.w"] = header.pop("model.w")  # a Cyrillic o


def _id(snapshot_id: str) -> Callable[[Bench], None]:
    def attack(bench: Bench) -> None:
        hostile = PolicySnapshot.from_dict(METADATA["snapshot"] | {"snapshot_id": snapshot_id})
        CheckpointRegistry(bench.run).load(hostile, bench.agent)

    return attack


LOUD = "\x1b[2J\x1b]0;mine\x07\u202e\nWARNING root: forged"
"""It clears the screen, sets a title, turns the direction of writing, and forges a line of the log."""
_PICKLED_TORCH = b"PK\x03\x04archive/data.pkl"
_W = "optimizers", "adam"
_DEEP = 100_000

ATTACKS: dict[str, Callable[[Bench], None]] = {
    # T1, T2: files that run code, in place of weights
    "a pickle": lambda b: b.weights(b.pickle),
    "a pickle in place of a training state": lambda b: b.state(b.pickle),
    "a torch archive": lambda b: b.weights(_PICKLED_TORCH + b.pickle),
    "a keras archive": lambda b: b.weights(_zip()),
    "an object .npy": lambda b: b.weights(_npy(allow_pickle=True)),
    "an .npz": lambda b: b.weights(b"PK\x03\x04" + _npy(allow_pickle=True)),
    "an .h5": lambda b: b.weights(b"\x89HDF\r\n\x1a\n" + bytes(512)),
    "a pickle behind a good header": lambda b: b.weights(b.weights_file + b.pickle),
    "a pickle as the header": lambda b: b.weights(joined(b.pickle, b"")),
    "a keras config in the values": lambda b: b.values(_set("class_name", to="Lambda")),
    "a pickle as JSON": lambda b: b.read(lambda path: path.write_bytes(b.pickle)),
    # T3: names
    "an id that climbs": _id("../../outside"),
    "an absolute id": _id("/etc/passwd"),
    "an id with a NUL": _id("0\x00"),
    "an id of a Windows device": _id("CON"),
    "an id of look-alikes": _id("\u0430bc"),
    "an id of full-width dots": _id("\uff0e\uff0e/x"),
    "an id without end": _id("a" * 100_000),
    "an empty id": _id(""),
    "an id with a line end": _id("000003\n"),
    "an id with backslashes": _id("..\\..\\x"),
    # T4: what is not a plain file
    "weights are a link": lambda b: b.planted("weights/agent.safetensors", lambda p: p.symlink_to(b.outside / p.name)),
    "weights are a hard link": lambda b: b.planted("weights/agent.safetensors", lambda p: _linked_and_loaded(b, p)),
    "weights are a pipe": lambda b: b.planted("weights/agent.safetensors", os.mkfifo),
    "the weights' folder is a link": lambda b: b.planted("weights", lambda p: p.symlink_to(b.outside / "weights")),
    "metadata are a link": lambda b: b.planted("metadata.json", lambda p: p.symlink_to(b.outside / "metadata.json")),
    "metadata are a pipe": lambda b: b.planted("metadata.json", os.mkfifo),
    "JSON is a link": lambda b: b.read(lambda path: path.symlink_to(b.canary)),
    "JSON is a link to a device": lambda b: b.read(lambda path: path.symlink_to("/dev/zero")),
    "JSON is a hard link": lambda b: b.read(lambda path: path.hardlink_to(b.canary)),
    "JSON is a pipe": lambda b: b.read(os.mkfifo),
    "JSON is a folder": lambda b: b.read(Path.mkdir),
    "JSON is a link to itself": lambda b: b.read(lambda path: path.symlink_to(path)),
    "JSON is a device": lambda b: read_json(Path("/dev/zero")) and None,
    # T5: bombs
    "a header of 100 MB that is not there": lambda b: b.weights((10**8).to_bytes(8, "little") + b.weights_file[8:]),
    "a header of 2^64 - 1": lambda b: b.weights(b"\xff" * 8 + b.weights_file[8:]),
    "a header of 2 MB": lambda b: b.weights(joined(b"{" + b" " * (2 << 20) + b"}", b"")),
    "a header of 65,537 arrays": lambda b: b.weights(
        joined({f"{i}": _entry("U8", [], i, i + 1) for i in range(65_537)}, bytes(65_537))
    ),
    "an array of 4 TB": lambda b: b.header(_set("model.w", to=_entry("F32", [2**40], 0, 2**42))),
    "a shape that overflows": lambda b: b.header(_set("model.w", to=_entry("F32", [2**32, 2**32, 0], 0, 0))),
    "a shape of minus one": lambda b: b.header(_set("model.w", to=_entry("F32", [-1, -12], 0, 48))),
    "a shape of a thousand axes": lambda b: b.header(_set("model.w", to=_entry("F32", [1] * 1000, 0, 4))),
    "a 1 TB file of nothing": lambda b: _sparse(b),
    "JSON of 5 MB": lambda b: b.read(lambda path: path.write_bytes(b'{"a": "' + b"x" * (5 << 20) + b'"}')),
    "a million lists in 3 MB": lambda b: b.read(lambda path: path.write_bytes(b'{"a": [' + b"[]," * 10**6 + b"0]}")),
    "lists 100,000 deep": lambda b: b.read(lambda path: path.write_bytes(b"[" * _DEEP)),
    "objects 100,000 deep": lambda b: b.read(lambda path: path.write_bytes(b'{"a":' * _DEEP)),
    "a deep header": lambda b: b.weights(joined(b'{"a":' * 50_000, b"")),
    "a zip": lambda b: b.config_text(_zip()),
    # T5, T6: layouts and numbers
    "floats as integers": lambda b: b.header(_set("model.w", "dtype", to="I32")),
    "an unknown type": lambda b: b.header(_set("model.w", "dtype", to="object")),
    "an array of bfloat16": lambda b: b.header(_set("model.w", "dtype", to="BF16")),
    "arrays over each other": lambda b: b.header(_set("model.w", "data_offsets", to=[0, 48])),
    "offsets that run backwards": lambda b: b.header(_set("model.w", "data_offsets", to=[48, 0])),
    "an array that is there twice": lambda b: b.header(_twice),
    "a name of look-alikes": lambda b: b.header(_unicode_twin),
    "a transposed array": lambda b: b.header(_set("model.w", "shape", to=[4, 3])),
    "a field that is not in the format": lambda b: b.header(_set("model.w", "url", to="http://x")),
    "truth values that are neither": lambda b: _truth(b),
    "NaN weights": lambda b: _poisoned(b, np.nan),
    "infinite weights": lambda b: _poisoned(b, np.inf),
    "a missing array": lambda b: b.header(lambda header: header.pop("model.w") and None),
    "bytes behind the end": lambda b: b.weights(b.weights_file + b"x"),
    "a training state in the wrong framework": lambda b: b.values(_set("framework", to="torch")),
    "a learning rate of text": lambda b: b.values(_set(*_W, "lr", to="fast")),
    "a learning rate of 1e308": lambda b: b.values(_set(*_W, "lr", to=1e308)),
    "a setting that nobody has": lambda b: b.values(_set(*_W, "__class__", to="os.system")),
    "a generator of another kind": lambda b: b.values(_set("generators", "act", "bit_generator", to="MT19937")),
    "a generator's state that is negative": lambda b: b.values(_set("generators", "act", "state", "state", to=-1)),
    "a generator that is no state": lambda b: b.values(_set("generators", "act", to={})),
    "a hyper-parameter out of its range": lambda b: b.values(_set("hyperparams", "params", "learning_rate", to=50)),
    "values that nobody asked for": lambda b: b.values(_set("extra", "memory", to={"capacity": 10**15})),
    # T8: metadata, histories and configs
    "a score of NaN": lambda b: _decoded(b'{"primary_score": NaN}'),
    "a score of 1e999": lambda b: _decoded(b'{"primary_score": 1e999}'),
    "a score of infinity": lambda b: EvalMetrics.from_dict({"primary_score": float("inf")}) and None,
    "a key twice": lambda b: _decoded(b'{"a": 1, "\\u0061": 2}'),
    "no UTF-8": lambda b: _decoded(b'{"a": "\xff"}'),
    "half a surrogate": lambda b: _decoded(b'{"a": "\\ud800"}'),
    "an integer of 5,000 digits": lambda b: _decoded(b'{"a": ' + b"9" * 5000 + b"}"),
    "a truth value as a number": lambda b: b.snapshot(sequence=True),
    "a number as text": lambda b: b.snapshot(window_id="9"),
    "a sequence of 2^200": lambda b: b.snapshot(sequence=2**200),
    "a field that metadata do not have": lambda b: b.snapshot(path="/etc"),
    "hyper-parameters that are a list": lambda b: HyperparamSet.from_dict([1, 2]) and None,  # type: ignore[arg-type]
    "a hyper-parameter that is infinite": lambda b: (
        HyperparamSet.from_dict({"params": {"lr": [float("inf")]}, "episode_id": 0}) and None
    ),
    "a line of a history that is no record": lambda b: parse_record(b'{"window_id": 1}', "Line 1") and None,
    "a line of a history of 2 MB": lambda b: parse_record(b" " * (2 << 20), "Line 1") and None,
    "a history that is a link": lambda b: b.history(Path.symlink_to),
    "a history that has a second name": lambda b: b.history(Path.hardlink_to),
    "a line with a state of a number": lambda b: (
        parse_record(json.dumps(record(1).to_dict() | {"state": 1}).encode(), "Line 1") and None
    ),
    "an environment of a module": lambda b: b.config(env="evil:Env-v0"),
    "an environment of a module in a namespace": lambda b: b.config(env="os:x/Env-v0"),
    "an environment that climbs with a NUL": lambda b: b.config(env="../\x00"),
    "an environment of look-alikes": lambda b: b.config(env="C\u0430rtPole-v1"),
    "an environment that is a constructor": lambda b: b.config(env={"_target_": "os.system", "command": "id"}),
    "a window of 10^12": lambda b: b.config(window_size=10**12),
    "a million environments": lambda b: b.config(n_envs=10**6),
    "a layer of 10^9": lambda b: b.config(net_arch=[10**9]),
    "layers of 2^16, 64 times": lambda b: b.config(net_arch=[1 << 16] * 64),
    "a hyper-parameter that there is not": lambda b: b.config(hyperparams={"__class__": 1}),
    "a million layers": lambda b: b.config(net_arch=[1] * 10**6),
    "a seed that is a truth value": lambda b: b.config(seed=True),
    "a key that is misspelt": lambda b: b.config(window_siz=3),
    "a format of a truth value": lambda b: b.config(format=True),
    "an environment that speaks to the terminal": lambda b: b.config(env=LOUD),
    "a framework that speaks to the terminal": lambda b: b.config(framework=LOUD),
    "a hyper-parameter that speaks to the terminal": lambda b: b.config(hyperparams={LOUD: 1}),
    "a setting that speaks to the terminal": lambda b: b.config(**{LOUD: 1}),
    "a setting of 900 kB": lambda b: b.config(env="x" * 900_000),
    "the name of a setting of 900 kB": lambda b: b.config(**{"x" * 900_000: 1}),
    "a file of a snapshot that speaks to the terminal": lambda b: b.added(LOUD),
    "a file of a snapshot that turns the direction of writing": lambda b: b.added("\u202egpj.exe"),
    "a file of a snapshot in half a surrogate": lambda b: b.added("\udc80\udcff"),
    "an array that speaks to the terminal": lambda b: b.header(_set(LOUD, to=_entry("F32", [1], 0, 4))),
    "a line of a history whose field speaks to the terminal": lambda b: (
        parse_record(json.dumps(record(1).to_dict() | {LOUD: 1}).encode(), "Line 1") and None
    ),
    "a config of YAML": lambda b: b.config_text(b"env: !!python/object/apply:os.system [id]"),
    "a config of 2 MB": lambda b: b.config_text(json.dumps(RUN | {"env": "x" * (2 << 20)}).encode()),
}


def _linked_and_loaded(bench: Bench, path: Path) -> None:
    path.hardlink_to(bench.outside / path.name)
    bench.agent.load_weights(str(path).removesuffix(".safetensors"))


def _sparse(bench: Bench) -> None:
    header, arrays = split(bench.weights_file)
    header["model.more"] = _entry("U8", [2**40], len(arrays), len(arrays) + 2**40)
    file = bench.run / "m.safetensors"
    file.write_bytes(joined(header, arrays))
    os.truncate(file, file.stat().st_size + 2**40)
    bench.agent.load_weights(str(bench.run / "m"))


def _poisoned(bench: Bench, value: float) -> None:
    header, arrays = split(bench.weights_file)
    begin = header["model.w"]["data_offsets"][0]
    bench.weights(joined(header, arrays[:begin] + np.float32(value).tobytes() + arrays[begin + 4 :]))


def _truth(bench: Bench) -> None:
    header, arrays = split(bench.weights_file)
    begin = header["model.on"]["data_offsets"][0]
    bench.weights(joined(header, arrays[:begin] + b"\x07" + arrays[begin + 1 :]))


def _decoded(data: bytes) -> None:
    decode_object(data, "metadata.json")
