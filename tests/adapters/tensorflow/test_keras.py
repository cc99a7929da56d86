"""TensorFlow is imported quietly, and refused where Keras runs on something else; each in a separate process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = "from tensor_optix.adapters.tensorflow._keras import keras, tf; print(keras.backend.backend())"


def run(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_nothing_is_printed_while_tensorflow_starts_and_an_agent_acts() -> None:
    done = run("from tensor_optix import make_agent; make_agent('CartPole-v1', framework='tf').act([0, 0, 0, 0])")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow  # it imports two frameworks
def test_keras_on_another_backend_is_refused_with_what_to_set() -> None:
    done = run(IMPORT, KERAS_BACKEND="torch")
    assert done.returncode != 0
    assert "ContractError: Keras runs on the 'torch' backend, but TensorFlow agents need 'tensorflow'" in done.stderr
    assert "KERAS_BACKEND=tensorflow" in done.stderr


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("keras", "MissingDependencyError: The TensorFlow agents need tensorflow, which is not installed"),
        ("absl", "ModuleNotFoundError: import of absl halted"),  # a broken installation is told as it is
    ],
)
def test_what_tensorflow_says_is_shown_where_it_cannot_be_imported(missing: str, message: str) -> None:
    done = run(f"import sys; sys.modules[{missing!r}] = None\n{IMPORT}")
    assert done.returncode != 0
    assert message in done.stderr


def test_rooms_that_learning_does_not_enter_wait_until_they_are_asked_for() -> None:
    rooms = "'tensorflow._api.v2.compat.v1' in sys.modules, 'pandas' in sys.modules"
    asked = "tf.compat.v1.placeholder, tf.lite.TFLiteConverter, tf.distribute.get_strategy, tf.summary.scalar"
    done = run(f"import sys; {IMPORT}; print({rooms}); {asked}; print({rooms})")
    assert (done.returncode, done.stdout) == (0, "tensorflow\nFalse False\nTrue False\n"), done.stderr


def test_what_keras_imports_for_others_waits_and_works_when_they_ask(tmp_path: Path) -> None:
    waiting = "[type(sys.modules[name]).__name__ == '_Deferred' for name in ('h5py', 'matplotlib.pyplot')]"
    model = "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])"
    saved = str(tmp_path / "model.h5")
    used = f"model.save({saved!r}); print(keras.models.load_model({saved!r}).count_params())"
    plotted = "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt; print(len(plt.figure().axes))"
    done = run(f"import sys; {IMPORT}; print({waiting}); {model}; {used}; {plotted}; print({waiting})")
    assert (done.returncode, done.stdout) == (0, "tensorflow\n[True, True]\n3\n0\n[False, False]\n"), done.stderr


@pytest.mark.slow  # it imports TensorFlow twice
def test_tensorflow_has_the_same_names_as_without_us() -> None:
    names = (
        "[(name, room.__name__, len(getattr(room, '__all__', ())), sorted(n for n in vars(room) if n[0] != '_'))"
        " for name, room in sorted(vars(tf).items()) if type(room).__name__ in ('module', '_Deferred', 'ModuleType')]"
    )
    plain = run(f"import keras, tensorflow as tf; print(keras.backend.backend()); print({names})")
    ours = run(f"{IMPORT}; print({names})")
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == plain.stdout
