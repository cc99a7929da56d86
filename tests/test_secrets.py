"""Secrets of the surroundings are in nothing that a run leaves or prints."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import LoopCallback, RLOptimizer
from tensor_optix.cli import main
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.runs import RunDescription
from tensor_optix.support.redact import without_credentials
from tests.conftest import Goal
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline
from tests.soak.targets import RUN

IN_ENVIRONMENT, IN_URLS, IN_EXCEPTIONS = 30, 10, 10
PLANTED = IN_ENVIRONMENT + IN_URLS + IN_EXCEPTIONS


def canary(kind: str, number: int) -> str:
    return f"canary-{kind}-{number:02d}-5e1f"


def everything_below(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return "".join(f"{path}\n{path.read_bytes().decode('latin-1')}\n" for path in files)


class Failing(LoopCallback):
    """Fails once a window with the address of a feed, password and all, in its text."""

    def __init__(self) -> None:
        self.failures = 0

    def on_episode_end(self, *args: Any, **kwargs: Any) -> None:
        number = self.failures % IN_EXCEPTIONS
        self.failures += 1
        raise ConnectionError(f"cannot reach wss://trader:{canary('exception', number)}@feed.example/v1?x=1")


@pytest.mark.soak
def test_planted_secrets_are_in_no_file_log_message_or_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], goal: Goal
) -> None:
    for number in range(IN_ENVIRONMENT):
        monkeypatch.setenv(f"CANARY_TOKEN_{number}", canary("environment", number))
    log = tmp_path / "log.txt"
    handler = logging.FileHandler(log)
    handler.addFilter(without_credentials)
    root, level = logging.getLogger("tensor_optix"), logging.getLogger("tensor_optix").level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    outputs = []
    try:
        agent, failing = NumpyAgent(), Failing()
        optimizer = RLOptimizer(
            agent=agent,
            pipeline=ScriptedPipeline([float(n) for n in range(2 * IN_EXCEPTIONS)], agent),
            evaluator=ScoreEvaluator(),
            checkpoint_dir=tmp_path / "run",
            callbacks=[failing],
            progress=False,
        )
        report = optimizer.run()
        outputs += [repr(report), str(report), str(report.to_dict()), repr(optimizer), repr(agent.get_hyperparams())]
        values = {name: value for name, value in RUN.items() if name not in ("format", "version")}
        RunDescription(**values).write(tmp_path / "run")
        for number in range(IN_URLS):
            url = f"https://user:{canary('url', number)}@host/Env-v0"
            with pytest.raises(InvalidArgumentError) as refused:
                RunDescription(**(values | {"env": url})).write(tmp_path / "run")
            outputs.append(str(refused.value))
            assert main(["train", url, "--run-dir", str(tmp_path / "run")]) == 2
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
    assert failing.failures >= IN_EXCEPTIONS  # each of them was raised
    printed = capsys.readouterr()
    everything = "".join([everything_below(tmp_path), *outputs, printed.out, printed.err])
    assert "wss://***@feed.example/v1?x=1" in log.read_text()  # they are told, without what is secret
    assert "https://***@host/Env-v0" in printed.err
    found = everything.count("canary-")
    goal("G30", f"0 of {PLANTED} planted secrets", f"{found} found in {len(everything):,} characters", found == 0)
