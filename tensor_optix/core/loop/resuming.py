"""What a resumed run goes on from: saved between windows, in a ring of its own beside the snapshots.

    after a window, if it is due:   ring <- the agent's training state, the agents that do not act, and `state.json`:
                                    counters, state machine, tuning, optimizer, pipelines, evolution, generators, and
                                    how long the history was
    on resume:                      the newest intact point of the ring, everything put back, the history cut there

A run that goes on from there collects the same windows as one that was never interrupted, bit for bit, where its
environment is deterministic given a seed.
"""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import contextlib
import functools
import random
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.hyperparams import hyperparams_state, restore_hyperparams
from tensor_optix.core.loop.parts import LoopParts
from tensor_optix.core.storage.policy_state import Stateful
from tensor_optix.core.storage.resume_ring import ResumePoint
from tensor_optix.core.types import jsonable
from tensor_optix.errors import CheckpointCorruptError, CheckpointMismatchError, TensorOptixError
from tensor_optix.support.arrays import decoded, encoded
from tensor_optix.support.plain import Json, SavedState

RUN_FORMAT = 5
"""Of a saved state: 5 holds hyper-parameters with the window from which they hold."""
_AGENT, _RESTING = "agent", "resting"


@runtime_checkable
class KeepsRunState(Protocol):
    """A callback whose state is part of the run's, as evolution's is."""

    def run_state(self) -> dict[str, object]:
        """Return the state as plain JSON values."""
        ...

    def write_agents(self, folder: Path) -> None:
        """Write the agents that the state names, but do not act at present, to files in `folder`."""
        ...

    def restore_run(self, state: Mapping[str, object], folder: Path) -> BaseAgent | None:
        """Go on from `run_state` and `write_agents`, and return the learner; None = the one that learns already."""
        ...


@contextlib.contextmanager
def saved_fields(point: ResumePoint) -> Generator[None]:
    """Turn what a state lacks, or has of another kind or size, into a `CheckpointCorruptError`."""
    if point.state.get("format") != RUN_FORMAT:
        raise CheckpointCorruptError(
            f"{str(point.folder)!r} has format {point.state.get('format')!r}, this version resumes {RUN_FORMAT}. "
            f"Finish the run with the version that began it, or begin a new one without resume; its snapshots "
            f"still load."
        )
    try:
        yield
    except TensorOptixError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise CheckpointCorruptError(
            f"{str(point.folder)!r} does not have the expected fields: {error!r}. The run was begun with another "
            f"pipeline, optimizer, evaluator or callback, or the state is damaged."
        ) from error


def write_agent(agent: BaseAgent, folder: Path, *, rests: bool = False) -> None:
    """Write the training state of an agent to a file in `folder`.

    Args:
        agent: the acting one.
        folder: of the saved state.
        rests: True for the one whose place it has for a time.
    """
    agent.save_training_state(str(folder / (_RESTING if rests else _AGENT)))


def read_resting_agent(agent: BaseAgent, folder: Path) -> None:
    """Put back what `write_agent` saved of the agent that rests.

    Raises:
        CheckpointMismatchError: it is not what the run was begun with.
    """
    agent.load_training_state(str(folder / _RESTING))


def parts_state(parts: LoopParts, agent: BaseAgent) -> dict[str, object]:
    """Return the state of everything else that the loop brings together, as plain JSON values."""
    return {
        "hyperparams": hyperparams_state(agent),
        "optimizer": jsonable(parts.optimizer.state_dict()),
        "evaluator": jsonable(parts.evaluator.state_dict()) if isinstance(parts.evaluator, Stateful) else None,
        "pipeline": _pipeline_state(parts.pipeline),
        "val_pipeline": None if parts.val_pipeline is None else _pipeline_state(parts.val_pipeline),
        "history": parts.history.position(),
        "generators": _global_generators(),
    }


def restore_parts(parts: LoopParts, agent: BaseAgent, state: SavedState, folder: Path) -> None:
    """Put back what `parts_state` and `write_agent` saved.

    Raises:
        CheckpointMismatchError: the agent, or what is normalised, is not what the run was begun with.
        CheckpointCorruptError: the state lacks something.
    """
    agent.load_training_state(str(folder / _AGENT))
    restore_hyperparams(agent, state["hyperparams"])
    parts.optimizer.load_state_dict(state["optimizer"])
    if isinstance(parts.evaluator, Stateful) and state["evaluator"] is not None:
        parts.evaluator.load_state_dict(state["evaluator"])
    _restore_pipeline(parts.pipeline, state["pipeline"])
    if parts.val_pipeline is not None and state["val_pipeline"] is not None:
        _restore_pipeline(parts.val_pipeline, state["val_pipeline"])
    parts.history.go_back_to(int(state["history"]))
    _restore_global_generators(state["generators"])


def _pipeline_state(pipeline: BasePipeline) -> dict[str, object]:
    return {"policy": jsonable(pipeline.state_dict()), "stream": jsonable(pipeline.stream_state())}


def _restore_pipeline(pipeline: BasePipeline, state: SavedState) -> None:
    pipeline.load_state_dict(state["policy"])
    if state["stream"]:
        pipeline.restore_stream(state["stream"])


def _global_generators() -> dict[str, object]:
    """Return where the generators of the standard library and of numpy stand: a user's own code may draw on them."""
    version, words, spare = random.getstate()
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - theirs, not ours
    return {
        "python": [version, _words(words), spare],
        "numpy": [name, encoded(np.asarray(keys)), int(position), int(has_gauss), float(gauss)],
    }


@functools.lru_cache(maxsize=1)
def _words(words: tuple[int, ...]) -> Mapping[str, Json]:
    """Return the words of a generator as JSON values; they are the same in each save while nobody draws."""
    return encoded(np.array(words, np.uint64))


def _restore_global_generators(state: SavedState) -> None:
    try:
        version, words, spare = state["python"]
        random.setstate((version, tuple(int(word) for word in decoded(words)), spare))
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, decoded(keys), *rest))  # noqa: NPY002
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointCorruptError(f"The saved state of a global generator does not fit: {error!r}.") from error


def by_name(callbacks: Iterable[KeepsRunState]) -> dict[str, KeepsRunState]:
    """Return callbacks by the name of their class, numbered where there are several of one."""
    named: dict[str, KeepsRunState] = {}
    for callback in callbacks:
        name = type(callback).__name__
        number = sum(known.split("#")[0] == name for known in named)
        named[f"{name}#{number + 1}" if number else name] = callback
    return named


def paired(
    callbacks: Mapping[str, KeepsRunState], saved: Mapping[str, SavedState]
) -> list[tuple[KeepsRunState, SavedState]]:
    """Return each callback with the state that was saved under its name.

    Raises:
        CheckpointMismatchError: the run was begun with other callbacks.
    """
    if not isinstance(saved, Mapping) or saved.keys() != callbacks.keys():
        raise CheckpointMismatchError(
            f"The saved run has the state of the callbacks {sorted(saved)}, but this one has {sorted(callbacks)}. "
            f"Resume it with the callbacks that it was begun with."
        )
    return [(callback, saved[name]) for name, callback in callbacks.items()]
