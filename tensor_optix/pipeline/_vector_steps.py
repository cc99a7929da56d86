"""Steps of N environments that are stepped together: what came is checked, collected, and reset where it must be."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tensor_optix.core.types import Action, EpisodeData, Info, Memory, Observation
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline._rollout import VectorRolloutBuilder, ends_of
from tensor_optix.pipeline.environment.acting import EpisodeActing
from tensor_optix.pipeline.environment.autoreset import Finals
from tensor_optix.pipeline.environment.bad_steps import BadSteps, StepCheck, VectorStep, VectorStepCheck
from tensor_optix.pipeline.environment.episodes import BAD_RESETS, FAILED_RESETS, EpisodeTrace
from tensor_optix.pipeline.environment.failed_episodes import FailedEpisodes
from tensor_optix.pipeline.environment.infos import infos_by_environment
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.pipeline.environment.vector_lifetime import VectorLifetime
from tensor_optix.support.arrays import decoded, encoded
from tensor_optix.support.plain import SavedState
from tensor_optix.support.trees import mapped

_NO_FINALS = Finals({}, {}, {}, {})


class VectorSteps:
    """The episodes in progress of N environments, and the window that is being collected from them.

    Args:
        vector: the environments.
        form: turns observations into what the agent sees.
        leave_episode: called with the number of an environment whose episode is left without a step in the window.
        acting: told which episodes begin.
    """

    def __init__(
        self,
        vector: VectorLifetime,
        form: ObservationForm,
        leave_episode: Callable[[int], None],
        acting: EpisodeActing,
    ) -> None:
        n_envs = vector.env.num_envs
        self._vector, self._leave_episode, self._n_envs = vector, leave_episode, n_envs
        self._acting = acting
        self._check, self._check_final = VectorStepCheck(form, n_envs), StepCheck(form)
        self._has_look, self._check_each = form.has_look, StepCheck(form, copies=False)
        self._builder = VectorRolloutBuilder(n_envs, vector.autoreset.spends_steps_on_resets)
        self._bad, self._failed = BadSteps(n_envs), FailedEpisodes(n_envs)
        self.trace = EpisodeTrace(n_envs)
        self.observations: Observation = None
        """(N, ...) what is acted on next; None before the first reset."""
        self.masks: np.ndarray | None = None
        """(N, n) bool, what is allowed there; None = everything."""
        self._acted: list[Action] = []
        self._ended: list[list[int]] = []
        """(N, ...) actions of the window's steps, and whose episodes ended there, for the trace."""

    @property
    def is_acting(self) -> np.ndarray:
        """(N,) bool: whether the next step takes this environment's action; where not, it resets it."""
        return self._builder.is_acting

    def missing(self, size: int) -> int:
        """Return how many more steps it takes at least until every environment has `size` in the window."""
        return self._builder.missing(size)

    def state(self) -> dict[str, object]:
        """Return, between two windows, what the next one goes on from, as JSON values.

        Where observations or actions cannot be saved, `observations` are None, and it goes on with new episodes.
        """
        state = {
            "trace": self.trace.state() if self._vector.has_own_episodes else None,
            "bad_in_a_row": self._bad.state(),
            "failed_in_a_row": self._failed.state(),
            "has_begun": self.observations is not None,
            "masks": None if self.masks is None else encoded(self.masks),
            "acting": self._acting.state(),
        }
        try:
            observations = None if self.observations is None else encoded(self.observations)
            return {**state, "builder": self._builder.state(), "observations": observations}
        except (TypeError, BadDataError):  # of no numbers and no text, or an info of such things
            return {**state, "builder": None, "observations": None}

    def restore(self, state: SavedState) -> None:
        """Go on from `state`; the environments and the trace have been brought back."""
        self.observations = decoded(state["observations"])
        self.masks = None if state["masks"] is None else decoded(state["masks"])
        self._builder.restore(state["builder"])
        self._bad.restore(state["bad_in_a_row"])
        self._failed.restore(state.get("failed_in_a_row"))
        self._acting.restore(state.get("acting"))

    def reset(self, **arguments: object) -> None:
        """Begin new episodes in all environments.

        Raises:
            EnvironmentFailedError: an environment raised, or its process died.
            BadStepsError: too many resets in a row were bad.
        """
        self._acting.begin()
        self.observations, self.masks = self._reset(**arguments)

    def step(self, actions: Action, taken: object, memories: list[Memory] | None = None) -> None:
        """Take one step in all environments and add it to the window.

        Args:
            actions: (N, ...) of the agent.
            taken: the same as the environments take them.
            memories: (N,) what the agent remembered before it chose them; None where it hands no memory out.

        Raises:
            EnvironmentFailedError: an environment raised, or its process died.
            BadStepsError: too many steps in a row were bad.
        """
        observations, masks, autoreset = self.observations, self.masks, self._vector.autoreset
        assert observations is not None  # noqa: S101 - for the type checker; the caller has reset
        step, infos, ended, (finals, final_masks, unusable, failed), resets = self._stepped(taken)
        if self._vector.has_own_episodes:
            self._acted.append(actions)
            self._ended.append(ended)
        bad = {**step.bad, **unusable} if unusable else step.bad
        self._bad.clear(but=(*bad, *failed))
        if ended:
            self._failed.clear(i for i in ended if i not in bad and i not in failed)
        invalid = self._leave_episodes(bad, failed) if bad or failed else None
        self._note_resets(resets)
        following, next_masks = step.observations, step.masks
        to_reset = [*step.bad, *(ended if autoreset.leaves_resets_to_caller else ())]
        if to_reset:
            following, next_masks = self._reset_some(self._are_among(to_reset), next_masks)
        flags, was_acting = (step.terminated, step.truncated), self._builder.is_acting
        self._builder.add(
            observations, actions, step.rewards, *flags, infos, finals, masks, final_masks, invalid, memories
        )
        if autoreset.spends_steps_on_resets or invalid is not None:
            begun = (self._are_among(ended) & self._builder.is_acting) | ~was_acting
            ended = np.flatnonzero(begun if invalid is None else begun | invalid).tolist()
        if ended:
            self._acting.begin(ended)
        self.observations, self.masks = following, next_masks

    def _stepped(self, taken: object) -> "_Stepped":
        each = self._vector.step_each(taken, self._check_each) if self._has_look else None
        if each is not None:
            step = self._check.each(*each[:5], has_nothing=each.has_nothing)
            return _Stepped(step, each.infos, each.ended, each.finals, each.resets)
        step = self._check.step(self._vector.step(taken))
        infos = infos_by_environment(step.infos, self._n_envs)
        ended = ends_of(step.terminated, step.truncated)
        finals = self._vector.autoreset.finals(step, infos, ended, self._check_final) if ended else _NO_FINALS
        return _Stepped(step, infos, ended, finals, _told_of_resets(step.infos))

    def window(self, window_id: int, size: int) -> EpisodeData:
        """Return the first `size` steps of each environment; the others begin the next window."""
        assert self.observations is not None  # noqa: S101 - for the type checker; steps have been taken
        window = self._builder.build(window_id, self.observations, size, self.masks)
        if self._acted:
            acted = mapped(lambda *arrays: np.stack(arrays, axis=1), *self._acted)
            ends = np.zeros((self._n_envs, len(self._ended)), bool)
            for step, ended in enumerate(self._ended):
                if ended:
                    ends[ended, step] = True
            self.trace.add(acted, ends)
            self._acted, self._ended = [], []
        return replace(window, metadata={**self._bad.metadata(), **self._failed.metadata()})

    def _leave_episodes(self, bad: Mapping[int, str], failed: Mapping[int, str]) -> np.ndarray:
        """Leave the episodes in progress of environments that took a bad step, or failed; return (N,) where they are.

        Args:
            bad: what is wrong with the step, by environment.
            failed: how it failed, by environment.
        """
        for i, reason in bad.items():
            self._bad.fault(reason, i)
        for i, failure in failed.items():
            self._failed.fault(failure, i)
        invalid = np.ones(self._n_envs, bool)
        if self._vector.autoreset.resets_some:
            invalid[[i for i in range(self._n_envs) if i not in bad and i not in failed]] = False
        for i in np.flatnonzero(invalid).tolist():
            if not self._builder.has_steps_of(i):  # no step of the window tells that it has ended
                self._leave_episode(i)
        return invalid

    def _reset_some(self, which: np.ndarray, masks: np.ndarray | None) -> tuple[Observation, np.ndarray | None]:
        """Reset the environments of `which` (N,), or all where that cannot be; the others keep their masks."""
        if not self._vector.autoreset.resets_some:
            return self._reset()
        observations, found = self._reset(options={"reset_mask": which})
        if masks is None:
            return observations, found
        masks[which] = True if found is None else found[which]
        return observations, masks

    def _reset(self, **arguments: object) -> tuple[Observation, np.ndarray | None]:
        begun = self._check.reset(self._vector.reset(**arguments))
        self._note_resets(_told_of_resets(begun.infos))
        for i, reason in begun.bad.items():
            self._bad.fault(reason, i)
        if begun.bad:
            return self._reset_some(self._are_among(begun.bad), begun.masks)
        return begun.observations, begun.masks

    def _are_among(self, which: Iterable[int]) -> np.ndarray:
        """Return (N,) bool: the environments of `which`."""
        found = np.zeros(self._n_envs, bool)
        found[list(which)] = True
        return found

    def _note_resets(self, resets: Mapping[int, Info]) -> None:
        """Count the resets that environments made here have tried again by themselves, by environment."""
        for i, told in resets.items():
            for name, counter in ((BAD_RESETS, self._bad), (FAILED_RESETS, self._failed)):
                if name in told:
                    self.trace.begin_next(i, len(told[name]))
                    for reason in told[name]:
                        counter.fault(reason, i)


class _Stepped(NamedTuple):
    """What one step of all environments gave."""

    step: VectorStep
    infos: Mapping[int, Info]
    """By environment, where they say anything."""
    ended: list[int]
    """The environments whose episodes ended."""
    finals: Finals
    resets: Mapping[int, Info]
    """What the environments' own resets tell, by environment."""


def _told_of_resets(infos: Info) -> dict[int, dict[str, object]]:
    """Return what a vector's infos tell of resets that were tried again, by environment."""
    found: dict[int, dict[str, object]] = {}
    for name in (BAD_RESETS, FAILED_RESETS):
        for i in np.flatnonzero(infos[f"_{name}"]).tolist() if name in infos else ():
            found.setdefault(i, {})[name] = infos[name][i]
    return found
