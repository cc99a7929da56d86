"""Weights & Biases and Trackio: fakes of them here, and W&B's own files where there is time."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tensor_optix.callbacks import Wandb
from tensor_optix.callbacks.trackers import wandb as module
from tensor_optix.errors import InvalidArgumentError
from tests.contracts.tracker_contract import TrackerContract, run_with
from tests.fakes.tracked_runs import begin, cut_back

Scalars = list[tuple[str, int, float]]


class FakeServer:
    """What both modules keep of runs, by id or name; `log` drops a step that is not beyond the last, as they do."""

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
        self.begun: list[Mapping[str, Any]] = []

    def begin(self, key: str, given: Mapping[str, Any]) -> SimpleNamespace:
        rows = self.runs.setdefault(key, [])
        self.begun.append(given)

        def log(values: Mapping[str, float], step: int) -> None:
            assert not rows or step > rows[-1][0]
            rows.append((step, values))

        return SimpleNamespace(log=log, finish=lambda: None, following=rows[-1][0] + 1 if rows else 0)


class FakeWandb:
    Settings = staticmethod(lambda **given: given)

    def __init__(self, server: FakeServer, api_key: str | None = "key") -> None:
        self.server, self.api_key = server, api_key

    def setup(self) -> SimpleNamespace:
        known = SimpleNamespace(mode="online", api_key=self.api_key, base_url="https://api.wandb.ai")
        return SimpleNamespace(settings=known)

    def init(self, *, id: str, name: str, entity: Any, mode: Any, dir: str, settings: Any, **rest: Any) -> Any:
        run = self.server.begin(id, {"name": name, "mode": mode, **rest})
        run.starting_step = run.following
        return run


class FakeTrackio:
    def __init__(self, server: FakeServer) -> None:
        self.server = server

    def init(self, project: str, name: str, config: Any, resume: str) -> Any:
        run = self.server.begin(name, {"name": name, "project": project, "resume": resume})
        run._next_step = run.following
        return run


class FakedContract(TrackerContract):
    module_name = ""

    @pytest.fixture(autouse=True)
    def server(self, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
        self.kept = FakeServer()
        parts = {"wandb": FakeWandb(self.kept), "trackio": FakeTrackio(self.kept)}
        monkeypatch.setattr(module, "require", lambda name, *_: parts[name])
        monkeypatch.setattr(module, "is_installed", lambda name: True)
        for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        return self.kept

    def make(self, folder: Path) -> Wandb:
        return Wandb(module=self.module_name, pause=0.01)

    def read(self, folder: Path) -> Scalars:
        rows = list(self.kept.runs.values())[-1]
        names = sorted({name for _, values in rows for name in values})
        return [(name, step, values[name]) for name in names for step, values in rows if name in values]


class TestWandb(FakedContract):
    module_name = "wandb"

    def test_a_run_has_a_name_a_configuration_and_the_project_of_the_settings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WANDB_PROJECT", "mine")
        run_with(Wandb(mode="online", pause=0.01), begin(tmp_path / "pendulum"), 0, 1)
        (begun,) = self.kept.begun
        config = {"env": "Toy-v0", "hyperparams.gamma": "0.9"}
        assert begun == {
            "name": "pendulum",
            "mode": "online",
            "config": config,
            "project": "mine",
            "resume": "allow",
        }

    def test_offline_it_is_not_asked_to_resume_which_it_warns_of(self, tmp_path: Path) -> None:
        run_with(Wandb(mode="offline", pause=0.01), begin(tmp_path / "pendulum"), 0, 1)
        (begun,) = self.kept.begun
        assert begun["mode"] == "offline"
        assert "resume" not in begun


class TestTrackio(FakedContract):
    module_name = "trackio"


def test_without_a_key_the_command_that_brings_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = FakeWandb(FakeServer(), api_key=None)
    monkeypatch.setattr(module, "require", lambda *_: fake)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidArgumentError, match=r"no API key: run `wandb login`, or .* WANDB_MODE=offline"):
        Wandb()
    assert Wandb(mode="offline") is not None
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    assert Wandb() is not None


def test_another_module_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="module must be 'wandb' or 'trackio', but got 'neptune'"):
        Wandb(module="neptune")


@pytest.mark.slow
class TestWandbOffline(TrackerContract):
    @pytest.fixture(autouse=True)
    def settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_SILENT", "true")

    def make(self, folder: Path) -> Wandb:
        return Wandb(pause=0.01, patience=120.0)

    def read(self, folder: Path) -> Scalars:
        import json

        from wandb.proto.wandb_internal_pb2 import Record
        from wandb.sdk.internal.datastore import DataStore

        found: Scalars = []
        for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda one: one.stat().st_mtime):
            store = DataStore()
            store.open_for_scan(str(path))
            while (content := store.scan_data()) is not None:
                record = Record.FromString(content)
                if record.WhichOneof("record_type") == "history":
                    items = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
                    step = record.history.step.num
                    found += [(name, step, value) for name, value in items.items() if not name.startswith("_")]
            store.close()
        return sorted(found, key=lambda one: one[0])

    def test_it_goes_on_across_kill_9_and_resume(self, tmp_path: Path) -> None:
        begin(tmp_path)
        for first, last, is_killed in ((0, 4, 1), (3, 7, 0)):
            cut_back(tmp_path, first)
            command = [sys.executable, "-m", "tests.fakes.tracked_runs", str(tmp_path), "wandb"]
            ended = subprocess.run([*command, str(first), str(last), str(is_killed)], check=False)  # noqa: S603
            assert ended.returncode == (-9 if is_killed else 0)
        self.check(tmp_path)
