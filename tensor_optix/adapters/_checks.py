"""Does a model fit the spaces, and a window the model? Asked before anything is learned from it."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tensor_optix.core.types import Space
from tensor_optix.errors import BadDataError, ContractError, ModelShapeError, SpaceError
from tensor_optix.support.bounds import WIDE, are_wide, has_bounds

logger = logging.getLogger(__name__)

_DICT_MODELS = "TorchDictModel or TFDictModel(env.observation_space, model)"


class NoTensorError(ContractError):
    """A model returned something else than one tensor.

    Args:
        output: what it returned.
        tensor: what it must return, in the framework's words.
    """

    def __init__(self, output: object, tensor: str) -> None:
        self.fault = (
            f"must return one {tensor}, but returned {_kinds(output)}. Return the tensor alone, or hand over a model "
            f"that picks it: its forward pass returns model(x)[0], or model(x)['logits']."
        )
        super().__init__(f"A model {self.fault}")


def cut_off(model: object) -> str:
    """Return what is wrong with a model to whose weights no gradient goes."""
    return (
        f"{type(model).__name__} cannot be trained: what it returns is cut off from its weights. Leave out detach(), "
        f"torch.no_grad(), tf.stop_gradient and numpy in its forward pass, or freeze it."
    )


def _kinds(output: object) -> str:
    """Return the type of a model's output, and of what is in it."""
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} of {', '.join(f'{key!r}: {type(value).__name__}' for key, value in output.items())}"
    if isinstance(output, tuple | list):
        return f"a {kind} of {', '.join(type(value).__name__ for value in output)}"
    return kind


def check_output(
    name: str,
    predict: Callable[[np.ndarray], np.ndarray],
    observation_space: Space,
    expected: tuple[int, ...],
    action_space: object,
) -> None:
    """Raise `ModelShapeError`, naming both shapes, unless the model gives rows of shape `expected`."""
    shape = getattr(observation_space, "shape", None)
    if shape is None:
        raise SpaceError(
            f"Observations must be one array of numbers, but the space is {observation_space}. Make them one: "
            f"gymnasium.wrappers.TransformObservation(env, function, space)."
        )
    observations = np.zeros((2, *shape), observation_space.dtype)
    try:
        output = predict(observations)
    except NoTensorError as error:
        raise ModelShapeError(f"The {name} {error.fault}") from None
    except Exception as error:
        asks = isinstance(error, LookupError | TypeError) and not isinstance(error, ContractError)
        raise ModelShapeError(
            f"The {name} cannot take observations of shape {observations.shape}: {str(error).removesuffix('.')}. "
            f"Its input must fit the environment's observation space {observation_space}."
            + (f" If it takes the members of a Dict or Tuple space, wrap it: {_DICT_MODELS}." if asks else "")
        ) from error
    if output.shape != (2, *expected):
        raise ModelShapeError(
            f"The {name} returns shape {output.shape} for observations of shape {observations.shape}, but "
            f"{(2, *expected)} is needed for the action space {action_space}."
        )


def check_pair_output(name: str, predict: Callable[[np.ndarray], np.ndarray], size: int, words: str) -> None:
    """Raise `ModelShapeError` unless a critic takes [observation ‖ action] (B, size) and returns (B, 1)."""
    try:
        output = predict(np.zeros((2, size), np.float32))
    except NoTensorError as error:
        raise ModelShapeError(f"The {name} {error.fault}") from None
    except Exception as error:
        raise ModelShapeError(
            f"The {name} cannot take [observation ‖ action] of {words} = {size} numbers: {error}. Its input must be "
            f"the observation and the action, joined."
        ) from error
    if output.shape != (2, 1):
        raise ModelShapeError(f"The {name} returns shape {output.shape} for 2 pairs, but (2, 1) is needed.")


BOUNDS_REMEDY = (
    "Give it the bounds that matter: gymnasium.wrappers.TransformAction(env, lambda action: action, "
    "Box(low, high, shape))"
)
_ALL_MATTERS = "where all of it matters, gymnasium.wrappers.RescaleAction(env, -1, 1)"


def check_box(algorithm: str, action_dim: int, action_space: Space) -> None:
    """Raise `SpaceError` unless actions are a `Box` of `action_dim` floats with finite bounds."""
    is_box = hasattr(action_space, "low") and np.issubdtype(action_space.dtype, np.floating)
    if not is_box or math.prod(action_space.shape) != action_dim:
        raise SpaceError(
            f"A {algorithm} agent of action_dim={action_dim} serves a Box of {action_dim} floats, but the action space "
            f"is {action_space}. Use PPO or DQN for discrete actions."
        )
    refuse_missing_bounds(action_space)


def refuse_missing_bounds(action_space: Space) -> None:
    """Raise `SpaceError` unless a `Box` of actions has bounds that tell a scale, onto which [-1, 1] can be mapped."""
    if not has_bounds(action_space):
        raise SpaceError(
            f"SAC acts in [-1, 1], which is mapped onto finite bounds, but the action space is {action_space}: beyond "
            f"[-1, 1] it would try nothing. {BOUNDS_REMEDY}; or use PPO."
        )
    if are_wide(action_space):
        raise SpaceError(
            f"SAC acts in [-1, 1], which is mapped onto the bounds, but the action space is {action_space}, more than "
            f"{WIDE:,.0f} wide: nearly all that it would try is huge. {BOUNDS_REMEDY}; or, {_ALL_MATTERS}."
        )


def warn_of_missing_bounds(action_space: Space) -> bool:
    """Log a warning where no bounds of a `Box` of actions tell a scale, and return whether there are none."""
    if not hasattr(action_space, "low"):
        return False
    if not has_bounds(action_space):
        logger.warning(
            "The action space is %s: without finite bounds actions are not scaled. A fresh policy draws them around 0 "
            "with a deviation of about 1, and what is beyond a bound is clipped to it. %s.",
            action_space,
            BOUNDS_REMEDY,
        )
        return True
    if is_wide := are_wide(action_space):
        logger.warning(
            "The action space is %s, more than %s wide: actions in [-1, 1] are mapped onto all of it, so nearly all "
            "that is tried is huge. %s; or, %s.",
            action_space,
            f"{WIDE:,.0f}",
            BOUNDS_REMEDY,
            _ALL_MATTERS,
        )
    return is_wide


def refuse_non_finite_window(window: Mapping[str, np.ndarray], window_id: int) -> None:
    """Raise `BadDataError` naming the first array of a window that holds a NaN or an infinity."""
    for name, array in window.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise BadDataError(
                f"The {name} of window {window_id} are not all finite. Look for NaN or infinite rewards, observations "
                f"or actions in the environment; the weights are as they were."
            )


def check_actions(
    actions: np.ndarray, length: int, *, n: int | np.ndarray | None = None, size: int | None = None
) -> None:
    """Raise `BadDataError` unless the actions of a window are what the policy draws.

    Args:
        actions: (T,) integers below `n`, or (T, size) numbers, integers below `n` (size,) where that is given.
        length: T.
        n: number of discrete actions, one for each column of the actions.
        size: number of action dimensions.
    """
    expected = (length,) if size is None else (length, size)
    if actions.shape != expected:
        raise BadDataError(f"The window's actions must have shape {expected}, but have {actions.shape}.")
    if n is None:
        return
    if not np.issubdtype(actions.dtype, np.integer) or actions.min() < 0 or (actions.max(0) >= n).any():
        raise BadDataError(
            f"The window's actions must be integers in [0, {n}), but they have dtype {actions.dtype} and lie in "
            f"[{actions.min()}, {actions.max()}]."
        )


def check_action_masks(masks: np.ndarray, length: int, nvec: Sequence[int]) -> None:
    """Raise `BadDataError`, naming the first row, unless each row allows at least one action of each choice.

    Args:
        masks: (B, Σ nvec) bool, True where an action is allowed.
        length: B.
        nvec: number of actions of each choice.
    """
    expected = (length, sum(nvec))
    if masks.shape != expected:
        raise BadDataError(f"Action masks must have shape {expected}, but have {masks.shape}.")
    start = 0
    for choice, n in enumerate(nvec):
        allowed = np.logical_or.reduce(masks[:, start : start + n], axis=-1)
        if not np.logical_and.reduce(allowed):
            of_choice = f" of choice {choice}" if len(nvec) > 1 else ""
            raise BadDataError(
                f"Row {int(allowed.argmin())} of the action masks allows no action{of_choice}. Correct the "
                f"environment's info['action_mask']: at least one entry must be 1 until the episode ends."
            )
        start += n
