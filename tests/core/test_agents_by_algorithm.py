"""Each snapshot goes into an agent of its algorithm, of those that are there or a new one."""

import gc
import weakref
from pathlib import Path

from tensor_optix.core.agents_by_algorithm import FittingAgents
from tensor_optix.core.base_agent import BaseAgent
from tests.helpers import FlatAgent, Momentum, NumpyAgent


class ByClass:
    own, other = "NumpyAgent", "Momentum"

    def algorithm_of(self, agent: BaseAgent) -> str:
        return type(agent).__name__

    def recorded(self, folder: Path) -> str:
        return folder.name

    def build(self, algorithm: str, *, to_learn: bool = False) -> BaseAgent:
        return {"Momentum": Momentum, "NumpyAgent": NumpyAgent}[algorithm]()

    def window_size(self, algorithm: str) -> int | None:
        return None


class Rig:
    """Agents of which the first one acts; `install` lets another one act."""

    def __init__(self) -> None:
        self.first = self.acting = NumpyAgent()
        self.agents = FittingAgents(ByClass(), self.first, lambda: self.acting, self.act)

    def act(self, agent: BaseAgent) -> None:
        self.acting = agent

    def loaded(self, name: str, agent: BaseAgent) -> BaseAgent:
        """Return the agent that a snapshot of an algorithm went into, which acts then."""
        fitting = self.agents.fitting(Path(name), agent)
        self.agents.install(fitting)
        return fitting


def test_where_none_fits_one_is_built_once() -> None:
    rig = Rig()
    built = rig.loaded("Momentum", rig.first)
    assert type(built) is Momentum is type(rig.acting)
    assert rig.loaded("NumpyAgent", built) is rig.first is rig.acting
    assert rig.loaded("Momentum", rig.first) is built is rig.acting


def test_an_agent_that_is_there_is_preferred_to_a_new_one() -> None:
    rig = Rig()
    learner = rig.acting = Momentum()
    assert rig.loaded("Momentum", rig.first) is learner
    assert rig.loaded("NumpyAgent", learner) is rig.first is rig.acting
    assert rig.loaded("Momentum", learner) is learner is rig.acting


def test_the_agent_of_somebody_else_gets_what_it_asks_for_and_does_not_act() -> None:
    rig, copy = Rig(), FlatAgent()
    assert rig.loaded("Momentum", copy) is copy
    assert rig.acting is rig.first


def test_a_learner_that_gave_its_place_back_is_not_kept_alive() -> None:
    rig = Rig()
    rig.acting = Momentum()
    learner = weakref.ref(rig.acting)
    rig.loaded("NumpyAgent", rig.acting)
    gc.collect()
    assert learner() is None
