"""The names under which a turn is shown."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.callbacks.trackers.scalars import check_names, fit, scalars
from tensor_optix.callbacks.trackers.turns import RunFollower, Turn
from tensor_optix.errors import InvalidArgumentError
from tests.fakes.tracked_runs import add_turns, begin


@pytest.fixture
def turn(tmp_path: Path) -> Turn:
    add_turns(begin(tmp_path), 0, 2)
    return RunFollower(tmp_path).read()[1]


def learned(turn: Turn, **diagnostics: Any) -> Turn:
    return replace(turn, window={**turn.window, "diagnostics": diagnostics})


def test_the_names_are_those_of_stable_baselines3(turn: Turn) -> None:
    found = scalars(turn)
    assert {
        "rollout/ep_rew_mean": 1.5,
        "rollout/ep_len_mean": 9.0,
        "train/approx_kl": 0.01,
        "train/entropy_loss": -0.5,  # theirs is what is minimised
        "train/learning_rate": 0.001,
        "train/own thing": 1.0,
        "eval/mean_reward": 1.0,
        "eval/std_err": 0.5,
        "time/fps": 100.0,
        "time/total_timesteps": 200.0,
        "time/time_elapsed": 2.0,
        "time/iterations": 2.0,
        "hp/learning_rate": 0.001,
        "hp_requested/learning_rate": 0.002,
        "loop/state": 0.0,
        "loop/best_score": 1.0,
    }.items() <= found.items()


def test_or_those_of_cleanrl(turn: Turn) -> None:
    found = scalars(learned(turn, entropy=0.5, clip_fraction=0.1, critic_loss=2.0, mean_q=3.0), "cleanrl")
    assert {
        "charts/episodic_return": 1.5,
        "charts/episodic_length": 9.0,
        "charts/SPS": 100.0,
        "charts/learning_rate": 0.001,
        "losses/entropy": 0.5,
        "losses/clipfrac": 0.1,
        "losses/qf_loss": 2.0,
        "losses/q_values": 3.0,
        "eval/episodic_return": 1.0,
        "hp/learning_rate": 0.001,
    }.items() <= found.items()
    assert not any(name.startswith(("rollout/ep_", "train/")) for name in found)


def test_what_learning_tells_under_either_name_is_explained_variance(turn: Turn) -> None:
    for name in ("explained_var", "explained_variance"):
        assert scalars(learned(turn, **{name: 0.7}))["train/explained_variance"] == 0.7


def test_what_happened_is_counted(turn: Turn) -> None:
    counts = {
        "fault": 2,
        "watch/drift": 1,
        "variant/new best": 3,
        "spawn": 4,
        "test/crowned": 5,
        "state": 9,
        "start": 1,
    }
    found = scalars(replace(turn, counts=counts))
    assert {name: value for name, value in found.items() if name.startswith(("watch/", "evolution/"))} == {
        "watch/drift": 1.0,
        "evolution/variants_new_best": 3.0,
        "evolution/spawns": 4.0,
    }
    assert (found["loop/faults"], found["loop/tests_won"]) == (2.0, 5.0)


def test_what_is_no_finite_number_is_left_out(turn: Turn) -> None:
    found = scalars(learned(turn, a=float("nan"), b=float("inf"), c="text", d=None, e=True))
    assert not {f"train/{name}" for name in "abcde"} & found.keys()
    assert "rollout/ep_rew_mean" not in scalars(replace(turn, window={**turn.window, "mean_return": None}))


def test_a_window_that_was_not_evaluated_says_nothing_of_it(turn: Turn) -> None:
    assert not [name for name in scalars(replace(turn, evaluation=None)) if name.startswith(("eval/", "hp"))]


def test_names_are_such_as_every_tracker_takes() -> None:
    assert fit("train/<script>é\x1b[0m" + "x" * 300) == "train/_script___[0m".replace("[", "_") + "x" * 181


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="names must be one of 'sb3', 'cleanrl', but got 'x'"):
        check_names("x")
