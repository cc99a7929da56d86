from tensor_optix.core.loop.scored import Scored
from tensor_optix.core.types import EvalMetrics


def test_a_score_alone_is_not_the_best_and_had_no_test() -> None:
    scored = Scored(EvalMetrics(1.0))
    assert (scored.is_best, scored.evidence, scored.incumbent, scored.test_steps) == (False, (), None, 0)
    assert scored.pending is None
