"""Each snapshot goes into an agent of its algorithm, of those that are there or a new one."""

import gc
import weakref
from pathlib import Path

from tensor_optix.core.agents_by_algorithm import FittingAgents
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EvalMetrics
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


class OneOther:
    """Knows one agent of another algorithm, which the first snapshot is of."""

    def __init__(self, registry: CheckpointRegistry, first: NumpyAgent) -> None:
        self.acting: BaseAgent = first
        self.first, self.other = first, NumpyAgent()
        registry.agents = self  # type: ignore[assignment] - what the registry asks of it

    def fitting(self, folder: Path, agent: BaseAgent) -> BaseAgent:
        return self.other if folder.name.endswith("0") else self.first

    def install(self, agent: BaseAgent) -> None:
        self.acting = agent


def test_a_registry_loads_a_snapshot_into_the_agent_of_its_algorithm_which_acts_then(tmp_path: Path) -> None:
    registry, agent = CheckpointRegistry(tmp_path), NumpyAgent()
    registry.open()
    snapshots = []
    for agent.weight in (1.0, 2.0):
        snapshots.append(registry.save(agent, EvalMetrics(agent.weight)))
    agents = OneOther(registry, agent)
    agent.weight = 3.0
    assert [registry.fits(one, agent) for one in snapshots] == [False, True]
    registry.load(snapshots[0], agent)
    assert agents.acting is agents.other
    assert (agents.other.weight, agent.weight) == (1.0, 3.0)
    with registry.loaded(snapshots[0], agent):
        assert agents.acting is agents.other
    assert agents.acting is agent
    assert agent.weight == 3.0
    registry.load(snapshots[1], agent)
    assert (agents.acting, agent.weight) == (agent, 2.0)
    registry.close()
