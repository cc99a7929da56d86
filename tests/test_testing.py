"""The public checks of an agent's contract: each finds the fault that it is for, and says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ContractError
from tensor_optix.testing import (
    AGENT_CHECKS,
    check_acting_leaves_no_trace,
    check_acts,
    check_agent,
    check_hyperparams_round_trip,
    check_learn_keeps_names,
    check_learns,
    check_save_and_load,
    check_training_state,
)
from tests.fakes.agents import RememberingAgent
from tests.fakes.environments import Structured
from tests.helpers import NumpyAgent

ENV = "CartPole-v1"


@pytest.mark.parametrize("agent", [NumpyAgent(), RememberingAgent()], ids=["six methods", "training state"])
@pytest.mark.parametrize("check", AGENT_CHECKS, ids=lambda check: check.__name__)
def test_an_agent_that_keeps_its_contract_passes(check: Callable[..., None], agent: BaseAgent) -> None:
    check(agent, ENV)


def test_an_environment_need_not_be_registered() -> None:
    check_agent(NumpyAgent(), Structured())


@pytest.mark.parametrize("agent", [object(), NumpyAgent])
def test_what_is_no_agent_is_told_to_derive_from_one(agent: Any) -> None:
    with pytest.raises(ContractError, match=r"must derive from tensor_optix\.BaseAgent"):
        check_agent(agent, ENV)


class OneForAll(NumpyAgent):
    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return np.zeros(1, np.int64) if deterministic else super().act_batch(observations)


class GreedyInOneOnly(NumpyAgent):
    def act(self, observation: Any, *, deterministic: bool = False) -> int:
        return 0

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return np.ones(len(observations), np.int64)


class LearnsWhileActing(NumpyAgent):
    def act(self, observation: Any) -> int:
        self.weight += 1.0
        return super().act(observation)


class DecaysWhileActing(NumpyAgent):
    def act(self, observation: Any) -> int:
        self.params = {"learning_rate": self.params["learning_rate"] * 0.99}
        return super().act(observation)


class Silent(NumpyAgent):
    def learn(self, episode_data: EpisodeData) -> Any:
        return None


class Numbered(NumpyAgent):
    def learn(self, episode_data: EpisodeData) -> Any:
        return {0: 1.0}


class Inventive(NumpyAgent):
    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.params["entropy"] = 0.1
        return {}


class Rounding(NumpyAgent):
    default_param_bounds = {"learning_rate": (0.123, 0.456)}  # type: ignore[assignment]

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        self.params = {name: round(value, 1) for name, value in hp.params.items()}


class Exposed(NumpyAgent):
    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet(self.params)


class Plain(NumpyAgent):
    def get_hyperparams(self) -> Any:
        return dict(self.params)


class SavesNothing(NumpyAgent):
    def save_weights(self, path: str) -> None: ...


class LoadsNothing(NumpyAgent):
    def load_weights(self, path: str) -> None: ...


class LoadsHalf(NumpyAgent):
    """Acts by more than it saves."""

    bias = 0

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        return np.full(len(observations), self.bias % 2)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.bias += 1
        return super().learn(episode_data)


class LoadsNames(NumpyAgent):
    def load_weights(self, path: str) -> None:
        super().load_weights(path)
        self.params["version"] = 2


class Forgetful(NumpyAgent):
    """Saves a training state without its momentum."""

    momentum = 0.0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.momentum += 1.0
        self.weight += self.momentum
        return {}

    def save_training_state(self, path: str) -> None:
        self.save_weights(path)

    def load_training_state(self, path: str) -> None:
        self.load_weights(path)


@pytest.mark.parametrize(
    ("agent", "check", "message"),
    [
        (OneForAll, check_acts, "act_batch gave 1 actions for 5 observations; give one per row"),
        (GreedyInOneOnly, check_acts, "must give the action that act_batch"),
        (LearnsWhileActing, check_acting_leaves_no_trace, "act changed the weights; learning belongs in learn"),
        (DecaysWhileActing, check_acting_leaves_no_trace, "act changed the hyper-parameters"),
        (Silent, check_learns, "learn must return a dict with string keys, but returned None"),
        (Numbered, check_learns, "learn must return a dict with string keys"),
        (Inventive, check_learn_keeps_names, r"changed the names of the hyper-parameters: \['entropy'\]"),
        (Rounding, check_hyperparams_round_trip, r"0\.123.*reads back as .*0\.1"),
        (Exposed, check_hyperparams_round_trip, "get_hyperparams must return a copy"),
        (Plain, check_hyperparams_round_trip, "get_hyperparams must return a HyperparamSet"),
        (SavesNothing, check_save_and_load, "wrote no file at its path"),
        (LoadsNothing, check_save_and_load, "load_weights does not bring back"),
        (LoadsHalf, check_save_and_load, "A loaded policy acts differently"),
        (LoadsNames, check_save_and_load, "load_weights changed the hyper-parameters"),
        (Forgetful, check_training_state, "Learning after load_training_state differs"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_fault_is_found_by_the_check_that_is_for_it(
    agent: type[NumpyAgent], check: Callable[..., None], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        check(agent(), ENV)
    with pytest.raises(ContractError):
        check_agent(agent(), ENV)


def test_a_check_leaves_the_values_of_the_agent_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    agent = NumpyAgent(learning_rate=0.25)
    check_agent(agent, ENV)
    assert agent.params == {"learning_rate": 0.25}
    assert not list(tmp_path.iterdir())
