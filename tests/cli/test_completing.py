"""The script that completes knows every command and its flags."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tensor_optix.cli import main
from tensor_optix.cli.parser import COMMANDS


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_knows_commands_and_flags(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*COMMANDS, "--window-size", "--no-tuning", "recurrent_ppo", "--allow-module"):
        assert word in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)  # noqa: S603 - it only reads it


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "fish"])
    assert "invalid choice: 'fish'" in capsys.readouterr().err
