import logging
from typing import Any

import numpy as np
import pytest

from tensor_optix import BatchPipeline
from tensor_optix.core.faults import FAILED_EPISODES
from tensor_optix.errors import BadDataError, EnvironmentFailedError, InvalidArgumentError
from tensor_optix.pipeline.environment.single import SingleEnvironment
from tensor_optix.pipeline.environment.workers.isolated import IsolatedEnv
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tests.fakes.failing import KILL, RAISE, Walking
from tests.helpers import NumpyAgent


class TestMakingAnew:
    def test_one_that_has_raised_is_another_one_after_its_reset(self) -> None:
        single = SingleEnvironment(Walking)
        single.reset(seed=1)
        before = single.env
        with pytest.raises(LookupError):
            single.step(RAISE)
        assert single.has_failed
        single.reset(seed=2)
        assert single.env is not before
        assert not single.has_failed

    def test_one_that_came_ready_made_goes_on(self) -> None:
        env = Walking()
        single = SingleEnvironment(env)
        single.reset(seed=1)
        with pytest.raises(LookupError):
            single.step(RAISE)
        assert single.reset(seed=2)[0].tolist() == [0, 2, 0]
        assert single.env is env

    def test_bad_data_are_no_reason_to_make_it_anew(self) -> None:
        class Bad(Walking):
            def step(self, action: int) -> Any:
                raise BadDataError("NaN")

        single = SingleEnvironment(Bad)
        single.reset()
        with pytest.raises(BadDataError):
            single.step(1)
        assert not single.has_failed

    def test_one_that_cannot_be_made_anew_has_still_failed(self) -> None:
        made: list[int] = []

        def make() -> Walking:
            made.append(1)
            if len(made) == 2:
                raise OSError("no licence")
            return Walking()

        single = SingleEnvironment(make)
        single.reset()
        single.has_failed = True
        with pytest.raises(OSError, match="no licence"):
            single.reset()
        assert single.has_failed
        single.reset()
        assert len(made) == 3


class TestIsolating:
    def test_it_has_a_process_of_its_own_and_so_have_its_copies(self) -> None:
        single = SingleEnvironment(Walking, isolate=True, step_timeout=60.0)
        (make,) = single.copies()
        copy = make()
        assert isinstance(single.env, IsolatedEnv)
        assert isinstance(copy, IsolatedEnv)
        assert single.env.worker.process != copy.worker.process
        before = single.env
        single.reset()
        with pytest.raises(EnvironmentFailedError):
            single.step(KILL)
        single.reset()
        assert single.env is before
        copy.close()
        single.env.close()

    @pytest.mark.parametrize("bound", [{"step_timeout": 1.0}, {"max_worker_rss": 2**30}])
    def test_what_cannot_be_ended_has_no_bound(self, bound: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgumentError, match="needs isolate=True"):
            SingleEnvironment(Walking, **bound)

    def test_what_is_ready_made_is_in_this_process(self) -> None:
        with pytest.raises(InvalidArgumentError, match="isolate=True needs an id"):
            SingleEnvironment(Walking(), isolate=True)


class Planned(NumpyAgent):
    def __init__(self, plan: list[int]) -> None:
        super().__init__()
        self.plan = plan

    def act(self, observation: Any, *, deterministic: bool = False) -> Any:
        return self.plan.pop(0)

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return [self.plan.pop(0) for _ in observations]


class TestInPipelines:
    @pytest.mark.parametrize(("isolate", "kind"), [(False, "raised"), (True, "died")])
    def test_a_window_keeps_what_was_before_a_failure(self, isolate: bool, kind: str) -> None:
        plan = [1, 2, KILL if isolate else RAISE, 3, 3, 3]
        pipeline = BatchPipeline(Walking, Planned(plan), window_size=5, seed=4, isolate=isolate)
        window = next(pipeline.episodes())
        assert window.actions.tolist() == [1, 2, 3, 3, 3]
        assert window.truncated.tolist() == [False, True, False, False, False]
        assert window.next_observations[:, 2].tolist() == [1, 2, 1, 2, 3]
        ((found, known),) = window.metadata[FAILED_EPISODES].items()
        assert (found, sum(known.values())) == (kind, 1)
        pipeline.teardown()

    def test_three_in_a_row_end_it_and_a_whole_episode_between_saves_it(self) -> None:
        whole = [1, 1, 1, 1, 1]
        pipeline = BatchPipeline(Walking, Planned([RAISE, RAISE, *whole] * 3), window_size=15)
        assert len(next(pipeline.episodes()).rewards) == 15
        lost = BatchPipeline(Walking, Planned([RAISE, 1, RAISE, 1, RAISE]), window_size=15)
        with pytest.raises(EnvironmentFailedError, match="The environment failed 3 times in a row") as caught:
            next(lost.episodes())
        assert "in fail" in str(caught.value)

    def test_a_reset_that_never_succeeds_is_not_tried_for_ever(self) -> None:
        pipeline = BatchPipeline(lambda: Walking(0, ("reset", 1)), Planned([1] * 9), window_size=3)
        with pytest.raises(EnvironmentFailedError, match=r"raised in reset: LookupError"):
            next(pipeline.episodes())

    def test_validation_leaves_an_episode_out_and_makes_its_environment_anew(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        FirstFails.made = 0
        pipeline = ValidationPipeline([Walking, FirstFails], OnAndOn(), seed=0)
        windows = pipeline.episodes()
        with caplog.at_level(logging.WARNING):
            assert len(next(windows).rewards) == 5
        assert "left out an episode (1 until now) for a failure: it raised in validation: LookupError" in caplog.text
        assert len(next(windows).rewards) == 10
        FirstFails.made = 0
        with pytest.raises(BadDataError, match=r"No validation episode came to an end.*the cable is out"):
            next(ValidationPipeline([FirstFails], OnAndOn(), seed=0).episodes())


class FirstFails(Walking):
    made = 0

    def __init__(self) -> None:
        super().__init__()
        FirstFails.made += 1
        self.is_first = FirstFails.made == 1

    def step(self, action: int) -> Any:
        return super().step(RAISE if self.is_first and self.steps == 2 else action)


class OnAndOn(NumpyAgent):
    def act(self, observation: Any, *, deterministic: bool = False) -> Any:
        return 1

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return np.ones(len(observations), np.int64)
