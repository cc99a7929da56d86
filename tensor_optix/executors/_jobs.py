"""Finding a job by its name, and running it wherever it is to run."""

import importlib
import traceback
from collections.abc import Mapping
from typing import Any

from tensor_optix.errors import InvalidArgumentError, JobError
from tensor_optix.executors.executor import Context, Job
from tensor_optix.executors.payload import Payload, crossed


def check_name(job: object) -> None:
    """Raise `InvalidArgumentError` unless `job` reads `"package.module:function"`."""
    module, colon, name = job.partition(":") if isinstance(job, str) else ("", "", "")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise InvalidArgumentError(f"A job must be named 'package.module:function', but got {job!r}.")
    if module == "__main__":
        raise InvalidArgumentError(
            f"Workers cannot import {job!r}: __main__ is another module there. Move the function to a module."
        )


def resolved(job: str) -> Job:
    """Return the function that a name stands for.

    Raises:
        InvalidArgumentError: it cannot be imported here.
    """
    check_name(job)
    module, _, name = job.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidArgumentError(
            f"A worker cannot import {job!r}: {error}. Install its package there, or add its folder to PYTHONPATH."
        ) from error
    return found


def run(job: str, item: Payload, context: Context) -> Payload:
    """Run a job on an item, and return its result as it crosses a pipe.

    Raises:
        InvalidArgumentError: the job cannot be imported.
        BadDataError: it returned something else than a payload.
    """
    result: object = resolved(job)(item, context)
    return crossed(result if isinstance(result, Payload) else Payload(result))


def failure_of(error: BaseException) -> dict[str, str]:
    """Return an error as plain text: its type, its message and its traceback."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def job_error(job: str, index: int, item: Payload, failure: Mapping[str, str]) -> JobError:
    """Return the error of an item, with the traceback of where it was raised.

    Args:
        job: name of the job.
        index: of the item.
        item: the item.
        failure: what `failure_of` returned there.
    """
    error = JobError(f"Item {index} of {job} failed with {failure['type']}: {failure['message']}")
    error.index, error.item, error.traceback = index, item.values, failure["traceback"]
    error.__cause__ = RemoteTraceback(failure["traceback"])
    return error


class RemoteTraceback(Exception):  # noqa: N818 - shown as the cause of an error, never raised by itself
    """Where a job has raised, in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"
