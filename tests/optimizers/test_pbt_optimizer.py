import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.search_space import Param
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import InvalidArgumentError
from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer, mode_of


@pytest.mark.parametrize(
    ("score", "population", "mode"),
    [
        (0.0, [0.0], "explore"),
        (0.0, [1.0, 2.0, 3.0, 0.0], "explore"),  # four are no population
        (0.0, [1.0, 2.0, 3.0, 4.0, 0.0], "exploit"),  # the worst of five
        (1.0, [0.0, 2.0, 3.0, 4.0, 1.0], "explore"),
        (1.0, [0.0, 1.0, *range(2, 10)], "exploit"),  # the second worst of ten
        (2.0, [0.0, 1.0, *range(2, 10)], "explore"),
        (1.0, [1.0] * 10, "explore"),  # a flat score is no reason to jump
    ],
)
def test_the_bottom_share_exploits(score: float, population: list[float], mode: str) -> None:
    assert mode_of(score, population, 0.2) == mode


def suggest(optimizer: PBTOptimizer, params: dict[str, Any], score: float) -> dict[str, Any]:
    return optimizer.suggest(HyperparamSet(dict(params)), EvalMetrics(score)).params


def test_the_bottom_copies_from_the_top_up_to_a_small_step() -> None:
    optimizer = PBTOptimizer({"x": (0.0, 1000.0)}, exploit_scale=0.0, explore_scale=0.0, seed=0)
    for x, score in ((100.0, 1.0), (900.0, 9.0), (300.0, 3.0), (400.0, 4.0)):
        suggest(optimizer, {"x": x}, score)
    assert suggest(optimizer, {"x": 500.0}, 0.0) == {"x": 900.0}
    assert suggest(optimizer, {"x": 500.0}, 5.0) == {"x": 500.0}


def test_a_log_scale_step_is_uniform_in_the_logarithm() -> None:
    optimizer = PBTOptimizer({"learning_rate": (1e-5, 1e-1)}, explore_scale=0.1, history_size=5, seed=0)
    steps = np.log([suggest(optimizer, {"learning_rate": 1e-3}, 0.0)["learning_rate"] / 1e-3 for _ in range(3000)])
    widest = 0.1 * math.log(1e4)
    assert np.abs(steps).max() <= widest
    assert np.std(steps) == pytest.approx(widest / math.sqrt(3), rel=0.05)


def test_a_linear_step_is_normal_in_shares_of_the_range() -> None:
    optimizer = PBTOptimizer({"x": (0.0, 100.0)}, explore_scale=0.05, history_size=np.int64(5), seed=0)  # type: ignore[arg-type]
    steps = [suggest(optimizer, {"x": 50.0}, 0.0)["x"] - 50.0 for _ in range(3000)]
    assert np.std(steps) == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize(
    ("bounds", "names", "is_log"),
    [
        ({"learning_rate": (1e-5, 1e-1)}, None, True),
        ({"learning_rate": (1e-5, 1e-1)}, (), False),
        ({"x": (1e-5, 1e-1)}, ("x",), True),
        ({"x": Param(1e-5, 1e-1, "log")}, (), True),
        ({"epsilon": (0.0, 1.0)}, None, False),  # no logarithm of zero
    ],
)
def test_which_names_move_by_factors(bounds: dict, names: tuple | None, is_log: bool) -> None:
    optimizer = PBTOptimizer(bounds, log_scale_params=names)
    assert optimizer._space is not None
    assert [param.scale for param in optimizer._space.values()] == ["log" if is_log else "linear"]


def test_the_past_is_forgotten_beyond_its_size() -> None:
    optimizer = PBTOptimizer({"x": (0.0, 1.0)}, history_size=5, exploit_scale=0.0, explore_scale=0.0, seed=0)
    suggest(optimizer, {"x": 0.9}, 100.0)
    for score in (1.0, 2.0, 3.0, 4.0):
        suggest(optimizer, {"x": score / 10}, score)
    assert suggest(optimizer, {"x": 0.5}, 0.0) == {"x": 0.4}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exploit_percentile": 0.0}, r"exploit_percentile must be in \(0, 1\)"),
        ({"top_percentile": 1.0}, r"top_percentile must be in \(0, 1\)"),
        ({"top_percentile": "a"}, r"top_percentile must be in \(0, 1\), but got 'a'"),
        ({"explore_scale": -1.0}, "explore_scale must be a finite number of at least 0"),
        ({"explore_scale": None}, "explore_scale must be a finite number of at least 0"),
        ({"exploit_scale": math.nan}, "exploit_scale must be a finite number of at least 0"),
        ({"history_size": 4}, "history_size must be a whole number of at least 5"),
        ({"history_size": 5.5}, "history_size must be a whole number of at least 5"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"param_bounds": 5}, "param_bounds must map names to Param or .*, but got 5"),
        ({"param_bounds": {1: (0.0, 1.0)}}, "param_bounds must map names"),
        ({"param_bounds": {"x": 5}}, "x"),
        ({"log_scale_params": "learning_rate"}, "log_scale_params must be a list of names, but got 'learning_rate'"),
        ({"log_scale_params": 5}, "log_scale_params must be a list of names"),
        ({"param_bounds": {"x": (0.0, 1.0)}, "log_scale_params": ["x"]}, "lower bound 0.0 is not positive"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        PBTOptimizer(**arguments)


def test_it_says_what_it_decided_and_forgets_another_agents_scores() -> None:
    optimizer = PBTOptimizer({"learning_rate": (1e-4, 1e-2)}, seed=0)
    for score in (*range(10), -100.0):
        optimizer.suggest(HyperparamSet({"learning_rate": 1e-3}), EvalMetrics(float(score)))
    assert optimizer.decision == "exploit"
    optimizer.on_new_learner()
    optimizer.suggest(HyperparamSet({"learning_rate": 1e-3}), EvalMetrics(5.0))
    assert optimizer.decision == "explore"
    assert len(optimizer.state_dict()["population"]) == 1


def test_a_window_that_made_the_agent_diverge_leaves_the_population_as_it_is() -> None:
    optimizer = PBTOptimizer({"learning_rate": (1e-4, 1e-2)}, seed=0)
    for score in range(10):
        optimizer.suggest(HyperparamSet({"learning_rate": 1e-3}), EvalMetrics(float(score)))
    optimizer.on_divergence()
    assert len(optimizer.state_dict()["population"]) == 10


def test_whole_numbers_stay_whole_where_no_run_binds_it() -> None:
    optimizer, params = PBTOptimizer({"n": (1, 9)}, seed=0), {"n": 4}
    for score in range(10):
        params = suggest(optimizer, params, float(score % 3))
        assert type(params["n"]) is int
