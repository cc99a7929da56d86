"""Variants that learn side by side, over a fake executor: what is trained, what is decided, what is on disk."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tensor_optix._run_reports import write_report
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.storage.line_log import HISTORY
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import CheckpointCorruptError, InvalidArgumentError, JobCancelledError, JobError
from tensor_optix.executors import Event
from tensor_optix.multirun.description import Variants
from tensor_optix.multirun.evolution import STANDING, Evolution
from tensor_optix.runs import RunDescription
from tensor_optix.support.plain import SavedState
from tests.fakes.executors import FakeExecutor
from tests.fakes.reports import report
from tests.helpers import NumpyAgent

RUN = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=7, val_episodes=2, evolve=5)
SCORES = {"first": 20.0, "variant-1": 19.5, "variant-2": 30.0, "variant-3": 3.0, "variant-4": 35.0, "variant-5": 35.0}


def evolution(folder: Path, run: RunDescription = RUN, variants: int = 5, generation: int = 3) -> Evolution:
    return Evolution.begun(folder, run, Variants(variants=variants, generation=generation))


class Runs:
    """The jobs: runs that have trained in a moment, and policies whose returns are their names' scores."""

    def __init__(self, reason: str = "converged") -> None:
        self.reason, self.trained = reason, list[dict[str, Any]]()
        self.executor = FakeExecutor({"train_run": self.train, "learn_on": self.learn_on, "play_best": self.play})

    def train(self, values: Any) -> dict[str, Any]:
        folder = Path(values["run_dir"])
        run = RunDescription.read(folder)
        self.trained.append({"name": folder.name, "run": run, **values})
        registry = CheckpointRegistry(folder)
        registry.save(NumpyAgent(), EvalMetrics(SCORES[folder.name]))
        registry.close()
        write_report(folder, report(reason=self.reason, windows=40, env_steps=1000))
        (folder / HISTORY).touch()
        return {"reason": self.reason}

    def learn_on(self, values: Any) -> dict[str, Any]:
        self.train(values)
        about = {"windows": 8, "steps": 100, "sha256": Path(values["run_dir"]).name, "snapshot": "000000"}
        return {"reason": "converged", "changes": {"gamma": [0.99, 0.98]}, **about}

    def play(self, values: Any) -> dict[str, Any]:
        score = SCORES[Path(values["run_dir"]).name]
        windows = values["windows"]
        return {"returns": [[score + seed % 2 for seed in window] for window in windows], "steps": [9] * len(windows)}


def ignore(event: Event) -> None: ...


def to_its_end(one: Evolution, runs: Runs) -> SavedState:
    while one.reason is None:
        one.step(runs.executor, ignore)
    return one.conclude(runs.executor)


def test_generations_come_of_the_best_policy_and_are_judged_in_order(tmp_path: Path) -> None:
    one, runs = evolution(tmp_path / "run"), Runs()
    assert one.following() == ["first"]
    result = to_its_end(one, runs)
    assert [(made["name"], made.get("parent_dir", "")[-9:]) for made in runs.trained] == [
        ("first", ""),
        *((f"variant-{n}", "run/first") for n in (1, 2, 3)),
        *((f"variant-{n}", "variant-2") for n in (4, 5)),
    ]
    assert [variant["outcome"] for variant in result["variants"]] == [
        "kept", "new best", "discarded", "new best", "kept"
    ]  # fmt: skip
    assert (result["best"], result["reason"], result["steps"]) == ("variant-4", StopReason.BUDGET, 1500)
    assert 35.0 <= result["score"] <= 36.0
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result


def test_variants_have_seeds_of_their_own_and_are_as_long_as_the_first_at_most(tmp_path: Path) -> None:
    one, runs = evolution(tmp_path), Runs()
    to_its_end(one, runs)
    first, *variants = (made["run"] for made in runs.trained)
    assert first == dataclasses.replace(RUN, evolve=0, escape=False)
    assert {variant.max_episodes for variant in variants} == {40}
    assert len({variant.seed for variant in variants}) == 5
    assert {made["noise_scale"] for made in runs.trained[1:]} == {0.1}


@pytest.mark.parametrize(
    ("bounds", "share", "reason"),
    [
        ({"max_steps": 1300}, (40, 100), StopReason.MAX_STEPS),
        ({"max_episodes": 64}, (8, None), StopReason.MAX_EPISODES),
        ({"target_score": 30.0}, (40, None), StopReason.TARGET),
    ],
)
def test_bounds_are_of_all_runs_together(
    tmp_path: Path, bounds: dict[str, Any], share: tuple[int, int | None], reason: StopReason
) -> None:
    one, runs = evolution(tmp_path, dataclasses.replace(RUN, **bounds)), Runs()
    result = to_its_end(one, runs)
    assert result["reason"] == reason
    assert [made["name"] for made in runs.trained] == ["first", "variant-1", "variant-2", "variant-3"]
    variant = runs.trained[1]["run"]
    assert (variant.max_episodes, variant.max_steps) == share
    one.bound({**dict.fromkeys(bounds), "max_steps": 10_000})
    assert to_its_end(one, runs)["reason"] == StopReason.BUDGET


@pytest.mark.parametrize("reason", ["max_steps", "target"])
def test_a_first_run_that_is_not_dormant_has_no_variants(tmp_path: Path, reason: str) -> None:
    run = dataclasses.replace(RUN, max_steps=1000, target_score=20.0)
    result = to_its_end(evolution(tmp_path, run), Runs(reason))
    assert (result["best"], result["reason"], result["variants"]) == ("first", reason, [])
    assert 20.0 <= result["score"] <= 21.0


@pytest.mark.parametrize("job", ["train_run", "learn_on", "play_best"])
@pytest.mark.parametrize("how", ["fails", "cancelled", "interrupted"])
def test_one_that_is_cut_anywhere_ends_as_one_that_is_not(tmp_path: Path, job: str, how: str) -> None:
    expected = to_its_end(evolution(tmp_path / "whole"), Runs())
    one, runs = evolution(tmp_path / "cut"), Runs()
    whole, calls = runs.executor.jobs[job], list[Any]()

    def cut(values: Any) -> Any:
        calls.append(values)
        if len(calls) == 1:
            if how == "interrupted" and job != "play_best":
                return {"reason": "interrupted"}
            raise JobError("it fails") if how == "fails" else JobCancelledError("cancelled")
        return whole(values)

    runs.executor.jobs[job] = cut
    with pytest.raises((JobError, JobCancelledError)):
        to_its_end(one, runs)
    again = evolution(tmp_path / "cut")
    assert to_its_end(again, runs) == expected
    assert (tmp_path / "cut" / STANDING).read_bytes() == (tmp_path / "whole" / STANDING).read_bytes()


def test_other_variants_and_other_folders_are_refused(tmp_path: Path) -> None:
    evolution(tmp_path / "run")
    others: list[dict[str, Any]] = [
        {"variants": 4},
        {"generation": 2},
        {"run": dataclasses.replace(RUN, window_size=64)},
    ]
    for other in others:
        with pytest.raises(InvalidArgumentError, match=r"holds 5 variants of CartPole-v1.*tensor-optix resume"):
            evolution(tmp_path / "run", **other)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("")
    with pytest.raises(InvalidArgumentError, match="holds something else"):
        evolution(tmp_path / "other")


def test_a_number_of_environments_that_is_measured_stays(tmp_path: Path) -> None:
    variants = Variants(variants=5, generation=3)
    Evolution.begun(tmp_path, RUN, variants, lambda run: dataclasses.replace(run, n_envs=4))
    again = Evolution.begun(tmp_path, RUN, variants, lambda run: pytest.fail("measured"))
    assert again.run(0).n_envs == 4


def test_a_parent_that_is_gone_and_a_damaged_record_are_said(tmp_path: Path) -> None:
    one, runs = evolution(tmp_path), Runs()
    one.step(runs.executor, ignore)
    (snapshot,) = CheckpointRegistry(tmp_path / "first").snapshots()
    path = CheckpointRegistry(tmp_path / "first").path_of(snapshot)
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointCorruptError, match="has no policy any more"):
        one.step(runs.executor, ignore)
    with pytest.raises(InvalidArgumentError, match="has no policy yet"):
        one.conclude(runs.executor)
    (tmp_path / STANDING).write_text('{"format": 9, "steps": 1, "windows": 1}')
    with pytest.raises(CheckpointCorruptError, match="has format 9"):
        one.standing()
