"""Weights & Biases, online or offline; and Trackio, which has the same functions."""

import contextlib
import inspect
import itertools
import netrc
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tensor_optix.callbacks.trackers.scalars import Names
from tensor_optix.callbacks.trackers.tracker import PROJECT, Point, Sent, TrackedRun, Tracker
from tensor_optix.callbacks.trackers.wandb_log import records
from tensor_optix.errors import InvalidArgumentError, MissingDependencyError
from tensor_optix.support.lazy import is_installed
from tensor_optix.support.optional import require

_SECONDS_TO_WRITE, _SECONDS_BETWEEN_LOOKS = 10.0, 0.05
_WITHOUT_KEY = ("offline", "disabled", "dryrun")


class Wandb(Tracker):
    """Logs the scalars of a run to Weights & Biases; its step is the number of environment steps.

    Offline (`WANDB_MODE=offline`) everything is written to `wandb/` in the folder of the run; `wandb sync` uploads it.

    Args:
        project: None = `WANDB_PROJECT`, or else `tensor-optix`.
        entity: the user or team; None = as W&B is set up.
        name: None = the name of the run's folder.
        mode: `"online"`, `"offline"` or `"disabled"`; None = as W&B is set up (`WANDB_MODE`).
        module: `"trackio"` logs to Trackio instead.
        names: whose names scalars have: `"sb3"` or `"cleanrl"`.
        timing: see `Tracker`.

    Raises:
        MissingDependencyError: the module is not installed; the message has the install line.
        InvalidArgumentError: W&B is to be reached, and has no API key.
    """

    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        mode: str | None = None,
        module: str = "wandb",
        names: Names = "sb3",
        **timing: float,
    ) -> None:
        super().__init__(names, **timing)
        if module not in ("wandb", "trackio"):
            raise InvalidArgumentError(f"module must be 'wandb' or 'trackio', but got {module!r}.")
        if module == "trackio" and not is_installed(module):  # it wants an older Pillow, so that it is no extra
            raise MissingDependencyError(
                "Wandb(module='trackio') needs trackio, which is not installed. Install it with: pip install trackio"
            )
        self._module = require(module, "Wandb", "wandb")
        self._project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        self._entity, self._name, self._mode = entity, name, mode
        self._run: Any = None
        self._tracked: TrackedRun | None = None
        self._logged = -1
        """The last step."""
        self._needs_no_key = module == "wandb" and self._is_offline()
        if module == "wandb" and not self._needs_no_key:
            self._check_key()

    def open(self, run: TrackedRun) -> Sent:
        """Begin the run, or resume it by its id; what a crashed one has left offline is read from its file."""
        there, self._tracked = self._last_step(run), run
        takes = inspect.signature(self._module.init).parameters
        arguments: dict[str, object] = {"config": dict(run.config), "project": self._project}
        if not self._needs_no_key:  # offline W&B resumes nothing, and warns that it is asked to
            arguments["resume"] = "allow"
        if "id" in takes:
            settings = self._module.Settings(console="off")  # it would redirect the output of the whole program
            arguments |= {"id": run.run_id, "name": self._name or run.name, "entity": self._entity, "mode": self._mode}
            arguments |= {"dir": str(run.directory), "settings": settings}
        else:  # Trackio knows a run by its name
            arguments["name"] = self._name or f"{run.name}-{run.run_id}"
        self._run = self._module.init(**arguments)
        begins = getattr(self._run, "starting_step", getattr(self._run, "_next_step", 0))  # the second is Trackio's
        return Sent(max(there, int(begins) - 1))

    def write(self, points: Sequence[Point]) -> None:
        """Log one step after the other."""
        for point in points:
            self._run.log(dict(point.values), step=point.step)
            self._logged = point.step

    def close(self) -> None:
        """Finish the run, which uploads what is left."""
        if self._run is None:
            return
        run, self._run = self._run, None
        run.finish()
        if self._tracked is not None and getattr(run, "offline", False):
            # W&B's own process writes its file a moment later; who opens it before that would log everything again.
            end = time.monotonic() + _SECONDS_TO_WRITE
            while self._last_step(self._tracked) < self._logged and time.monotonic() < end:
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _last_step(self, run: TrackedRun) -> int:
        """Return the last step that W&B's files of a run hold; -1 where they hold none."""
        last = -1
        for content in itertools.chain.from_iterable(map(records, _files(run))):
            record = require("wandb.proto.wandb_internal_pb2", "Wandb", "wandb").Record.FromString(content)
            if record.WhichOneof("record_type") == "history":
                last = max(last, record.history.step.num)
        return last

    def _is_offline(self) -> bool:
        return (self._mode or os.environ.get("WANDB_MODE") or self._module.setup().settings.mode) in _WITHOUT_KEY

    def _check_key(self) -> None:
        settings = self._module.setup().settings
        if settings.api_key or os.environ.get("WANDB_API_KEY") or _has_login(settings.base_url):
            return
        raise InvalidArgumentError(
            "Weights & Biases has no API key: run `wandb login`, or write its files on this machine with "
            "WANDB_MODE=offline."
        )


def _files(run: TrackedRun) -> list[Path]:
    """Return what W&B has written of a run offline."""
    return [
        path for path in run.directory.glob("wandb/offline-run-*/*.wandb") if path.name == f"run-{run.run_id}.wandb"
    ]


def _has_login(base_url: str) -> bool:
    """Return whether `wandb login` has left a key for a server."""
    host = urlsplit(base_url).hostname or ""
    given = os.environ.get("NETRC")
    for path in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if netrc.netrc(path).authenticators(host) is not None:
                return True
    return False
