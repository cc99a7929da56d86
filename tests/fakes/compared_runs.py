"""Folders of several runs that can be compared."""

import json
from pathlib import Path
from typing import Any

from tests.fakes.run_folders import write_run


def write_compared(folder: Path, score: float, *, ended: bool = True, **described: Any) -> Path:
    """Write a run with a score and a description, and return its folder."""
    run_dir = (
        write_run(folder, windows=8, best_score=score, start_score=0.0) if ended else write_run(folder, ended=False)
    )
    description = {"env": "A-v0", "algorithm": "ppo", "seed": 0, **described}
    (run_dir / "run.json").write_text(json.dumps(description))
    return run_dir


def write_several(folder: Path, environments: tuple[str, ...] = ("A-v0",), seeds: int = 3) -> list[Path]:
    """Write runs of PPO and of DQN, which is better, on each environment."""
    return [
        write_compared(
            folder / f"{env}-{algorithm}-{seed}",
            10.0 * (i + 1) * (seed + 1) + bonus,
            env=env,
            algorithm=algorithm,
            seed=seed,
            hyperparams={"learning_rate": 0.001 * (1 + bonus)},
        )
        for i, env in enumerate(environments)
        for algorithm, bonus in (("ppo", 0.0), ("dqn", 100.0))
        for seed in range(seeds)
    ]
