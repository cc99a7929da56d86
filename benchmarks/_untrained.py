"""`python -m benchmarks._untrained RUN_DIR EPISODES SEED`: what the policy of a run came to before any training."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import _worlds
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.runs import RunDescription

MOST_STEPS = 2_000
"""After which an episode is cut: an untrained policy may never end one."""
_TOGETHER = 25


def untrained_returns(run: RunDescription, episodes: int, seed: int) -> list[float]:
    """Return what the freshly initialised policy of a run comes to, greedily, on so many episodes."""
    training = run.pipeline()
    training.agent = run.agent()
    pipeline = training.validation_pipeline(min(episodes, _TOGETHER), seed)
    assert isinstance(pipeline, ValidationPipeline)  # noqa: S101 - the suites' environments can be rebuilt
    pipeline.max_episode_steps = MOST_STEPS
    returns: list[float] = []
    for window in pipeline.episodes():
        returns += [episode.total_return for episode in window.completed_episodes()]
        if len(returns) >= episodes:
            break
    pipeline.teardown()
    training.teardown()
    return returns[:episodes]


def main(arguments: Sequence[str]) -> None:
    """Print the mean and its standard error as JSON."""
    run_dir, episodes, seed = arguments
    _worlds.register()
    returns = untrained_returns(RunDescription.read(Path(run_dir)), int(episodes), int(seed))
    print(json.dumps({"mean": float(np.mean(returns)), "std_err": standard_error(returns)}))


if __name__ == "__main__":
    main(sys.argv[1:])
