"""An update that is made in a thread of its own, while the agent explores with the weights from before it.

    learn(window k)      joins update k - 1, takes window k in, keeps the weights for exploring, and begins update k
    while k + 1 is       the agent explores with those weights, and update k is made
    collected
    anything else        joins update k first: greedy actions, saving, weights and hyper-parameters

Which weights explore follows from the windows alone. Whether an update is really made beside, or at once where it is
begun, and when it is joined, changes nothing.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import msgspec
import numpy as np

from tensor_optix.adapters._dense import Frozen
from tensor_optix.adapters.saving.tensorfile import TensorSpec
from tensor_optix.adapters.saving.weights import check_specs
from tensor_optix.support.plain import Json, SavedState
from tensor_optix.support.schemas import Number, checked

Said: TypeAlias = dict[str, float]
Update: TypeAlias = Callable[[], tuple[Said, str | None]]
"""Makes an update, or raises with the agent as it was before; returns diagnostics, and what is not finite."""
Submit: TypeAlias = Callable[[Update], "Future[tuple[Said, str | None]]"]
"""Has an update made."""


class _Saved(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    said: dict[str, Number] | None
    fault: str | None
    explores: bool


class UpdateBeside:
    """The update in progress, what the one before it came to, and what explores meanwhile.

    Args:
        submit: has an update made; None = in a thread of its own where there is a core for it, else at once.
    """

    def __init__(self, submit: Submit | None = None) -> None:
        self._submit = submit or _usual_submit()
        self._running: Future[tuple[Said, str | None]] | None = None
        self._error: BaseException | None = None
        self._has_failed = False
        self._said: Said | None = None
        self._fault: str | None = None
        self.exploring: Frozen | None = None
        """What explores; None = the newest weights."""

    @property
    def is_running(self) -> bool:
        """True from when an update is begun until it is joined."""
        return self._running is not None

    def begin(self, update: Update) -> None:
        """Begin an update."""
        self._running = self._submit(update)

    def join(self) -> None:
        """Wait until the update that was begun is made; what it came to is told by `finished`."""
        if self._running is None:
            return
        error = self._running.exception()
        self._said, self._fault = self._running.result() if error is None else (None, None)
        self._running, self._error = None, error

    def finished(self, again: Update) -> tuple[Said | None, str | None]:
        """Return the diagnostics of the last update, and what was not finite, and forget them.

        Args:
            again: makes an update that had raised once more, at once.

        Raises:
            BaseException: what the update raised; where it was told already, what it raised again.
        """
        self.join()
        error, self._error = self._error, None
        if error is not None:
            self._has_failed = True
            raise error
        if self._has_failed:
            self._said, self._fault = again()
            self._has_failed = False
        found, self._said, self._fault = (self._said, self._fault), None, None
        return found

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
        """Return what `restore` needs: arrays by name, and plain values. Nothing is running."""
        weights = self.exploring.weights() if self.exploring is not None else []
        said: Json = None if self._said is None else dict[str, Json](self._said)
        values: dict[str, Json] = {"said": said, "fault": self._fault, "explores": self.exploring is not None}
        return {str(number): weight for number, weight in enumerate(weights)}, values

    def restore(self, arrays: Mapping[str, np.ndarray], values: SavedState, like: Frozen | None) -> None:
        """Go on from `state`.

        Args:
            arrays: the arrays.
            values: the values.
            like: what explores, with any weights.
        """
        saved = msgspec.convert(values, _Saved)
        self._running, self._error, self._has_failed = None, None, False
        self._said, self._fault = saved.said, saved.fault
        self.exploring = like if saved.explores else None
        for number, weight in enumerate(like.weights() if like is not None and saved.explores else []):
            weight[...] = arrays[str(number)]


def check_saved_beside(arrays: Mapping[str, TensorSpec], values: object, like: Frozen | None) -> None:
    """Raise a typed error unless what `UpdateBeside.state` saved fits what explores.

    Args:
        arrays: what a header says of the arrays.
        values: the values beside them.
        like: what explores, with any weights.
    """
    saved = checked(_Saved, values, "The saved update")
    weights = like.weights() if like is not None and saved.explores else []
    check_specs({str(number): weight for number, weight in enumerate(weights)}, arrays)


def at_once(update: Update) -> "Future[tuple[Said, str | None]]":
    """Make an update now."""
    made: Future[tuple[Said, str | None]] = Future()
    try:
        made.set_result(update())
    except Exception as error:
        made.set_exception(error)
    return made


def _usual_submit() -> Submit:
    if (os.cpu_count() or 1) < 2:
        return at_once
    return ThreadPoolExecutor(1, thread_name_prefix="tensor-optix-update").submit
