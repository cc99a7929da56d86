"""Asks an agent for actions in episodes that are played side by side, and keeps what it remembers of each."""

import logging
from collections.abc import Sequence

import numpy as np

from tensor_optix.core.agent_memory import (
    act_remembering,
    acting_agent,
    hands_out_memory,
    is_ours,
    is_told_of_episodes,
    watching_memory,
)
from tensor_optix.core.base_agent import BaseAgent, BeginsEpisodes
from tensor_optix.core.types import Action, Memory, Observation
from tensor_optix.errors import ContractError
from tensor_optix.pipeline.environment.infos import MaskedActing
from tensor_optix.pipeline.environment.wiring import Wiring
from tensor_optix.support.arguments import is_whole
from tensor_optix.support.heartbeat import HEARTBEAT
from tensor_optix.support.nested import packed, unpacked
from tensor_optix.support.plain import SavedState
from tensor_optix.support.preserving import ABSENT
from tensor_optix.support.trees import copied, n_rows, without_gradients

logger = logging.getLogger(__name__)

_LOOKS = 2
"""The first time, attributes are made."""


class EpisodeActing:
    """Acts in N episodes side by side; an agent that remembers is told where one begins.

    Args:
        n_episodes: N.
        wiring: between the agent and its environments; None where nothing is known of them.
        warns: say once where the agent cannot take masks.
    """

    def __init__(self, n_episodes: int = 1, *, wiring: Wiring | None = None, warns: bool = True) -> None:
        self._wiring = Wiring(None, None) if wiring is None else wiring
        self._masked = MaskedActing(warns)
        self._agent: BaseAgent | None = None
        """Who acted last."""
        self._hands_out = self._is_told = False
        self._is_own = True
        """Whether the user wrote who acts: it may change what it is given, and a window holds what it saw."""
        self._kept: list[Memory] = [None] * n_episodes
        """What the agent remembers of each episode."""
        self._is_new = [True] * n_episodes
        """Whether an episode begins with its next action."""
        self._has_warned = False
        self._looks = _LOOKS if warns and n_episodes > 1 else 0
        """How often acting is still looked at for a memory that is not declared."""

    def install(self, agent: BaseAgent) -> None:
        """Let an agent act from now on; another one than before remembers nothing of the episodes in progress.

        Raises:
            ContractError: it keeps one memory, and N is larger.
        """
        if agent is self._agent:
            return
        if self._agent is not None and acting_agent(self._agent) is not acting_agent(agent):
            self.begin()
        self._agent = agent
        self._hands_out, self._is_told = hands_out_memory(agent), is_told_of_episodes(agent)
        self._is_own = not is_ours(acting_agent(agent))
        if self._is_told and len(self._kept) > 1:
            raise ContractError(
                f"{type(acting_agent(agent)).__name__} has begin_episode and keeps one memory, but acts in "
                f"{len(self._kept)} episodes side by side. Give it an attribute episode_memory that can be read and "
                f"set, or act_recurrent (see ActsRecurrently), or step one environment (BatchPipeline)."
            )

    def one(
        self, agent: BaseAgent, observation: Observation, mask: np.ndarray | None = None, *, deterministic: bool = False
    ) -> Action:
        """Return the action for one observation, of the only episode, allowed by `mask` (n,) if the agent can."""
        HEARTBEAT.beats += 1
        if agent is not self._agent:
            self.install(agent)
        if self._hands_out or mask is not None or deterministic:
            masks = None if mask is None else mask[None]
            is_array = type(observation) is np.ndarray
            alone = observation[None] if is_array else self._wiring.stacked_observations([observation])
            actions = self.rows(agent, alone, masks, deterministic=deterministic)
            return actions[0] if type(actions) is np.ndarray else self._wiring.listed_actions(actions)[0]
        if self._is_told:
            self._tell(agent)
        return without_gradients(agent.act(copied(observation) if self._is_own else observation))

    def rows(
        self,
        agent: BaseAgent,
        observations: Observation,
        masks: np.ndarray | None = None,
        *,
        deterministic: bool = False,
        which: Sequence[int] | None = None,
    ) -> Action:
        """Return one action per row of `observations` (B, ...), allowed by `masks` (B, n) if the agent can.

        Args:
            agent: who acts.
            observations: (B, ...).
            masks: (B, n) bool; None = everything is allowed.
            deterministic: act greedily.
            which: (B,) numbers of the rows' episodes; None = all, in their order.
        """
        HEARTBEAT.beats += 1
        self.install(agent)
        if self._is_own:
            observations = copied(observations)
        if self._hands_out:
            rows = range(len(self._kept)) if which is None else which
            actions, after = act_remembering(
                agent, observations, [self._kept[i] for i in rows], action_masks=masks, deterministic=deterministic
            )
            for i, memory in zip(rows, after, strict=True):
                self._kept[i], self._is_new[i] = memory, False
            return actions
        if self._is_told:
            self._tell(agent)
        if self._looks and not self._is_told:
            return self._looking(agent, observations, masks, deterministic)
        return self._batch(agent, observations, masks, deterministic)

    def _batch(
        self, agent: BaseAgent, observations: Observation, masks: np.ndarray | None, deterministic: bool
    ) -> Action:
        if masks is None:
            return without_gradients(agent.act_batch(observations, deterministic=deterministic))
        return without_gradients(self._masked(agent, observations, masks, deterministic=deterministic))

    def _looking(
        self, agent: BaseAgent, observations: Observation, masks: np.ndarray | None, deterministic: bool
    ) -> Action:
        """Act, and say once where that leaves something in an agent that declares no memory."""
        self._looks -= 1
        with watching_memory(agent) as watched:
            actions = self._batch(agent, observations, masks, deterministic)
        changed = [name for name, change in watched.changes.items() if not _is_harmless(*change, n_rows(observations))]
        if changed:
            self._looks = 0
            logger.warning(
                "%s acts in %d episodes side by side, and acting changes its %s. If that is what it remembers of an "
                "episode, they all share it. Declare a memory: act_recurrent, or begin_episode with an attribute "
                "episode_memory (see ActsRecurrently, BeginsEpisodes); or step one environment (BatchPipeline).",
                type(acting_agent(agent)).__name__,
                len(self._kept),
                ", ".join(map(repr, sorted(changed)[:5])),
            )
        return actions

    def begin(self, which: Sequence[int] | None = None) -> None:
        """Let episodes begin with their next action; None = all."""
        for i in range(len(self._kept)) if which is None else which:
            self._kept[i], self._is_new[i] = None, True

    @property
    def is_single(self) -> bool:
        """Whether N is 1."""
        return len(self._kept) == 1

    @property
    def memories(self) -> list[Memory] | None:
        """(N,) what the agent remembers of each episode, None where one begins; None if it hands no memory out."""
        return list(self._kept) if self._hands_out else None

    def state(self) -> dict[str, object] | None:
        """Return what is remembered, as JSON values; None where the agent declares no memory."""
        if not (self._hands_out or self._is_told):
            return None
        try:
            return {"memories": packed(self._kept), "is_new": list(self._is_new)}
        except TypeError as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "What %s remembers of an episode is not saved with the run, and a resumed run goes on without it: "
                    "%s",
                    type(acting_agent(self._agent)).__name__ if self._agent is not None else "the agent",
                    error,
                )
            return None

    def restore(self, state: SavedState | None) -> None:
        """Go on from `state`; without one, all episodes begin."""
        self.begin()
        if state is not None:
            self._kept, self._is_new = unpacked(state["memories"]), [bool(new) for new in state["is_new"]]

    def _tell(self, agent: BaseAgent) -> None:
        told = acting_agent(agent)
        if self._is_new[0] and isinstance(told, BeginsEpisodes):
            self._is_new[0] = False
            told.begin_episode()


def _is_harmless(before: object, now: object, rows: int) -> bool:
    """Return whether a value was only made, or has counted the calls, or the rows."""
    return before is ABSENT or (is_whole(before) and is_whole(now) and 0 < now - before <= rows)
