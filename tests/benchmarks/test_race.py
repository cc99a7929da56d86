"""The suite of the race: its plan, its table, and when a score is looked at."""

import json
from typing import Any

import pytest

from benchmarks import _race_runs, race
from benchmarks._race_tasks import TASKS
from benchmarks._suite import Options
from tensor_optix.factory import resolve_algorithm


class Clocks:
    """What the race reads; a look takes three seconds of either clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
        self.now, self.scores, self.seeds = 0.0, scores, list[int]()
        monkeypatch.setattr(_race_runs, "seconds_of_all", lambda: self.now)
        monkeypatch.setattr(_race_runs.time, "monotonic", lambda: 1000.0 + self.now)

    def play(self, seed: int) -> float:
        self.now += 3.0
        self.seeds.append(seed)
        return self.scores[len(self.seeds) - 1]


def test_the_clocks_stand_still_while_a_score_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch, [1.0, 2.0, 5.0])
    made = _race_runs.Race(goal=5.0, cap=100.0, begun=1000.0)
    while not made.look(clocks.play):
        clocks.now += 0.25
    assert made.looks == [(0.0, 0.0, 1.0), (1.0, 1.0, 2.0), (2.0, 2.0, 5.0)]
    assert len(set(clocks.seeds)) == 3
    found = json.loads(made.told(steps=64))
    assert (found["reached"], found["ended"], found["cpu_seconds"], found["steps"]) == (True, "goal", 2.0, 64)


def test_a_race_is_over_when_its_time_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch, [0.0] * 100)
    made = _race_runs.Race(goal=5.0, cap=30.0, begun=1000.0)
    while not made.look(clocks.play):
        clocks.now += 0.25
    assert made.looks[-1][0] == 30.0
    assert len(made.looks) < 30  # ever rarer
    assert json.loads(made.told(steps=64))["ended"] == "cap"


def test_a_run_that_ends_before_is_looked_at_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch, [0.0, 1.0])
    made = _race_runs.Race(goal=5.0, cap=30.0, begun=1000.0)
    made.look(clocks.play)
    clocks.now += 0.5
    assert not made.look(clocks.play, is_last=True)
    assert json.loads(made.told(steps=64)) == {
        "reached": False,
        "cpu_seconds": 0.5,
        "seconds": 0.5,
        "score": 1.0,
        "steps": 64,
        "ended": "by itself",
        "looks": [[0.0, 0.0, 0.0], [0.5, 0.5, 1.0]],
    }


def row(contestant: str, seconds: float, *, seed: int = 0, reached: bool = True) -> dict[str, Any]:
    algorithm = {"ppo": "ppo", "off-policy": "dqn", "sb3": "ppo"}.get(contestant)
    found = {"env": "CartPole-v1", "contestant": contestant, "seed": seed, "algorithm": algorithm, "goal": 476.0}
    ended = "goal" if reached else "cap"
    return {**found, "cap": 240.0, "cpu_seconds": seconds, "reached": reached, "ended": ended, "looks": [[1, 1, 60.0]]}


def test_every_contestant_starts_everywhere_and_a_cut_one_goes_on_with_more_time() -> None:
    plan = list(race.plan(Options()))
    keys = [one.key for one in plan]
    assert len(keys) == len(set(keys)) == len(TASKS) * len(race.CONTESTANTS) * len(race.SEEDS)
    assert not plan[0].goes_on(row("default", 240.0, reached=False))
    longer = next(iter(race.plan(Options(minutes=5.0))))
    assert longer.goes_on(row("default", 240.0, reached=False))
    assert not longer.goes_on(row("default", 9.0))


def test_all_contestants_race_for_the_same_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def run(*arguments: str) -> str:
        given.append(json.loads(arguments[-1]))
        return 'its own words\n{"reached": true, "cpu_seconds": 9.0}\n'

    monkeypatch.setattr(race, "run_python", run)
    plan = race.plan(Options(only=("CartPole-v1",), minutes=1.0))
    found = [one.measure() for one in plan]
    (goal,) = {one["goal"] for one in given}
    assert 475.0 < goal < 477.0  # 22 by chance, 500 published
    assert [one["algorithm"] for one in given] == [None, None, "ppo", "dqn", "ppo"]
    assert [one["framework"] for one in given] == [None, "torch", None, None, None]
    assert [one["is_ours"] for one in given] == [True, True, True, True, False]
    assert {(one["cap"], one["reached"]) for one in found} == {(60.0, True)}


def test_the_table_says_who_was_first_and_how_often_ours_was() -> None:
    rows = [
        *(row("default", seconds, seed=seed) for seed, seconds in enumerate((6.0, 8.0, 7.0))),
        row("torch", 8.5),
        row("ppo", 9.0),
        row("off-policy", 240.0, reached=False),
        row("sb3", 30.0),
    ]
    text = "\n".join(race.render(rows))
    assert (
        "| CartPole-v1 | 3 | 500 | 476.0 | 7.0 | 8.5 | 9.0 (ppo) | not in 240 (dqn, 60.0) | 30.0 (ppo) | default |"
        in text
    )
    assert "on 1 of 1 environments" in text
    nobody = "\n".join(race.render([row(name, 240.0, reached=False) for name in race.CONTESTANTS]))
    assert "| nobody |" in nobody
    assert "on 0 of 0 environments" in nobody


def test_the_off_policy_algorithm_serves_the_actions() -> None:
    import gymnasium as gym

    for task in (task for task in TASKS if not task.env.startswith("Lunar")):
        env = gym.make(task.env)
        assert resolve_algorithm(task.off_policy, env) == task.off_policy
        assert isinstance(env.action_space, gym.spaces.Discrete) == (task.off_policy == "dqn")
        env.close()


def test_a_schedule_of_the_zoo_falls_to_nothing() -> None:
    schedule = _race_runs._scheduled("lin_0.001")
    assert [schedule(left) for left in (1.0, 0.5, 0.0)] == [0.001, 0.0005, 0.0]
    assert _race_runs._scheduled(0.2) == 0.2
