"""A search whose runs are functions of the test."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tensor_optix.executors import Event
from tensor_optix.executors.executor import Watcher
from tensor_optix.multirun.description import Trials
from tensor_optix.multirun.search import Search, search_run
from tensor_optix.multirun.space import Choices, Range
from tensor_optix.runs import RunDescription

RUN = search_run(
    RunDescription(
        env="CartPole-v1", algorithm="ppo", framework="torch", seed=0, window_size=64, val_episodes=5, max_steps=640
    )
)
PRESET: dict[str, int | float | str] = {"learning_rate": 3e-4, "net_arch": "8"}
DESCRIPTION = Trials(
    trials=6,
    seeds=2,
    final_seeds=3,
    batch=4,
    space={"learning_rate": Range(1e-5, 1e-2, "log"), "net_arch": Choices(["8", "16"])},
    preset=PRESET,
    earlier=[{"learning_rate": 1e-3, "net_arch": "16"}],
)


def made(folder: Path, description: Trials = DESCRIPTION, say: Callable[[str], None] = lambda text: None) -> Search:
    folder.mkdir(parents=True, exist_ok=True)
    return Search(folder, RUN, description, say)


def unwatched(names: Sequence[str]) -> Watcher:
    def ignore(event: Event) -> None: ...

    return ignore


def trained(score: float, values: Any, **more: Any) -> dict[str, Any]:
    """What a run comes to that scores this on each episode."""
    returns = [score for window in values["windows"] for _ in window]
    found = {"returns": returns, "steps": 640, "curve": [[0, score / 2], [1, score]], "is_pruned": False}
    return {**found, "is_interrupted": False, **more}


def place(values: Any) -> tuple[str, int, int]:
    """Whether it is a run of the trials or of the last test, the number of the trial, and its seed."""
    *_, kind, trial, seed = Path(values["run_dir"]).parts
    return kind, int(trial.partition("-")[2]), int(seed.partition("-")[2])
