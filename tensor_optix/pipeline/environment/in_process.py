"""A vector of environments in this process. Its steps come as lists: nothing is put together and taken apart again."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate

from tensor_optix.core.types import Action, Info, Observation
from tensor_optix.pipeline.environment.autoreset import Finals
from tensor_optix.pipeline.environment.bad_steps import Step, StepCheck
from tensor_optix.pipeline.environment.episodes import BAD_STEP, FAILED_STEP
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tensor_optix.support.trees import copied


class EachStep(NamedTuple):
    """One step of each of N environments; where it ended an episode, the next one has begun."""

    observations: list[Observation]
    """(N,) what each is at: where its step led to, or where its next episode starts; None for nothing."""
    masks: list[np.ndarray | None] | None
    """(N,) what is allowed there; None where no environment says."""
    rewards: list[float]
    terminated: list[bool]
    truncated: list[bool]
    infos: dict[int, Info]
    """Of the steps, by environment, where they say anything."""
    ended: list[int]
    """The environments whose episodes ended."""
    finals: Finals
    resets: dict[int, Info]
    """Infos of the resets after them, likewise."""
    has_nothing: bool
    """Whether there is nothing among the observations."""


_NO_FINALS = Finals({}, {}, {}, {})


class InProcessVectorEnv(SyncVectorEnv):
    """Steps N environments one after the other; resets one in the step that ends its episode (`SAME_STEP`).

    Args:
        env_fns: make a `SeededEpisodes` each.
    """

    def __init__(self, env_fns: Iterable[Callable[[], SeededEpisodes]]) -> None:
        super().__init__(list(env_fns), autoreset_mode=AutoresetMode.SAME_STEP)
        self._seeded = cast(list[SeededEpisodes], self.envs)

    def step_each(self, actions: Action, check: StepCheck) -> EachStep:
        """Take a step in each environment.

        Args:
            actions: (N, ...) as `step` takes them.
            check: accepts what an environment returns; it need not copy observations.
        """
        observations, masks, rewards, terminated, truncated, infos, ended = [], [], [], [], [], {}, []
        finals, resets, has_nothing, has_masks, looked_at = _NO_FINALS, {}, False, False, check.looked_at
        rows = actions if type(actions) is np.ndarray else iterate(self.action_space, actions)
        for i, (env, action) in enumerate(zip(self._seeded, rows, strict=True)):
            try:  # as `env.taken`, without calling it
                returned = env.env.step(action)
            except Exception as error:
                step = env.failed(action, error)
            else:
                step = looked_at(returned) or env.checked(returned, check)
            observation, reward, is_terminated, is_truncated, info, mask = step
            rewards.append(reward)
            terminated.append(is_terminated)
            truncated.append(is_truncated)
            if info:
                infos[i] = info
            if is_terminated or is_truncated:
                finals = finals if ended else Finals({}, {}, {}, {})
                ended.append(i)
                _note_end(i, step, finals)
                observation, _, _, _, info, mask = env.begun(check)
                if info:
                    resets[i] = info
                has_nothing = has_nothing or observation is None
            observations.append(observation)
            masks.append(mask)
            if mask is not None:
                has_masks = True
        allowed = masks if has_masks else None
        return EachStep(
            observations, allowed, rewards, terminated, truncated, infos, ended, finals, resets, has_nothing
        )


def _note_end(i: int, step: Step, finals: Finals) -> None:
    if step.observation is not None:
        finals.observations[i], finals.masks[i] = copied(step.observation), step.mask  # the reset may fill it anew
    elif BAD_STEP in step.info:
        finals.bad[i] = step.info[BAD_STEP]
    else:
        finals.failed[i] = step.info[FAILED_STEP]
