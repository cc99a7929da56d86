"""How the facade brings its parts together: what has two names, what tunes, and which seeds follow from one."""

import numpy as np
import pytest

from tensor_optix import BackoffOptimizer, EpisodeReturnEvaluator, PBTOptimizer
from tensor_optix._wiring import child_seeds, most_windows, patience_of, tuner
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.support.arguments import Default
from tests.helpers import ScoreEvaluator, ScriptedPipeline


@pytest.mark.parametrize(
    ("given", "most"), [((None, None), None), ((3, None), 3), ((None, 3), 3), ((3, 3), 3), ((np.int64(3), 3), 3)]
)
def test_a_bound_on_windows_has_two_names(given: tuple[int | None, int | None], most: int | None) -> None:
    assert most_windows(*given) == most


@pytest.mark.parametrize(
    ("given", "message"),
    [((0, None), "max_windows must be"), ((None, True), "max_episodes must be"), ((2, 3), "two names of one bound")],
)
def test_a_bound_that_is_none_is_named(given: tuple[int | None, int | None], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        most_windows(*given)


def test_what_tunes_is_the_users_own_or_the_usual_or_nothing() -> None:
    own = PBTOptimizer({"learning_rate": (0.1, 0.2)})
    assert tuner(own, is_wanted=True, seed=0) is own
    assert isinstance(tuner(None, is_wanted=True, seed=0), BackoffOptimizer)
    assert list(tuner(None, is_wanted=False, seed=0).search_space or {}) == []
    with pytest.raises(InvalidArgumentError, match="optimizer=PBTOptimizer tunes them"):
        tuner(own, is_wanted=False, seed=0)


def test_seeds_follow_from_one_and_differ() -> None:
    assert child_seeds(3, 5) == child_seeds(3, 5)
    assert len({*child_seeds(3, 5)}) == 5
    assert child_seeds(None, 2) == [None, None]


def test_the_patience_grows_where_no_threshold_was_set_and_knows_a_target_in_returns_only() -> None:
    pipeline = ScriptedPipeline([])
    pipeline.reward_threshold = 475.0
    by_default = patience_of((Default(20), Default(100)), pipeline, EpisodeReturnEvaluator(), 5)
    assert (by_default.is_scaled, by_default.reward_threshold) == (True, 475.0)
    assert not patience_of((20, Default(100)), pipeline, EpisodeReturnEvaluator(), 5).is_scaled
    assert patience_of((Default(20), Default(100)), pipeline, ScoreEvaluator(), 5).reward_threshold is None
