"""A search over fake runs: what is drawn, what is asked of workers, who goes on, and what a crash costs."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tensor_optix.errors import InvalidArgumentError, JobCancelledError, JobError
from tensor_optix.executors import Executor
from tensor_optix.multirun.search import Search, search_run
from tensor_optix.multirun.seeds import SeveralSeeds
from tests.fakes.executors import FakeExecutor
from tests.fakes.searches import DESCRIPTION, PRESET, RUN, made, place, trained, unwatched


def by_trial(values: Any) -> Any:
    """The higher the number, the better; the last test agrees."""
    return trained(100.0 + place(values)[1], values)


def searched(search: Search, executor: Executor) -> None:
    while batch := search.batch():
        search.advance(executor, batch, unwatched)


def test_trials_are_drawn_in_batches_the_preset_and_earlier_values_first(tmp_path: Path) -> None:
    search, executor = made(tmp_path), FakeExecutor({"try_run": by_trial})
    assert [one.number for one in search.batch()] == [0, 1, 2, 3]
    assert [one.number for one in search.batch()] == [0, 1, 2, 3]
    searched(search, executor)
    trials = search.study.trials()
    assert [one.drawn for one in trials] == ["preset", "earlier run", "search", "random", "search", "random"]
    assert trials[0].values == PRESET
    assert trials[1].values == DESCRIPTION.earlier[0]
    assert [one.value for one in trials] == [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    asked = [place(values) for _, values in executor.calls]
    first = [("trials", number, seed) for seed in (0, 1) for number in range(4)]
    assert asked == [*first, ("trials", 4, 0), ("trials", 5, 0), ("trials", 4, 1), ("trials", 5, 1)]


def test_each_trial_is_runs_as_several_seeds_make_them_with_the_same_episodes(tmp_path: Path) -> None:
    search, executor = made(tmp_path), FakeExecutor({"try_run": by_trial})
    searched(search, executor)
    several = SeveralSeeds.read(tmp_path / "trials" / "trial-1")
    assert several.description.seeds == [0, 1]
    run = several.run(1)
    assert (run.seed, run.hyperparams, run.net_arch, run.max_steps) == (1, {"learning_rate": 1e-3}, [16], 640)
    assert (run.tuning, run.escape, run.max_interval) == (False, False, run.base_interval)
    windows = [values["windows"] for _, values in executor.calls]
    assert all(one == windows[0] for one in windows)
    assert [len(one) for one in windows[0]] == [5, 5, 5, 5]


def test_curves_of_earlier_batches_are_what_a_run_is_compared_with(tmp_path: Path) -> None:
    executor = FakeExecutor({"try_run": by_trial})
    searched(made(tmp_path), executor)
    given = {place(values)[1:]: values["references"] for _, values in executor.calls}
    assert given[3, 1] == []
    assert given[4, 0] == given[5, 0] == [[[0, (100.0 + n) / 2], [1, 100.0 + n]] for n in range(4)]


def test_who_is_behind_gets_no_other_seed(tmp_path: Path) -> None:
    def train(values: Any) -> Any:
        _, number, _ = place(values)
        return trained(10.0 if number == 4 else 100.0, values, is_pruned=number == 5)

    search, executor = made(tmp_path), FakeExecutor({"try_run": train})
    searched(search, executor)
    assert [one.state for one in search.study.trials()][4:] == ["pruned", "pruned"]
    assert {place(values) for _, values in executor.calls if place(values)[1] > 3} == {
        ("trials", 4, 0),
        ("trials", 5, 0),
    }


def test_a_run_that_fails_costs_the_others_nothing_and_that_of_the_preset_everything(tmp_path: Path) -> None:
    broken = {2}

    def train(values: Any) -> Any:
        if place(values)[1] in broken:
            raise JobError("it fails")
        return by_trial(values)

    told = list[str]()
    search, executor = made(tmp_path / "a", say=told.append), FakeExecutor({"try_run": train})
    searched(search, executor)
    assert [one.state for one in search.study.trials()][:4] == ["complete", "complete", "failed", "complete"]
    assert told == ["trial-2 has failed: it fails"]
    broken.add(0)
    search = made(tmp_path / "b")
    with pytest.raises(JobError, match="it fails"):
        searched(search, executor)
    broken.clear()
    searched(made(tmp_path / "b"), executor)
    assert search.study.trials()[0].value == 100.0


def test_a_search_that_is_cut_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    def end(folder: Path) -> list[Any]:
        return [(one.values, one.state, one.value, one.seeds) for one in made(folder).study.trials()]

    whole = FakeExecutor({"try_run": by_trial})
    searched(made(tmp_path / "whole"), whole)
    for cut in (1, 6, 10):
        left = [cut]

        def train(values: Any, left: list[int] = left) -> Any:
            if left[0] == 0:
                raise JobCancelledError("cut")
            left[0] -= 1
            return by_trial(values)

        folder = tmp_path / str(cut)
        with pytest.raises(JobCancelledError):
            searched(made(folder), FakeExecutor({"try_run": train}))
        searched(made(folder), FakeExecutor({"try_run": by_trial}))
        assert end(folder) == end(tmp_path / "whole")


def test_more_trials_go_on_where_it_ended(tmp_path: Path) -> None:
    executor = FakeExecutor({"try_run": by_trial})
    searched(made(tmp_path), executor)
    executor.calls.clear()
    searched(made(tmp_path, msgspec.structs.replace(DESCRIPTION, trials=7)), executor)
    assert [place(values) for _, values in executor.calls] == [("trials", 6, 0), ("trials", 6, 1)]


def test_an_interrupted_run_interrupts_the_search(tmp_path: Path) -> None:
    executor = FakeExecutor({"try_run": lambda values: {"is_interrupted": True}})
    with pytest.raises(JobCancelledError):
        searched(made(tmp_path), executor)
    assert all(one.seeds == () for one in made(tmp_path).study.trials())


def test_finalists_have_fresh_seeds_and_fresh_episodes_once(tmp_path: Path) -> None:
    search, executor = made(tmp_path), FakeExecutor({"try_run": by_trial})
    searched(search, executor)
    (before, *_), _ = [values["windows"] for _, values in executor.calls], executor.calls.clear()
    scores = search.test(executor, unwatched)
    assert scores == {number: [100.0 + number] * 3 for number in range(6)}
    asked = [values for _, values in executor.calls]
    assert [place(values) for values in asked] == [("finals", n, seed) for n in range(6) for seed in (2, 3, 4)]
    assert all(values["windows"] == asked[0]["windows"] != before for values in asked)
    assert all(values["references"] == [] for values in asked)
    executor.calls.clear()
    assert made(tmp_path).test(executor, unwatched) == scores
    assert executor.calls == []


def test_a_finalist_that_fails_is_none_and_without_the_preset_there_is_no_test(tmp_path: Path) -> None:
    broken = {1}

    def train(values: Any) -> Any:
        kind, number, _ = place(values)
        if kind == "finals" and number in broken:
            raise JobError("it fails")
        return by_trial(values)

    search, executor = made(tmp_path), FakeExecutor({"try_run": train})
    searched(search, executor)
    broken.add(0)
    with pytest.raises(JobError):
        search.test(executor, unwatched)
    broken.discard(0)
    assert list(search.test(executor, unwatched)) == [0, 2, 3, 4, 5]


@pytest.mark.parametrize(("max_steps", "said"), [(None, "none was given"), (127, "got 127")])
def test_a_budget_must_afford_an_evaluation(max_steps: int | None, said: str) -> None:
    run = dataclasses.replace(RUN, window_size=64, base_interval=2, max_steps=max_steps)
    with pytest.raises(InvalidArgumentError, match=rf"--total-steps .* at least 128.*{said}"):
        search_run(run)
    assert search_run(dataclasses.replace(run, max_steps=128)).max_steps == 128
