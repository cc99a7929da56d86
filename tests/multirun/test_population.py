"""A population whose members are functions: what is handed to them, what is decided, what is on disk."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.errors import JobCancelledError, JobError
from tensor_optix.executors import Event, Payload
from tensor_optix.multirun.files import digest
from tensor_optix.multirun.population import GENERATIONS, Population
from tensor_optix.runs import RunDescription
from tests.fakes.executors import FakeExecutor

RUN = RunDescription(env="CartPole-v1", algorithm="ppo", framework="torch", seed=5, val_episodes=2, max_episodes=6)


def learn(item: Payload) -> Payload:
    """A member's score is its number and the generation; its weights tell their history."""
    values = item.values
    weights = item.tensors.get("agent", b"") + f"[{values['member']}@{values['generation']}]".encode()
    params = {"learning_rate": 1e-3, "clip_ratio": 0.2, "entropy_coef": 0.01, **values["params"]}
    found = {
        "score": float(values["member"] + values["generation"]),
        "returns": [1.0],
        "steps": 100,
        "params": {**dict.fromkeys(("gamma", "gae_lambda", "vf_coef", "max_grad_norm"), 0.5), **params},
        "effective": values["params"],
        "state": {"seen": values["generation"]},
        "stream": {"at": values["member"]},
    }
    return Payload(found, {"agent": weights})


def play(item: Payload) -> dict[str, Any]:
    score = float(len(item.tensors["agent"]))
    windows = item.values["windows"]
    return {"returns": [[score + seed % 2 for seed in window] for window in windows], "steps": [9] * len(windows)}


def population(folder: Path, run: RunDescription = RUN, **how: Any) -> Population:
    return Population(folder, run, how.pop("members", 3), 2, **how)


def executor() -> FakeExecutor:
    return FakeExecutor({"learn": learn, "play_windows": play}, whole=True)


def ignore(event: Event) -> None: ...


def run_to_its_end(one: Population, runs: FakeExecutor) -> None:
    while one.reason is None:
        one.step(runs, ignore)


def trained(folder: Path, generations: int, **how: Any) -> tuple[Population, FakeExecutor]:
    found, runs = population(folder, **how), executor()
    for _ in range(generations):
        found.step(runs, ignore)
    return found, runs


def test_the_first_has_the_preset_and_the_others_are_near_it(tmp_path: Path) -> None:
    params = population(tmp_path).kept.params
    assert params[0] == {}
    assert params[1].keys() == params[2].keys() == set(population(tmp_path).space)
    assert params[1] != params[2]
    assert population(tmp_path / "again").kept.params == params


def test_the_worst_goes_on_with_the_weights_of_the_best_in_its_own_stream(tmp_path: Path) -> None:
    _, runs = trained(tmp_path, 2)
    first, second = runs.calls[:3], runs.calls[3:]
    assert [values["state"] for _, values in first] == [None] * 3
    assert [values["is_copied"] for _, values in second] == [True, False, False]
    assert [values["stream"] for _, values in second] == [{"at": 0}, {"at": 1}, {"at": 2}]
    assert len({json.dumps(values["seeds"]) for _, values in first}) == 1
    assert first[0][1]["seeds"] != second[0][1]["seeds"]
    lines = [json.loads(line) for line in (tmp_path / GENERATIONS).read_text().splitlines()]
    assert lines[0]["members"][0]["then"]["donor"] == 2
    assert lines[1]["members"][0]["sha256"] == digest({"agent": b"[2@0][0@1]"})
    assert lines[1]["members"][0]["effective"] == lines[0]["members"][0]["then"]["params"]


def test_a_population_that_is_cut_anywhere_ends_as_one_that_is_not(tmp_path: Path) -> None:
    whole, _ = trained(tmp_path / "whole", 3)
    for cut in range(9):  # calls of the job
        folder = tmp_path / f"cut-{cut}"
        calls = [0]

        def cancelled(item: Payload, calls: list[int] = calls, cut: int = cut) -> Payload:
            calls[0] += 1
            if calls[0] == cut + 1:
                raise JobCancelledError("cut")
            return learn(item)

        with pytest.raises(JobCancelledError):
            run_to_its_end(population(folder), FakeExecutor({"learn": cancelled}, whole=True))
        again = population(folder)
        run_to_its_end(again, executor())
        assert again.kept == whole.kept
        assert (folder / GENERATIONS).read_bytes() == (tmp_path / "whole" / GENERATIONS).read_bytes()


def test_it_ends_by_its_bounds(tmp_path: Path) -> None:
    assert trained(tmp_path / "a", 3)[0].reason == "max_windows windows of each member are done"
    run = dataclasses.replace(RUN, max_episodes=None)
    assert trained(tmp_path / "b", 3, run=run)[0].reason is None
    assert trained(tmp_path / "c", 1, run=dataclasses.replace(run, max_steps=300))[0].reason == (
        "max_steps training steps are done"
    )
    assert trained(tmp_path / "d", 1, run=dataclasses.replace(run, target_score=2.0))[0].reason == (
        "target_score is reached"
    )


def test_it_ends_without_improvement(tmp_path: Path) -> None:
    def flat(item: Payload) -> Payload:
        found = learn(item)
        return Payload({**found.values, "score": 1.0}, found.tensors)

    one = population(tmp_path, dataclasses.replace(RUN, max_episodes=None, dormant_threshold=2))
    run_to_its_end(one, FakeExecutor({"learn": flat}, whole=True))
    assert (one.reason, one.kept.generation) == ("no improvement in 2 generations", 3)


def test_a_member_that_diverges_takes_from_another_and_begins_a_new_stream(tmp_path: Path) -> None:
    def diverging(item: Payload) -> Payload:
        found = learn(item)
        if item.values["member"] == 1:
            return Payload({**{k: v for k, v in found.values.items() if k != "stream"}, "score": None, "state": None})
        return found

    one = population(tmp_path)
    one.step(FakeExecutor({"learn": diverging}, whole=True), ignore)
    assert one.kept.donors == [None, 2, None]
    assert one.kept.streams[1] is None
    assert one.kept.best_scores[1] is None
    test, players = one.test(executor())
    assert players == [0, 2]
    assert players[test.best] in players


def test_the_last_test_plays_the_best_that_each_was(tmp_path: Path) -> None:
    one, _ = trained(tmp_path, 3)
    test, players = one.test(executor())
    assert players == [0, 1, 2]
    assert one.best_state(2).tensors == {"agent": b"[2@0][2@1][2@2]"}
    assert test.returns == one.test(executor())[0].returns


def test_a_late_member_is_said_and_timings_are_apart_from_the_record(tmp_path: Path) -> None:
    now, said = [0.0], list[str]()

    def slow(item: Payload) -> Payload:
        now[0] += 100.0 if item.values["member"] == 1 else 1.0
        return learn(item)

    one = population(tmp_path, clock=lambda: now[0], say=said.append)
    one.step(FakeExecutor({"learn": slow}, whole=True), ignore)
    assert said == ["All waited for member 1, which took 100 s."]
    assert json.loads((tmp_path / "timings.jsonl").read_text()) == {"generation": 1, "seconds": [1.0, 100.0, 1.0]}


def run_asynchronously(one: Population, jobs: FakeExecutor) -> list[list[int]]:
    """Return how far each member was each time that one had been scored."""
    found: list[list[int]] = []
    one.run_asynchronously(jobs, ignore, lambda: found.append(list(one.kept.generations)))
    return found


def test_asynchronous_members_do_not_wait_for_each_other(tmp_path: Path) -> None:
    one, jobs = population(tmp_path), executor()
    assert run_asynchronously(one, jobs) == [
        *([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2], [3, 2, 2], [3, 3, 2], [3, 3, 3]),
    ]
    assert one.reason == "max_windows windows of each member are done"
    lines = [json.loads(line) for line in (tmp_path / GENERATIONS).read_text().splitlines()]
    assert [(line["generation"], line["members"][0]["member"]) for line in lines] == [
        (generation, member) for generation in range(3) for member in range(3)
    ]
    # Each is the best so far when it has been scored, but for the first in the generations that follow.
    donors = [line["members"][0]["then"]["donor"] for line in lines]
    assert donors == [None, None, None, 2, None, None, 2, None, None]
    assert lines[6]["members"][0]["sha256"] == digest({"agent": b"[2@0][0@2]"})


def test_an_asynchronous_population_that_is_cut_loses_what_was_in_progress_alone(tmp_path: Path) -> None:
    calls = [0]

    def cancelled(item: Payload) -> Payload:
        calls[0] += 1
        if calls[0] == 6:
            jobs.cancel()
            raise JobCancelledError("cut")
        return learn(item)

    jobs = FakeExecutor({"learn": cancelled}, whole=True)
    with pytest.raises(JobCancelledError):
        run_asynchronously(population(tmp_path), jobs)
    again = population(tmp_path)
    assert again.kept.generations == [2, 2, 1]
    run_asynchronously(again, executor())
    assert again.kept.generations == [3, 3, 3]
    assert len((tmp_path / GENERATIONS).read_text().splitlines()) == 9


def test_members_that_have_failed_end_an_asynchronous_population(tmp_path: Path) -> None:
    def failing(item: Payload) -> Payload:
        if item.values["member"] == 1:
            raise JobError("out of order")
        return learn(item)

    one = population(tmp_path)
    with pytest.raises(JobError, match="out of order"):
        run_asynchronously(one, FakeExecutor({"learn": failing}, whole=True))
    assert one.kept.generations == [2, 0, 1]


def test_who_has_copied_is_worth_what_it_has_copied(tmp_path: Path) -> None:
    one = population(tmp_path)
    one.step(executor(), ignore)
    assert [standing and standing.score for standing in one.kept.standings] == [2.0, 1.0, 2.0]
