"""Several seeds over a fake executor: what is trained, what is left, what is written."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tensor_optix._run_reports import write_report
from tensor_optix.errors import InvalidArgumentError, JobCancelledError, JobError
from tensor_optix.executors import Event
from tensor_optix.multirun.description import RESULT
from tensor_optix.multirun.seeds import SeveralSeeds
from tensor_optix.runs import RunDescription
from tests.fakes.executors import FakeExecutor
from tests.fakes.reports import report

RUN = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=99, val_episodes=2, max_steps=500)


def measured(run: RunDescription) -> RunDescription:
    return dataclasses.replace(run, n_envs=4)


def begun(folder: Path, run: RunDescription = RUN, seeds: tuple[int, ...] = (0, 1, 2)) -> SeveralSeeds:
    return SeveralSeeds.begun(folder, run, seeds, 2, measured)


def ignore(event: Event) -> None: ...


def test_each_seed_has_a_run_directory_of_its_own(tmp_path: Path) -> None:
    several = begun(tmp_path / "folder")
    assert [several.run(seed) for seed in (0, 1, 2)] == [dataclasses.replace(RUN, seed=s, n_envs=4) for s in (0, 1, 2)]
    assert SeveralSeeds.read(tmp_path / "folder").description == several.description


def test_the_same_command_goes_on_and_measures_nothing_again(tmp_path: Path) -> None:
    begun(tmp_path)
    again = SeveralSeeds.begun(tmp_path, RUN, (0, 1, 2), 3, lambda run: pytest.fail("measured"))
    assert again.run(1).n_envs == 4


@pytest.mark.parametrize(
    ("run", "seeds"), [(RUN, (0, 1)), (dataclasses.replace(RUN, window_size=64), (0, 1, 2)), (RUN, (1, 2, 3))]
)
def test_other_runs_are_refused(tmp_path: Path, run: RunDescription, seeds: tuple[int, ...]) -> None:
    begun(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"holds other runs: seeds \[0, 1, 2\].*tensor-optix resume"):
        begun(tmp_path, run, seeds)


def test_environments_that_are_told_must_be_the_same(tmp_path: Path) -> None:
    SeveralSeeds.begun(tmp_path, measured(RUN), (0,), 1)
    SeveralSeeds.begun(tmp_path, measured(RUN), (0,), 1)
    with pytest.raises(InvalidArgumentError, match="other runs"):
        SeveralSeeds.begun(tmp_path, RUN, (0,), 1)


def test_a_folder_whose_making_was_broken_off_is_made_anew_and_any_other_refused(tmp_path: Path) -> None:
    begun(tmp_path / "a")
    (tmp_path / "a" / "multirun.json").unlink()
    begun(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("")
    with pytest.raises(InvalidArgumentError, match="holds something else"):
        begun(tmp_path / "b")


def test_what_has_ended_is_not_trained_again_unless_its_bound_has_moved(tmp_path: Path) -> None:
    several = begun(tmp_path)
    assert several.unfinished() == [0, 1, 2]
    write_report(several.run_dir(0), report(reason="max_steps", env_steps=512))
    write_report(several.run_dir(1), report(reason="converged"))
    write_report(several.run_dir(2), report(reason="interrupted"))
    assert several.unfinished() == [2]
    several.bound({"max_steps": 1000})
    assert several.unfinished() == [0, 2]


@pytest.mark.parametrize(
    ("reason", "bounds", "ended"),
    [
        ("max_episodes", {"max_episodes": 40}, True),
        ("max_episodes", {"max_episodes": 41}, False),
        ("target", {"target_score": 400.0}, True),
        ("target", {"target_score": 499.0}, False),
        ("nothing_learned", {}, True),
        ("error", {}, False),
    ],
)
def test_which_ends_are_ends(tmp_path: Path, reason: str, bounds: dict[str, Any], ended: bool) -> None:
    several = begun(tmp_path, seeds=(0,))
    write_report(several.run_dir(0), report(reason=reason))
    several.bound(bounds)
    assert (several.unfinished() == []) is ended


def test_a_run_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    several, events = begun(tmp_path), list[Event]()

    def train(values: Any) -> dict[str, str]:
        if values["run_dir"].endswith("seed-1"):
            raise JobError("it fails")
        return {"reason": "converged"}

    executor = FakeExecutor({"train_run": train})
    (error,) = several.train(executor, [0, 1, 2], events.append)
    assert str(error) == "it fails"
    assert [values["run_dir"] for _, values in executor.calls] == [str(several.run_dir(seed)) for seed in (0, 1, 2)]
    assert [event.kind for event in events if event.index == 1] == ["begun", "failed"]


@pytest.mark.parametrize("how", ["cancelled", "interrupted"])
def test_an_interruption_is_one_of_all(tmp_path: Path, how: str) -> None:
    def train(values: Any) -> dict[str, str]:
        if how == "cancelled":
            raise JobCancelledError("cancelled")
        return {"reason": "interrupted"}

    with pytest.raises(JobCancelledError):
        begun(tmp_path).train(FakeExecutor({"train_run": train}), [0, 1], ignore)


def test_the_best_is_found_on_the_same_fresh_episodes_and_written(tmp_path: Path) -> None:
    several, scores = begun(tmp_path), {"seed-0": 3.0, "seed-2": 8.0}

    def play(values: Any) -> dict[str, Any]:
        score = scores[Path(values["run_dir"]).name]
        windows = values["windows"]
        return {"returns": [[score + seed % 2 for seed in window] for window in windows], "steps": [9] * len(windows)}

    executor = FakeExecutor({"play_best": play})
    test = several.test(executor, [0, 2])
    first, second = (values["windows"] for _, values in executor.calls[:2])
    assert first == second
    assert {len(window) for window in first} == {RUN.val_episodes}
    assert test == several.test(executor, [0, 2])
    written = several.conclude(test, [0, 2])
    assert json.loads((tmp_path / RESULT).read_text()) == written
    assert written["best"] == "seed-2"
    assert written["interval"]["low"] <= written["score"] <= written["interval"]["high"]
    assert set(written["raced"]) == {"seed-0", "seed-2"}
