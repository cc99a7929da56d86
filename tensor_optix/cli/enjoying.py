"""`tensor-optix enjoy`: watch the best policy of a run, or record it where there is no display."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import gymnasium as gym
import numpy as np

from tensor_optix._trained_runs import environment_of_run
from tensor_optix.cli import exit_codes
from tensor_optix.cli.following import resume_command_of
from tensor_optix.core.storage.line_log import CLIP
from tensor_optix.errors import EnvironmentFailedError, InvalidArgumentError, TensorOptixError
from tensor_optix.film import Films, check_films, clip_at, film_at
from tensor_optix.policy import Policy, load_policy
from tensor_optix.support.arguments import check_count, check_seed
from tensor_optix.support.commands import named_run
from tensor_optix.support.terminal import say

HUMAN, PICTURES = "human", "rgb_array"
FRAMES_PER_SECOND = 30.0
"""Where the environment names none."""
NO_WINDOW = "offscreen,dummy"
"""Drivers of SDL that open none, in this order; highway-env draws nothing where `dummy` alone is asked for."""
MOST_STEPS = 10_000
"""Of an episode; one that does not end is left."""


_FOLLOWS = {"report": "See it beside the curves with", "resume": "Train it on with"}


@dataclass(frozen=True)
class Played:
    """An episode that was shown."""

    seed: int
    total_return: float
    steps: int


def enjoy(args: argparse.Namespace) -> int:
    """Show or record some episodes, print their returns, and return the exit code."""
    played: list[Played] = []
    recorded: Path | None = None
    check_count("--episodes", args.episodes, 1)
    check_seed(args.seed)
    shows = args.record is None and has_display(os.environ, sys.platform)
    if not shows:
        check_films(args.record)  # before a framework is loaded, which takes its time
        if sys.platform == "linux":  # where nobody looks, neither MuJoCo nor pygame is to ask for a window
            os.environ.setdefault("MUJOCO_GL", "egl")
            os.environ.setdefault("SDL_VIDEODRIVER", NO_WINDOW)
    name, make = environment_of_run(args.run_dir, args.allow_module)
    env = rendered(name, make, HUMAN if shows else PICTURES)
    try:
        policy = load_policy(args.run_dir, device=args.device)
        if shows:
            _play(args, env, policy, None, played)
        else:
            recorded = _record(args, env, policy, played)
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    finally:
        env.close()
    _tell(args, name, played, recorded)
    return exit_codes.DONE


def _tell(args: argparse.Namespace, name: str, played: Sequence[Played], recorded: Path | None) -> None:
    """Print what can be done next; or all of it as JSON."""
    following = {"report": f"tensor-optix report {named_run(str(args.run_dir))}"}
    if longer := resume_command_of(args.run_dir):
        following["resume"] = longer
    if args.json:
        episodes = [asdict(one) for one in played]
        path = None if recorded is None else str(recorded)
        print(json.dumps({"environment": name, "episodes": episodes, "recorded": path, "next": following}))
        return
    for key, command in following.items():
        say(f"{_FOLLOWS[key]}: {command}")


def has_display(environment: Mapping[str, str], platform: str) -> bool:
    """Return whether a window can be opened.

    Args:
        environment: variables of the process.
        platform: as `sys.platform` has it.
    """
    if environment.get("SDL_VIDEODRIVER") == "dummy":
        return False
    return platform != "linux" or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def rendered(name: str, make: Callable[..., gym.Env], mode: str) -> gym.Env:
    """Return an environment that renders.

    Args:
        name: of the environment, for messages.
        make: makes it; takes further arguments.
        mode: how it is to render.

    Raises:
        InvalidArgumentError: it has no pictures, or does not take `render_mode`.
    """
    plain = make()
    modes = list(plain.metadata.get("render_modes", ()))
    plain.close()
    if mode not in modes and not (mode == HUMAN and PICTURES in modes):
        raise InvalidArgumentError(
            f"{name} has no pictures to show: its render_modes are {modes}, and {mode!r} is not among them."
        )
    try:
        return make(render_mode=mode)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"{name} names {mode!r} among its render_modes, but cannot be made with it: let it take render_mode=None. "
            f"({error})"
        ) from error


def _record(args: argparse.Namespace, env: gym.Env, policy: Policy, played: list[Played]) -> Path:
    fps = float(env.metadata.get("render_fps") or FRAMES_PER_SECOND)
    clip = args.run_dir / CLIP
    wanted = None if args.record is None or _is_same(args.record, clip) else args.record
    films = Films([clip_at(clip, fps), *([] if wanted is None else [film_at(wanted, fps)])])
    _play(args, env, policy, films, played)
    recorded: Path = args.record or clip
    say(f"Recorded in {recorded}", file=_out(args))
    if films.are_blank:
        say(
            f"{type(env.unwrapped).__name__} has drawn nothing: all pictures are of one colour.{_why_blank()}",
            file=_out(args),
        )
    return recorded


def _why_blank() -> str:
    driver = os.environ.get("SDL_VIDEODRIVER")
    return f" Some environments do so where SDL_VIDEODRIVER is {driver}: unset it." if driver == "dummy" else ""


def _out(args: argparse.Namespace) -> TextIO:
    """Return where what is on the way is said."""
    return sys.stderr if args.json else sys.stdout


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _play(args: argparse.Namespace, env: gym.Env, policy: Policy, films: Films | None, played: list[Played]) -> None:
    try:
        for number in range(args.episodes):
            total, steps = 0.0, 0
            for reward in episode(env, policy, args.seed + number, films):
                total, steps = total + reward, steps + 1
            played.append(Played(args.seed + number, total, steps))
            say(f"Episode {number + 1}: return {total:.6g}, {steps} steps", file=_out(args), flush=True)
    finally:
        if films is not None:
            films.finish()


def episode(env: gym.Env, policy: Policy, seed: int, films: Films | None) -> Iterator[float]:
    """Play an episode, and yield the rewards.

    Args:
        env: one that renders.
        policy: who acts, greedily.
        seed: of the episode.
        films: take its pictures; None where the environment shows itself.
    """
    observation, info = env.reset(seed=seed)
    policy.begin_episode()
    for _ in range(MOST_STEPS):
        if films is not None:
            films.add(picture(env))
        action = policy.predict(observation, action_mask=info.get("action_mask"))
        observation, reward, terminated, truncated, info = env.step(action)
        yield float(reward)
        if terminated or truncated:
            break
    if films is not None:
        films.add(picture(env))


def picture(env: gym.Env) -> np.ndarray:
    """Return what an environment looks like, (H, W, 3) uint8.

    Raises:
        EnvironmentFailedError: it cannot draw itself, or gives something else.
    """
    name = type(env.unwrapped).__name__
    try:
        drawn: object = env.render()
    except TensorOptixError:
        raise
    except gym.error.DependencyNotInstalled as error:
        raise EnvironmentFailedError(f"{name} cannot be drawn here: {error}") from error
    except Exception as error:
        raise EnvironmentFailedError(
            f"{name} cannot be drawn here: {error} ({type(error).__name__}). Without a display, MuJoCo needs "
            f"MUJOCO_GL=egl or MUJOCO_GL=osmesa."
        ) from error
    frame = np.asarray(drawn)
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise EnvironmentFailedError(
            f"{name}.render() must return a picture (height, width, 3) of uint8 in the mode {PICTURES!r}, but returned "
            f"{type(drawn).__name__} of shape {frame.shape} and {frame.dtype}."
        )
    return frame
