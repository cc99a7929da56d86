"""When a vector resets its environments: one object per autoreset mode answers all that depends on it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from tensor_optix.core.types import Info
from tensor_optix.errors import BadDataError, InvalidArgumentError
from tensor_optix.pipeline.environment.atari import AtariGames
from tensor_optix.pipeline.environment.bad_steps import StepCheck, VectorStep
from tensor_optix.pipeline.environment.episodes import BAD_STEP, FAILED_STEP
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.support.trees import taken


class Finals(NamedTuple):
    """What ended episodes ended with, by environment, where the next step does not show it."""

    observations: dict[int, object]
    masks: dict[int, np.ndarray | None]
    bad: dict[int, str]
    """What is wrong with a final observation."""
    failed: dict[int, str]
    """How an environment failed in the step."""


class Autoreset(ABC):
    """What a pipeline does about resets.

    Args:
        env: the vector.
    """

    spends_steps_on_resets: ClassVar[bool] = False
    """The step after an episode's end takes no action: it resets that environment."""
    leaves_resets_to_caller: ClassVar[bool] = False
    """An environment whose episode ended waits for a `reset`."""

    def __init__(self, env: VectorEnv) -> None:
        self.resets_some = self.leaves_resets_to_caller or isinstance(
            env.unwrapped, AsyncVectorEnv | SyncVectorEnv | WorkerVectorEnv | AtariGames
        )
        """Whether some environments can be reset without the others."""

    @abstractmethod
    def finals(
        self, step: VectorStep, infos: Mapping[int, Mapping[str, object]], ended: Iterable[int], check: StepCheck
    ) -> Finals:
        """Return what the episodes of the environments `ended` ended with; `infos` are the step's by environment."""


class NextStepReset(Autoreset):
    """The step that ends an episode returns its final observation, and the next step resets."""

    spends_steps_on_resets = True

    def finals(
        self, step: VectorStep, infos: Mapping[int, Mapping[str, object]], ended: Iterable[int], check: StepCheck
    ) -> Finals:
        """Return nothing: the next step is added with the final observations."""
        return Finals({}, {}, {}, {})


class CallerReset(Autoreset):
    """The step that ends an episode returns its final observation, and the caller resets."""

    leaves_resets_to_caller = True

    def finals(
        self, step: VectorStep, infos: Mapping[int, Mapping[str, object]], ended: Iterable[int], check: StepCheck
    ) -> Finals:
        """Return what the step itself gave."""
        masks = step.masks
        return Finals(
            {i: taken(step.observations, i) for i in ended},
            {i: None if masks is None else masks[i].copy() for i in ended},
            {},
            {},
        )


class SameStepReset(Autoreset):
    """The step that ends an episode resets, too, and its infos hold the final observation."""

    def finals(self, step: VectorStep, infos: Mapping[int, Info], ended: Iterable[int], check: StepCheck) -> Finals:
        """Return what the infos hold, once it is checked."""
        finals = Finals({}, {}, {}, {})
        for i in ended:
            info = infos.get(i, {})
            if FAILED_STEP in info:  # it was made anew, and has begun a new episode by itself
                finals.failed[i] = info[FAILED_STEP]
                continue
            try:
                if BAD_STEP in info:  # an environment that was made here has begun a new episode by itself
                    raise BadDataError(info[BAD_STEP])
                final = check.reset((step.infos["final_obs"][i], info))
            except BadDataError as error:
                finals.bad[i] = str(error)
            else:
                finals.observations[i], finals.masks[i] = final.observation, final.mask
        return finals


_BY_MODE: Mapping[AutoresetMode, type[Autoreset]] = {
    AutoresetMode.NEXT_STEP: NextStepReset,
    AutoresetMode.SAME_STEP: SameStepReset,
    AutoresetMode.DISABLED: CallerReset,
}


def autoreset_of(env: VectorEnv) -> Autoreset:
    """Return what suits a vector's declared mode.

    Raises:
        InvalidArgumentError: it declares none.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise InvalidArgumentError(
            f"{env} must declare metadata['autoreset_mode'] as a gymnasium.vector.AutoresetMode, but has {mode!r}: "
            f"without it a step cannot be told from a reset."
        )
    return _BY_MODE[mode](env)
