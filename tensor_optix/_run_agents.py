"""The agents of a run of the command line, by the algorithm that a snapshot says."""

import contextlib
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tensor_optix._algorithm_choice import other_algorithm, resolve_algorithm
from tensor_optix._policy_file import read_policy_file
from tensor_optix.algorithms._description import AgentDescription
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.storage.policy_state import POLICY_FILE
from tensor_optix.errors import CheckpointMismatchError, TensorOptixError
from tensor_optix.pipeline.environment.environment import check_agent_fits
from tensor_optix.pipeline.environment.observations import flat_observation_space
from tensor_optix.presets import preset_for

if TYPE_CHECKING:
    from tensor_optix.runs import RunDescription

logger = logging.getLogger(__name__)


class RunAgents:
    """See `AgentsByAlgorithm`; what was set by hand for the run's own algorithm is not meant for the other one.

    An environment, which may take long to make, is made no sooner than its spaces are needed.

    Args:
        run: what the agents are built from.
    """

    def __init__(self, run: "RunDescription") -> None:
        self._run = run

    @property
    def own(self) -> str:
        """The algorithm of the run."""
        return self._own

    @property
    def other(self) -> str | None:
        """The one that is tried in its place; none where that cannot be asked."""
        return self._other

    @functools.cached_property
    def _own(self) -> str:
        if self._run.algorithm != "auto":
            return self._run.algorithm
        with contextlib.closing(self._run.environment()) as env:
            return resolve_algorithm("auto", env)

    @functools.cached_property
    def _other(self) -> str | None:
        try:
            with contextlib.closing(self._run.environment()) as env:
                return other_algorithm(self.own, env)
        except TensorOptixError as error:
            logger.warning("No other algorithm is tried: %s", error)
            return None

    def algorithm_of(self, agent: BaseAgent) -> str:
        """Return the algorithm of an agent."""
        description: object = getattr(agent, "description", None)
        return description.algorithm if isinstance(description, AgentDescription) else self.own

    def recorded(self, folder: Path) -> str:
        """Return the algorithm whose policy a snapshot holds; see `AgentsByAlgorithm`."""
        path = folder / POLICY_FILE
        description = read_policy_file(path).description if path.exists() else None
        return self.own if description is None else description.algorithm

    def build(self, algorithm: str, *, to_learn: bool = False) -> BaseAgent:
        """Build an untrained agent; see `AgentsByAlgorithm`."""
        if algorithm == self.own:
            return self._run.agent()
        if algorithm != self.other:
            raise CheckpointMismatchError(
                f"A policy of {algorithm!r} is none of this run, whose agents are of {self.own!r}"
                f"{f' and {self.other!r}' if self.other else ''}. Load it with load_policy."
            )
        agent = self._run.agent(algorithm=algorithm)
        if to_learn:  # a pipeline would refuse it when it acts already, and the run would end with that
            with contextlib.closing(self._run.environment()) as env:
                check_agent_fits(agent, flat_observation_space(env.observation_space), env.action_space)
        return agent

    def window_size(self, algorithm: str) -> int | None:
        """Return how long windows are best; None where the run's are not those of its preset, but set by hand."""
        if self._run.window_size != preset_for(self._run.env, self.own).window_size:
            return None
        return max(preset_for(self._run.env, algorithm).window_size // self._run.n_envs, 1)
