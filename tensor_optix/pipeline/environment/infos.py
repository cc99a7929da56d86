"""What infos say: a vector's taken apart, and action masks found in them."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from tensor_optix.core.base_agent import ActsMasked, BaseAgent, takes_masks
from tensor_optix.core.types import Action, Info
from tensor_optix.errors import BadDataError
from tensor_optix.support.trees import copied

logger = logging.getLogger(__name__)

MASK = "action_mask"
"""The name of the actions that are allowed."""


def infos_by_environment(infos: Mapping[str, object], n_envs: int) -> dict[int, dict[str, object]]:
    """Return each environment's info of a step: that of the step itself where the vector has reset it meanwhile."""
    if not infos:
        return {}
    found = {}
    for i in range(n_envs):
        info = _info_of(infos, i)
        if "final_obs" in info:
            info = info.get("final_info", {})
        if info:
            found[i] = copied(info)
    return found


def _info_of(infos: Info, i: int) -> dict[str, object]:
    """Return the info of environment i: the vector's are arrays by name, with a mask `_name` beside each."""
    return {
        name: _info_of(values, i) if isinstance(values, Mapping) else values[i]
        for name, values in infos.items()
        if f"_{name}" in infos and infos[f"_{name}"][i]
    }


def mask_in(info: Mapping[str, object]) -> np.ndarray | None:
    """Return the action mask (n,) bool in an environment's info, None where it has none."""
    mask = info.get(MASK)
    if mask is None:
        return None
    mask = np.array(mask, bool)
    if mask.ndim != 1:
        raise BadDataError(f"info['{MASK}'] must be one flag per action, but has shape {mask.shape}.")
    return mask


def masks_in(infos: Info, n_envs: int) -> np.ndarray | None:
    """Return the action masks (N, n) bool in a vector's infos, None where it has none."""
    if MASK not in infos:
        return None
    present = infos.get(f"_{MASK}", np.ones(n_envs, bool))
    masks = [mask_in({MASK: infos[MASK][i]}) if present[i] else None for i in range(n_envs)]
    return filled_masks(masks)


def filled_masks(masks: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return masks as one array (B, n), with everything allowed where there is none; None where there are none."""
    known = next((mask for mask in masks if mask is not None), None)
    if known is None:
        return None
    if all(mask is not None for mask in masks):
        return np.array(masks)
    everything = np.ones_like(known)
    return np.array([everything if mask is None else mask for mask in masks])


class MaskedActing:
    """Asks an agent for actions where some are not allowed.

    Args:
        warns: say so once where the agent cannot take masks.
    """

    def __init__(self, warns: bool = True) -> None:
        self._warns = warns
        self._agent: BaseAgent | None = None
        """Who acted last; what it can is looked up once."""
        self._masked: ActsMasked | None = None

    def __call__(
        self, agent: BaseAgent, observations: object, masks: np.ndarray, *, deterministic: bool = False
    ) -> Action:
        """Return one action per row of `observations` (B, ...), allowed by `masks` (B, n) if the agent can."""
        if agent is not self._agent:
            self._look_at(agent)
        if self._masked is not None:
            return self._masked.act_masked(observations, masks, deterministic=deterministic)
        if self._warns:
            self._warns = False
            logger.warning(
                "The environment says which actions are allowed (info['%s']), but %s has no act_masked(observations, "
                "action_masks): the masks are ignored.",
                MASK,
                type(agent).__name__,
            )
        return agent.act_batch(observations, deterministic=deterministic)

    def _look_at(self, agent: BaseAgent) -> None:
        self._agent, self._masked = agent, agent if takes_masks(agent) else None
