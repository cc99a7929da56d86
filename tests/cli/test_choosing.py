"""The algorithm that nobody has given: by spaces, by what goes with it, and by time; and the threads."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tensor_optix.cli import choosing
from tensor_optix.cli.choosing import choose_algorithm, with_learning_beside
from tensor_optix.cli.config import merged
from tensor_optix.cli.describing import described
from tensor_optix.cli.flags import Given
from tensor_optix.core.decisions.quickest import StepCost
from tensor_optix.errors import HyperparamError
from tensor_optix.factory import set_threads
from tensor_optix.multirun.update_threads import MeasuredThreads
from tensor_optix.runs import RunDescription


class Reaching(gym.Env):
    """Actions of some numbers, observations of four."""

    observation_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    def __init__(self, numbers: int = 1) -> None:
        self.action_space = spaces.Box(-1.0, 1.0, (numbers,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(4, np.float32), 0.0, True, False, {}


@pytest.fixture(autouse=True)
def registered() -> Any:
    gym.register("Reaching-v0", entry_point=lambda **kwargs: Reaching(**kwargs))
    yield
    del gym.registry["Reaching-v0"]


class Measured:
    """What measurements come to, and how many there were."""

    seconds = 1e-4
    processor_seconds = 1e-4
    speed = 4.5e10
    count = 0

    def step_cost(self, *args: Any, **kwargs: Any) -> StepCost:
        self.count += 1
        return StepCost(seconds=self.seconds, processor_seconds=self.processor_seconds)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    made = Measured()
    monkeypatch.setattr(choosing, "step_cost", made.step_cost)
    monkeypatch.setattr(choosing, "step_cost_in", made.step_cost)
    monkeypatch.setattr(choosing, "multiplications_per_second", lambda: made.speed)
    return made


def chosen(*more: Given, env: str = "Reaching-v0", device: str = "cpu", folder: Path | None = None) -> tuple[str, str]:
    layers: list[Given] = [{"env": env}, *more]
    given = merged(layers)
    made = gym.make(env, **given.get("env_kwargs", {}))
    return choose_algorithm(layers, given, made, device=device, folder=folder)


def test_a_cheap_step_is_for_ppo_and_it_is_said(measured: Measured) -> None:
    algorithm, said = chosen()
    assert algorithm == "ppo"
    assert said.startswith("Training with ppo: 5 steps of ppo with their updates take 0.")
    assert said.endswith("--algo ppo does the same without measuring.")


def test_a_dear_step_and_one_that_waits_are_for_sac(measured: Measured) -> None:
    measured.seconds = measured.processor_seconds = 1e-3
    assert chosen()[0] == "sac"
    measured.seconds, measured.processor_seconds = 20e-3, 1e-4
    algorithm, said = chosen()
    assert algorithm == "sac"
    assert "a step takes 20 ms and computes for 0.1 ms" in said


def test_cheap_updates_of_sac_are_for_sac(measured: Measured) -> None:
    measured.speed = 4.5e12  # a hundred times as fast
    assert chosen()[0] == "sac"
    measured.speed = 4.5e10
    assert chosen({"net_arch": [16, 16]})[0] == "sac"
    assert chosen({"sac": {"updates_per_step": 0.1}, "ppo": {}})[0] == "sac"


@pytest.mark.parametrize(
    ("more", "how", "algorithm"),
    [
        ({"algorithm": "sac"}, {}, "sac"),
        ({"algorithm": "recurrent_ppo"}, {}, "recurrent_ppo"),
        ({"env_kwargs": {"numbers": 4}}, {}, "sac"),
        ({}, {"device": "cuda"}, "sac"),
        ({"isolate": True}, {}, "sac"),
        ({"async_envs": True, "n_envs": 2}, {}, "sac"),
        ({}, {"env": "Pendulum-v1"}, "sac"),
        ({}, {"env": "MountainCarContinuous-v0"}, "sac"),
        ({}, {"env": "CartPole-v1"}, "ppo"),
        ({}, {"env": "CliffWalking-v1"}, "dqn"),
        ({"hyperparams": {"updates_per_step": 0.5}}, {}, "sac"),
        ({"hyperparams": {"clip_ratio": 0.1}}, {}, "ppo"),
        ({"sac": {"gamma": 0.9}}, {}, "sac"),
        ({"ppo": {"gamma": 0.9}}, {}, "ppo"),
        ({"hyperparams": {"nothing": 1}}, {}, "sac"),
    ],
    ids=str,
)
def test_what_else_decides_costs_no_measurement(
    more: Given, how: dict[str, Any], algorithm: str, measured: Measured
) -> None:
    assert chosen(more, **how) == (algorithm, "")
    assert measured.count == 0


@pytest.mark.parametrize(("env", "algorithm"), [("Walker2d-v5", "ppo"), ("Ant-v5", "sac")])
def test_more_numbers_in_an_action_are_for_time_to_decide_where_ppo_is_known(
    env: str, algorithm: str, measured: Measured
) -> None:
    assert chosen(env=env)[0] == algorithm
    assert measured.count == (algorithm == "ppo")


def test_a_section_for_each_and_hyperparameters_of_both_leave_it_to_time(measured: Measured) -> None:
    assert chosen({"sac": {"gamma": 0.9}, "ppo": {"gamma": 0.9}}, {"hyperparams": {"learning_rate": "lin_1e-3"}})[1]
    assert measured.count == 1
    with pytest.raises(HyperparamError, match="n_epochs"):
        chosen({"ppo": {"n_epochs": -1}, "sac": {}})


def test_a_folder_keeps_what_was_measured_for_it(measured: Measured, tmp_path: Path) -> None:
    run, _, said, *_ = described({"env": "Reaching-v0", "framework": "torch"}, {}, {}, tmp_path)
    assert (run.algorithm, bool(said), measured.count) == ("ppo", True, 1)
    (tmp_path / "seed-0").mkdir()
    run.write(tmp_path / "seed-0")
    measured.seconds = measured.processor_seconds = 1.0
    for folder in (tmp_path, tmp_path / "seed-0"):
        algorithm, said = chosen(folder=folder)
        assert algorithm == "ppo"
        assert said == f"Training with ppo, as in {str(folder)!r}; --algo auto measures again."
    assert measured.count == 1
    assert chosen({"algorithm": "auto"}, folder=tmp_path)[0] == "sac"
    assert chosen({"env_kwargs": {"numbers": 2}}, folder=tmp_path)[0] == "sac"  # another environment
    assert measured.count == 3


def test_a_folder_that_cannot_be_read_is_measured_for(measured: Measured, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert chosen(folder=tmp_path)[0] == "ppo"
    assert chosen(folder=tmp_path / "none")[0] == "ppo"
    assert measured.count == 2


def test_spaces_alone_decide_where_nothing_is_to_be_measured(measured: Measured) -> None:
    run, _, said, *_ = described({"env": "Reaching-v0", "framework": "torch"}, {}, {}, measures=False)
    assert (run.algorithm, said, measured.count) == ("sac", [], 0)


def test_a_real_measurement_of_a_cheap_step_chooses_ppo() -> None:
    assert chosen({"net_arch": [2048, 2048]})[0] == "ppo"


def test_threads_are_measured_where_that_is_asked_for_and_kept_in_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, int]] = []

    def measured_threads(run: RunDescription, workers: int) -> MeasuredThreads:
        asked.append((run.algorithm, workers))
        return MeasuredThreads(threads=2, free=2, seconds={1: 0.2, 2: 0.1})

    monkeypatch.setattr(choosing, "measured_threads", measured_threads)
    given: Given = {"env": "CartPole-v1", "framework": "torch", "net_arch": [4], "threads": "auto"}
    try:
        run, _, said, *_ = described(given, {}, {}, tmp_path, workers=3)
        assert (run.threads, asked, torch.get_num_threads()) == (2, [("ppo", 3)], 2)
        assert said == [
            "Updating with 2 threads (milliseconds of an update: 1 200, 2 100); --threads 2 does the same without "
            "measuring."
        ]
        run.write(tmp_path)
        run, _, said, *_ = described(given, {}, {}, tmp_path)
        assert (run.threads, len(asked)) == (2, 1)
        assert said == [f"Updating with --threads 2, as in {str(tmp_path)!r}; --threads N sets others."]
        assert described(given, {"threads": 1}, {}, tmp_path)[0].threads == 1
    finally:
        set_threads("torch", 1)


def beside(
    measured: Measured, *, free: int = 2, folder: Path | None = None, **changes: Any
) -> tuple[RunDescription, str]:
    given: Given = {"env": "Reaching-v0", "algorithm": "sac", "framework": "torch", "seed": 0, **changes}
    run = RunDescription(**{"device": "cpu", **{k: v for k, v in given.items() if (k, v) != ("learn_beside", "auto")}})
    return with_learning_beside(run, given, folder, free)


def test_updates_are_beside_collecting_where_both_take_long_and_it_is_said(measured: Measured) -> None:
    measured.seconds = 5e-3
    run, said = beside(measured)
    assert (run.learn_beside, measured.count) == ("on", 1)
    assert said.startswith("Updating beside collecting (milliseconds: a step 5, its updates 6.")
    measured.seconds = 1e-5
    run, said = beside(measured, learn_beside="auto")
    assert run.learn_beside == "off"
    assert "--learn-beside off does the same" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"learn_beside": "on"},
        {"learn_beside": "off"},
        {"algorithm": "ppo"},
        {"env": "Pendulum-v1"},
        {"device": "cuda"},
        {"free": 1},
        {"threads": 2},
    ],
    ids=str,
)
def test_nothing_is_measured_where_it_is_said_or_cannot_gain(measured: Measured, changes: dict[str, Any]) -> None:
    measured.seconds = 5e-3
    run, said = beside(measured, **changes)
    assert (run.learn_beside, said, measured.count) == (changes.get("learn_beside", "off"), "", 0)


def test_a_folder_keeps_whether_updates_are_beside_collecting(measured: Measured, tmp_path: Path) -> None:
    measured.seconds = 5e-3
    beside(measured)[0].write(tmp_path)
    measured.seconds = 1e-5
    run, said = beside(measured, folder=tmp_path)
    assert (run.learn_beside, measured.count) == ("on", 1)
    assert said == f"Training with --learn-beside on, as in {str(tmp_path)!r}."


def test_the_cost_of_dqn_counts_its_actions(measured: Measured) -> None:
    measured.seconds = 1e-3
    run, said = beside(measured, env="CliffWalking-v1", algorithm="dqn")
    assert "a step 1, its updates 0." in said
    assert run.algorithm == "dqn"
