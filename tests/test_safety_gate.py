"""What the package may not call, import or do: read from its syntax, and seen while it is imported and runs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Goal

PACKAGE = Path(__file__).parent.parent / "tensor_optix"

MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
"""Never imported."""
CALLS = {
    "joblib.load", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen",
    "shutil.rmtree", "tempfile.mktemp", "time.time", "eval", "exec", "builtins.eval", "builtins.exec",
}  # fmt: skip
"""Never called, under whatever name they were imported."""
METHODS = {
    "load_model", "model_from_json", "model_from_config", "deserialize_keras_object", "enable_unsafe_deserialization",
    "TFSMLayer",
}  # fmt: skip
"""Never called, of whatever object."""

ALLOWED = {
    # What makes an environment goes from this process to one that it has started itself; what comes back is read by a
    # schema (`workers/wire.py`).
    ("pipeline/environment/workers/functions.py", "cloudpickle"),
}


def findings(source: str) -> Iterator[str]:
    """Yield what a source may not have."""
    tree, names = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                if alias.name.partition(".")[0] in MODULES:
                    yield alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            if (node.module or "").partition(".")[0] in MODULES:
                yield str(node.module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node, names)
        elif isinstance(node, ast.Constant) and node.value in ("0.0.0.0", "::"):  # noqa: S104
            yield "0.0.0.0"  # noqa: S104


def _of_call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = _dotted(node.func, names)
    if called in CALLS:
        yield called
    last = called.rpartition(".")[2]
    if last in METHODS or (last in ("import_module", "__import__") and _text(node) in MODULES):
        yield last if last in METHODS else _text(node)
    for keyword in node.keywords:
        is_true = not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        if keyword.arg in ("allow_pickle", "shell") and is_true:
            yield f"{keyword.arg}=True"


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return "?"


def _text(node: ast.Call) -> str:
    return str(node.args[0].value) if node.args and isinstance(node.args[0], ast.Constant) else ""


@pytest.mark.soak
def test_the_package_has_nothing_that_runs_what_it_reads_or_reaches_beyond_its_folder(goal: Goal) -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), what)
        for path in PACKAGE.rglob("*.py")
        for what in findings(path.read_text(encoding="utf-8"))
    }
    measured = f"{len(found - ALLOWED)}, allowed: {len(ALLOWED)} {sorted(found - ALLOWED)[:1]}"
    goal("G28", "0 unsafe calls, at most 3 allowed by name", measured, found <= ALLOWED and len(ALLOWED) <= 3)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pickle", "pickle"),
        ("from pickle import loads as read", "pickle"),
        ("import cloudpickle as c", "cloudpickle"),
        ("import dill", "dill"),
        ("import marshal", "marshal"),
        ("import shelve", "shelve"),
        ("import joblib\njoblib.load('x')", "joblib.load"),
        ("import importlib\nimportlib.import_module('pickle')", "pickle"),
        ("__import__('marshal')", "marshal"),
        ("import torch\ntorch.load('x', weights_only=True)", "torch.load"),
        ("from torch import load as fetch\nfetch('x')", "torch.load"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle=True"),
        ("import numpy as np\nnp.load('x', allow_pickle=flag)", "allow_pickle=True"),
        ("import keras\nkeras.models.load_model('x')", "load_model"),
        ("from keras.saving import load_model", ""),
        ("from keras.saving import load_model as m\nm('x')", "load_model"),
        ("import keras\nkeras.saving.deserialize_keras_object({})", "deserialize_keras_object"),
        ("import keras\nkeras.models.model_from_json('x')", "model_from_json"),
        ("import keras\nkeras.config.enable_unsafe_deserialization()", "enable_unsafe_deserialization"),
        ("import keras\nkeras.layers.TFSMLayer('x')", "TFSMLayer"),
        ("import yaml\nyaml.load('x')", "yaml.load"),
        ("eval('1')", "eval"),
        ("exec('1')", "exec"),
        ("import os\nos.system('x')", "os.system"),
        ("from os import system\nsystem('x')", "os.system"),
        ("import subprocess\nsubprocess.run('x', shell=True)", "shell=True"),
        ("import shutil\nshutil.rmtree('x')", "shutil.rmtree"),
        ("from shutil import rmtree\nrmtree('x')", "shutil.rmtree"),
        ("host = '0.0.0.0'", "0.0.0.0"),  # noqa: S104
        ("import tempfile\ntempfile.mktemp()", "tempfile.mktemp"),
        ("import time\ntime.time()", "time.time"),
        ("from time import time\ntime()", "time.time"),
        ("model.eval()", ""),
        ("import numpy as np\nnp.load('x', allow_pickle=False)", ""),
        ("import time\ntime.monotonic()", ""),
        ("import safetensors.numpy\nsafetensors.numpy.load(b'')", ""),
    ],
)
def test_every_rule_is_seen_to_work(source: str, expected: str) -> None:
    found = set(findings(source))
    assert (expected in found) if expected else (found == set()), found


_IMPORT = """
import os, sys
import numpy
seen = []
def hook(event, args):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.remove",
                         "os.rename", "os.mkdir", "os.rmdir", "urllib.", "shutil.")):
        seen.append(f"{event} {args!r}")
    elif event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append(f"{event} {args!r}")
sys.addaudithook(hook)
import tensor_optix
heavy = sorted({"torch", "tensorflow", "keras", "gymnasium", "rich", "pickle5"} & set(sys.modules))
assert not seen, seen
assert not heavy, heavy
try:
    open("probe", "w").close()
except OSError:
    pass
assert seen, "the hook is blind"
"""


def test_importing_the_package_opens_no_socket_starts_no_process_and_writes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-B", "-c", _IMPORT]
    done = subprocess.run(  # noqa: S603 - our own interpreter and text
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}
    )
    assert done.returncode == 0, done.stderr


def listening_sockets() -> set[str]:
    """Return the addresses that this process listens on."""
    inodes = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/self/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1])
    return found


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux's /proc/net")
def test_a_run_listens_on_no_socket(tmp_path: Path, goal: Goal) -> None:
    import socket

    from tensor_optix import LoopCallback, RLOptimizer
    from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline

    with socket.create_server(("127.0.0.1", 0)):
        assert len(listening_sockets()) == 1  # it can see one
    before, during = listening_sockets(), []

    class Looking(LoopCallback):
        def on_episode_end(self, *args: object, **kwargs: object) -> None:
            during.append(listening_sockets())

    agent = NumpyAgent()
    RLOptimizer(
        agent=agent,
        pipeline=ScriptedPipeline([1.0, 2.0, 3.0], agent),
        evaluator=ScoreEvaluator(),
        checkpoint_dir=tmp_path,
        callbacks=[Looking()],
        progress=False,
    ).run()
    assert during
    opened = set().union(*during) - before
    goal("G29", "0 listening sockets", f"{len(opened)} in {len(during)} windows {sorted(opened)}", not opened)
