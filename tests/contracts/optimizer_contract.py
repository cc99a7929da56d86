"""What every hyper-parameter optimizer must keep: inherit, and give a fixture `make_optimizer`."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.search_space import Param
from tensor_optix.core.types import EvalMetrics, HyperparamSet
from tensor_optix.errors import HyperparamError

BOUNDS = {"learning_rate": Param(1e-5, 1e-1, "log"), "n_epochs": Param(1, 20, integer=True), "clip": (0.1, 0.4)}
START = {"learning_rate": 1e-3, "n_epochs": 10, "clip": 0.2, "gamma": 0.99}


class OptimizerContract:
    make_optimizer: Callable[..., BaseOptimizer]

    def bound(self, **kwargs: object) -> BaseOptimizer:
        optimizer = self.make_optimizer(BOUNDS, **kwargs)
        optimizer.bind({}, HyperparamSet(dict(START)))
        return optimizer

    def follow(self, optimizer: BaseOptimizer, params: dict, scores: list[float]) -> list[dict]:
        trace = []
        for i, score in enumerate(scores):
            metrics = EvalMetrics(score, {}, i)
            (optimizer.on_improvement if i % 3 == 0 else optimizer.on_plateau)(metrics)
            params = optimizer.suggest(HyperparamSet(dict(params)), metrics).params
            trace.append(params)
        return trace

    def test_stays_inside_the_bounds_and_keeps_kinds(self) -> None:
        rng = np.random.default_rng(0)
        for params in self.follow(self.bound(), START, list(rng.normal(size=300) * 100)):
            assert 1e-5 <= params["learning_rate"] <= 1e-1
            assert 1 <= params["n_epochs"] <= 20
            assert isinstance(params["n_epochs"], int)
            assert 0.1 <= params["clip"] <= 0.4

    def test_touches_nothing_outside_its_bounds(self) -> None:
        for params in self.follow(self.bound(), START, [float(i) for i in range(100)]):
            assert params["gamma"] == 0.99
            assert set(params) == set(START)

    def test_really_tunes(self) -> None:
        trace = self.follow(self.bound(), START, [float(i % 7) for i in range(100)])
        for name in BOUNDS:
            assert len({params[name] for params in trace}) > 1, name

    def test_starts_at_either_bound(self) -> None:
        for edge in ({"learning_rate": 1e-5, "n_epochs": 1, "clip": 0.1}, {"learning_rate": 1e-1, "n_epochs": 20}):
            for params in self.follow(self.bound(), {**START, **edge}, [0.0] * 60):
                assert 1e-5 <= params["learning_rate"] <= 1e-1

    def test_does_not_change_what_it_is_given(self) -> None:
        given = HyperparamSet(dict(START))
        optimizer = self.bound()
        for i in range(5):
            optimizer.suggest(given, EvalMetrics(float(i)))
        assert given.params == START

    def test_same_seed_same_suggestions(self) -> None:
        scores = list(np.random.default_rng(1).normal(size=50))
        assert self.follow(self.bound(seed=3), START, scores) == self.follow(self.bound(seed=3), START, scores)

    @pytest.mark.parametrize("cut", range(1, 12))
    def test_goes_on_from_its_state(self, cut: int) -> None:
        scores = list(np.random.default_rng(2).normal(size=30))
        whole = self.follow(self.bound(), START, scores)
        first = self.bound()
        half = self.follow(first, START, scores[: 3 * cut - 3 or 3])
        second = self.bound()
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        rest = self.follow(second, half[-1], scores[len(half) :])
        assert half + rest == whole

    def test_refuses_bounds_that_the_agent_lacks(self) -> None:
        with pytest.raises(HyperparamError, match=r"'clip_ratoi'.*Did you mean 'clip_ratio'"):
            self.make_optimizer({"clip_ratoi": (0.1, 0.3)}).bind({}, HyperparamSet({"clip_ratio": 0.2}))
