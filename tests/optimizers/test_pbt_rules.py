import numpy as np
import pytest

from tensor_optix.core.search_space import Param, SearchSpace
from tensor_optix.optimizers._pbt_rules import PBTRules, mode_of, moved

SPACE = SearchSpace({"learning_rate": Param(1e-5, 1e-1, "log"), "n_epochs": Param(1, 20, integer=True)})
POPULATION = [({"learning_rate": 10.0**-i, "n_epochs": i}, float(score)) for i, score in ((1, 5), (2, 9), (3, 1))]


def test_the_bottom_takes_the_values_of_the_top_and_all_others_disturb_their_own() -> None:
    rules = PBTRules(exploit_share=0.34, top_share=0.34, explore_scale=0.0, exploit_scale=0.0, fewest=2)
    steps = [rules.step(SPACE, params, score, POPULATION, np.random.default_rng(0)) for params, score in POPULATION]
    assert [(step.mode, step.donor) for step in steps] == [("explore", None), ("explore", None), ("exploit", 1)]
    assert [step.params["n_epochs"] for step in steps] == [1, 2, 2]


def test_a_small_population_copies_where_that_is_allowed() -> None:
    assert mode_of(1.0, [1.0, 2.0], 0.5) == "explore"
    assert mode_of(1.0, [1.0, 2.0], 0.5, fewest=2) == "exploit"
    assert mode_of(1.0, [1.0, 1.0], 0.5, fewest=2) == "explore"


@pytest.mark.parametrize("name", list(SPACE))
def test_a_step_stays_in_the_range_and_is_the_generators(name: str) -> None:
    param = SPACE[name]
    found = [moved(param, param.high, 0.3, np.random.default_rng(seed)) for seed in range(30)]
    assert all(param.low <= value <= param.high for value in found)
    assert len(set(found)) > 1
    assert found[0] == moved(param, param.high, 0.3, np.random.default_rng(0))
