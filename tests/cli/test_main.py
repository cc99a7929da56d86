"""The command line as a whole: its exit codes, what it refuses, and where it prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tensor_optix
from tensor_optix.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.strip() == f"tensor-optix {tensor_optix.__version__}"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "CartPole-v9"], "Did you mean 'CartPole-v1'"),
        (["train", "CartPol-v1"], "Did you mean 'CartPole-v1'"),
        (["train", "CartPole-v1", "--hp", "clip_ratoi=0.3"], "Did you mean 'clip_ratio'"),
        (["train", "CartPole-v1", "--hp", "lr=0.3"], "Did you mean 'learning_rate'"),
        (["train", "CartPole-v1", "--max-steps", "0"], "max_steps must be a whole number of at least 1"),
        (["train", "CartPole-v1", "--target-score", "nan"], "target_score must be a finite number"),
        (["train", "CartPole-v1", "--hp", "learning_rate=nan"], "finite number"),
        (["train", "CartPole-v1", "--hp", "learning_rate=-1"], r"must be a number in (0, 1]"),
        (["train", "CartPole-v1", "--hp", "gamma"], "KEY=VALUE"),
        (["train", "CartPole-v1", "--env-kwargs", "size"], "--env-kwargs takes KEY=VALUE, but got 'size'"),
        (["train", "CartPole-v1", "--env-kwargs", "size=3"], "unexpected keyword argument 'size'"),
        (["train", "CartPole-v1", "--window-size", "-3"], "window_size must be an integer of at least 1"),
        (["train", "CartPole-v1", "--window-size", "0"], "window_size must be an integer of at least 1"),
        (["train", "CartPole-v1", "--seed", "-1"], "--seed must not be negative"),
        (["train", "CartPole-v1", "--plateau-threshold", "30"], "dormant_threshold must be above"),
        (["train", "CartPole-v1", "--net-arch", "0"], "net_arch must be layer sizes"),
        (["train", "CartPole-v1", "--threads", "0"], "threads must be at least 1"),
        (["train", "CartPole-v1", "--evolve", "-1"], "--evolve must be a whole number of at least 0, but got -1"),
        (["evaluate", "nowhere"], "'nowhere' is not there, where the folder of a run is wanted"),
        (["evaluate", "nowhere", "--episodes", "0"], "--episodes must be at least 1"),
        (["evaluate", "nowhere", "--confirm", "--episodes", "99"], "--confirm needs --episodes of at least 100"),
        (["evaluate", "nowhere", "--confirm", "--verify"], "Give one of them"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert err.startswith("tensor-optix: ")
    assert "Traceback" not in err


def replaying(folder: Path) -> list[str]:
    """The command that replays a recorded run."""
    rows = "".join(f"{n},10,{n}.0\n" for n in range(200))
    (folder / "monitor.csv").write_text('#{"t_start": 0.0}\nr,l,t\n' + rows)
    return [sys.executable, "-m", "tensor_optix.cli", "replay", str(folder / "monitor.csv"), "--every", "100"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_it_prints_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(replaying(tmp_path), capture_output=True, env=environment, check=True)  # noqa: S603
    assert b"Traceback" not in done.stderr
    assert done.stdout


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as nobody:
        done = subprocess.run(replaying(tmp_path), stdout=nobody, stderr=subprocess.PIPE)  # noqa: S603
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_is_one_line_wherever_a_command_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tensor_optix.replay.replay", interrupted)
    assert main(["replay", "monitor.csv"]) == 130
    assert capsys.readouterr().err == "tensor-optix: Interrupted.\n"


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_what_asks_for_no_command_imports_none(argument: str) -> None:
    code = (
        "import sys; from tensor_optix.cli import main\n"
        f"try: main([{argument!r}])\n"
        "finally: print(sorted({'numpy', 'gymnasium', 'msgspec', 'rich', 'tensorflow', 'torch'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert "tensor-optix" in found.stdout
    assert found.stdout.splitlines()[-1] == "[]"
