"""The values in force: read back, saved and restored."""

import json
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.hyperparams import effective_params, hyperparams_state, read_back, restore_hyperparams
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import HyperparamError
from tests.helpers import NumpyAgent


class Reporting(NumpyAgent):
    """Tells the learning rate that its optimizer works with, in single precision."""

    def effective_hyperparams(self) -> dict[str, float]:
        return {"learning_rate": float(np.float32(self.params["learning_rate"]))}


class Ignoring(NumpyAgent):
    """Puts no value in force."""

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        pass


class Counting(NumpyAgent):
    """Counts how often its hyper-parameters are set."""

    times = 0

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        super().set_hyperparams(hp)
        self.times += 1


def test_without_a_report_the_values_in_force_are_those_that_the_agent_returns() -> None:
    assert effective_params(NumpyAgent(0.25)) == {"learning_rate": 0.25}


def test_what_the_optimizer_works_with_comes_before_what_the_agent_returns() -> None:
    assert effective_params(Reporting(0.1)) == {"learning_rate": float(np.float32(0.1))}
    assert read_back(Reporting(0.1), {"learning_rate": 0.1}) == {"learning_rate": float(np.float32(0.1))}


def test_nothing_requested_is_nothing_read() -> None:
    assert read_back(NumpyAgent(), {}) == {}


def test_a_value_that_is_not_in_force_is_an_error_that_names_it_and_the_remedy() -> None:
    agent = Ignoring(0.1)
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.2}))
    with pytest.raises(HyperparamError, match=r"'learning_rate' was set to 0\.2, but Ignoring works with 0\.1"):
        read_back(agent, {"learning_rate": 0.2})
    with pytest.raises(HyperparamError, match="works with None"):
        read_back(agent, {"gamma": 0.9})


class Keeping(NumpyAgent):
    """Keeps what it was given whole."""

    since = 0

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet(dict(self.params), self.since)

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        super().set_hyperparams(hp)
        self.since = hp.episode_id


@pytest.mark.parametrize(("saved", "times"), [(0.5, 1), (0.1, 0)])
def test_restoring_sets_only_what_has_changed(saved: float, times: int) -> None:
    agent = Counting(0.1)
    agent.params["note"] = "mine"
    restore_hyperparams(agent, {"params": {"learning_rate": saved}, "episode_id": 0})
    assert (agent.times, agent.params) == (times, {"learning_rate": saved, "note": "mine"})


def test_the_saved_values_are_json_and_restore_the_same_again() -> None:
    agent: Any = NumpyAgent(0.3)
    agent.params["batch_size"] = np.int64(64)
    state = json.loads(json.dumps(hyperparams_state(agent)))
    other = Counting(0.3)
    other.params["batch_size"] = 64
    restore_hyperparams(other, state)
    assert other.times == 0


def test_the_window_from_which_values_hold_is_restored_too() -> None:
    agent, other = Keeping(0.3), Keeping(0.3)
    agent.set_hyperparams(HyperparamSet(agent.params, 7))
    restore_hyperparams(other, json.loads(json.dumps(hyperparams_state(agent))))
    assert other.get_hyperparams() == HyperparamSet(agent.params, 7)
