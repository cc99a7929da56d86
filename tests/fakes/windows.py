"""Windows of real environments, and whether two are the same."""

import math
from typing import Any

from tensor_optix import BatchPipeline
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.support.trees import leaves
from tests.helpers import NumpyAgent

FIELDS = (
    "observations",
    "actions",
    "rewards",
    "terminated",
    "truncated",
    "next_observations",
    "action_masks",
    "next_action_masks",
)


def assert_same(ours: Any, theirs: Any) -> None:
    for name in FIELDS:
        a, b = getattr(ours, name), getattr(theirs, name)
        assert (a is None) == (b is None), name
        if a is not None:
            for one, other in zip(leaves(a), leaves(b), strict=True):
                assert one.dtype == other.dtype, name
                assert one.tobytes() == other.tobytes(), name
    assert repr(list(ours.infos)) == repr(list(theirs.infos))
    assert ours.completed == theirs.completed
    assert ours.episode_id == theirs.episode_id


def windows(n: int) -> list[EpisodeData]:
    pipeline = BatchPipeline("CartPole-v1", NumpyAgent(), 32, seed=0)
    stream = pipeline.episodes()
    return [next(stream) for _ in range(n)]


BAD_SCORES: tuple[Any, ...] = (
    None, "1.0", 3.0, math.nan, math.inf, {}, [], EvalMetrics("high"), EvalMetrics(None), EvalMetrics(math.nan),  # type: ignore[arg-type]
    EvalMetrics(math.inf), EvalMetrics(True), object(),
)  # fmt: skip
