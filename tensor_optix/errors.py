"""Every error this library raises on purpose, under one root.

A typed error derives from `TensorOptixError` *and* from the built-in that fits, so that both `except TensorOptixError`
and `except ValueError` work. Its message names the value, the place, and what to do.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar

from tensor_optix._visible import MOST_CHARACTERS, in_line, visible


class TensorOptixError(Exception):
    """Root of all errors raised by tensor-optix; `code` is stable across releases.

    A message may quote what was read from a file. As text it has no control characters, and its length is bounded.
    """

    code: ClassVar[str] = "error"
    most_characters: ClassVar[int] = MOST_CHARACTERS
    """Of the message, about; the middle of a longer one is left out."""

    has_lines: ClassVar[bool] = False
    """True where the message ends with a traceback; any other is one line, whatever it quotes."""

    def __str__(self) -> str:
        return (visible if self.has_lines else in_line)(super().__str__(), self.most_characters)


class InvalidArgumentError(TensorOptixError, ValueError):
    """An argument breaks its rule (range, order, allowed names)."""

    code = "invalid-argument"


class HyperparamError(InvalidArgumentError):
    """A hyper-parameter is unknown, not finite, of the wrong kind, or out of its range."""

    code = "hyperparam"


class SpaceError(InvalidArgumentError):
    """An observation or action space that the agent or algorithm cannot serve."""

    code = "space"


class ModelShapeError(InvalidArgumentError):
    """A model whose input or output does not fit the spaces of the environment."""

    code = "model-shape"


class EnvironmentNotFoundError(InvalidArgumentError):
    """An environment id that is not registered, or whose package is not installed."""

    code = "environment-not-found"


class EnvironmentFailedError(TensorOptixError, RuntimeError):
    """An environment raised while it was made, or one of several at any time; the message says what."""

    code = "environment-failed"
    most_characters, has_lines = 20_000, True


class FeedError(TensorOptixError, RuntimeError):
    """A live feed is interrupted (lost, refused, silent); it is worth another try."""

    code = "feed"


class FeedFatalError(FeedError):
    """A live feed that a retry does not repair: unauthorised, an untrusted certificate, a source that raises."""

    code = "feed-fatal"


class FeedOverflowError(FeedFatalError):
    """A live feed was faster than its reader, and `overflow="fail"` says that this is an error."""

    code = "feed-overflow"


class BadDataError(TensorOptixError, ValueError):
    """A window of experience, or a value in it, that cannot be learned from."""

    code = "bad-data"


class ContractError(TensorOptixError, TypeError):
    """An object handed to the library violates the contract of its role."""

    code = "contract"


class EvolutionError(TensorOptixError, RuntimeError):
    """An ensemble or its evolution cannot do what it is asked to in the state it is in."""

    code = "evolution"


class ExecutorError(TensorOptixError, RuntimeError):
    """Workers cannot be started or reached; the message says why."""

    code = "executor"


class JobError(TensorOptixError, RuntimeError):
    """A job has raised, or has killed its workers; `__cause__` shows the traceback of the process that it ran in."""

    code = "job"

    index: int = -1
    """Which of the items it had."""
    item: object = None
    """The values of the item."""
    traceback: str = ""
    """Where it was raised, as text."""


class JobCancelledError(TensorOptixError, RuntimeError):
    """A job was not run to its end because it was cancelled."""

    code = "job-cancelled"


class MissingDependencyError(TensorOptixError, ImportError):
    """An optional package is needed and absent; the message prints the install line."""

    code = "missing-dependency"


class DeviceError(TensorOptixError, RuntimeError):
    """A device is asked for that the framework does not find on this machine."""

    code = "device"


class NonFiniteError(TensorOptixError, ArithmeticError):
    """A NaN or an infinity where learning needs a number (loss, weight)."""

    code = "non-finite"


class CheckpointError(TensorOptixError, RuntimeError):
    """Root of what can go wrong with a checkpoint directory."""

    code = "checkpoint"


class CheckpointCorruptError(CheckpointError):
    """No intact snapshot is left, or the one asked for is damaged."""

    code = "checkpoint-corrupt"


class CheckpointInterruptedError(CheckpointError):
    """Every saved state of a run is intact, but each start from them was broken off too often."""

    code = "checkpoint-interrupted"


class CheckpointPathError(CheckpointError, FileNotFoundError):
    """A path that leads to another kind of folder or file than the one that is wanted, or nowhere."""

    code = "checkpoint-path"


class CheckpointLockedError(CheckpointError):
    """Another process is writing to this checkpoint directory."""

    code = "checkpoint-locked"


class CheckpointMismatchError(CheckpointError):
    """The snapshot's tensors do not fit the agent's model."""

    code = "checkpoint-mismatch"


class CheckpointUnsignedError(CheckpointError):
    """Something in the checkpoint directory was not signed with the user's key."""

    code = "checkpoint-unsigned"


class CheckpointStorageError(CheckpointError, OSError):
    """The checkpoint directory cannot be written or read."""

    code = "checkpoint-storage"


class CheckpointUnsafeError(CheckpointStorageError):
    """Other users could change what the checkpoint directory holds, or a link stands where a folder of it belongs."""

    code = "checkpoint-unsafe"


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `" Did you mean 'x'?"` for the known name nearest to `name`, or an empty string.

    Args:
        name: what was written.
        known: what could have been meant.
        cutoff: how alike the two must be, in [0, 1].
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""
