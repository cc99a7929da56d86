"""The agents of an evolving run by name, so that a resumed run finds each of them again."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.hyperparams import hyperparams_state, restore_hyperparams
from tensor_optix.errors import CheckpointMismatchError

FIRST = "first"


class Population:
    """Names for the agent that learned first, the members that the user added, and the variants that a factory made.

    Args:
        first: who learned first.
        factory: builds the variants.
    """

    def __init__(self, first: BaseAgent, factory: Callable[[], BaseAgent] | None) -> None:
        self._factory = factory
        self._agents: dict[str, BaseAgent] = {FIRST: first}
        self.n_made = 0
        """How often the factory was called."""

    def admit(self, agents: Iterable[BaseAgent]) -> None:
        """Name the members that were there from the beginning, in the order of joining."""
        for index, agent in enumerate(agents):
            if all(agent is not known for known in self._agents.values()):
                self._agents[f"member{index}"] = agent

    def make(self) -> BaseAgent:
        """Let the factory build a variant."""
        assert self._factory is not None  # noqa: S101 - for the type checker; the caller has looked
        self.n_made += 1
        agent = self._factory()
        self._agents[f"variant{self.n_made}"] = agent
        return agent

    def keep_only(self, agents: Iterable[BaseAgent]) -> None:
        """Forget the variants that are none of `agents`: nobody needs them any more."""
        kept = {id(agent) for agent in agents}
        self._agents = {
            name: agent for name, agent in self._agents.items() if id(agent) in kept or not name.startswith("variant")
        }

    def name_of(self, agent: BaseAgent) -> str:
        """Return the name of an agent of the run."""
        return next(name for name, known in self._agents.items() if known is agent)

    def __getitem__(self, name: str) -> BaseAgent:
        if name not in self._agents:
            raise CheckpointMismatchError(
                f"The saved run has an agent {name!r} that this one has not. Resume it with the agent_factory and the "
                f"members that it was begun with."
            )
        return self._agents[name]

    def hyperparams(self) -> dict[str, dict[str, object]]:
        """Return those of each agent by its name, as plain JSON values."""
        return {name: hyperparams_state(agent) for name, agent in self._agents.items()}

    def save(self, folder: Path, but: BaseAgent) -> None:
        """Write the training state of each agent but one to a file in `folder`."""
        for name, agent in self._agents.items():
            if agent is not but:
                agent.save_training_state(str(folder / name))

    def remake(self, n_made: int, names: Iterable[str]) -> None:
        """Call the factory as often as it was called before the interruption, and keep the variants named."""
        if n_made and self._factory is None:
            raise CheckpointMismatchError(
                f"The saved run has made {n_made} variants: resume it with its agent_factory."
            )
        names = list(names)
        while self.n_made < n_made:
            try:
                self.make()
            except Exception:
                if f"variant{self.n_made}" in names:  # else it failed before the interruption, too
                    raise
        self.keep_only([self[name] for name in names])

    def load(self, folder: Path, hyperparams: Mapping[str, Mapping[str, object]], but: BaseAgent) -> None:
        """Read what `save` wrote, and go on with what `hyperparams` returned."""
        for name, saved in hyperparams.items():
            if self[name] is not but:
                self[name].load_training_state(str(folder / name))
                restore_hyperparams(self[name], saved)
