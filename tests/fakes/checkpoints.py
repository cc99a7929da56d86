"""Snapshots of an agent with one weight, and another process that saves some."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tests.helpers import NumpyAgent

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def save(registry: CheckpointRegistry, score: float, weight: float | None = None, window_id: int = 0) -> PolicySnapshot:
    agent = NumpyAgent()
    agent.weight = score if weight is None else weight
    return registry.save(agent, EvalMetrics(score, {"score_std_err": 0.5}, window_id), window_id)


def scores(registry: CheckpointRegistry) -> list[float]:
    return [snapshot.eval_metrics.primary_score for snapshot in registry.snapshots()]


def best_weight(registry: CheckpointRegistry) -> float:
    agent = NumpyAgent()
    registry.load_best(agent)
    return agent.weight


def litter(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith((".tmp-", ".trash-"))]


OTHER_PROCESS = """
import sys
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.resume_ring import ResumePoint, ResumeRing
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointLockedError
from tests.helpers import NumpyAgent
registry = CheckpointRegistry(sys.argv[1])
try:
    registry.save(NumpyAgent(), EvalMetrics(7.0))
    print("saved", flush=True)
except CheckpointLockedError as error:
    print("locked", len(registry.snapshots()), flush=True)
if "hold" in sys.argv:
    sys.stdin.read()
"""


def other_process(directory: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", OTHER_PROCESS, str(directory), *arguments],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
