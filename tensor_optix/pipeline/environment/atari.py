"""Atari games with their usual preprocessing: one by one, and many together in threads of ale-py's own."""

import re
from collections.abc import Callable, Mapping, Sequence

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from tensor_optix.core.types import Action, Observation
from tensor_optix.pipeline.environment.episodes import episode_seed
from tensor_optix.pipeline.environment.own_code import EnvKwargs
from tensor_optix.support.packages import version_of

FRAMES = 4
"""Frames that an action is repeated for, and frames in an observation."""
GAMES_FROM = (0, 12)
"""Version of ale-py."""


def is_atari(env: str) -> bool:
    """Return True for the id of an Atari game."""
    return env.startswith("ALE/")


def made_atari(env: str, env_kwargs: EnvKwargs) -> gym.Env:
    """Return an Atari game with the usual preprocessing: grey frames of 84 x 84, every fourth, four of them stacked.

    An episode begins with up to 30 steps of no action, and an observation without frames before its first, which are
    zero. Rewards are as the game gives them, an episode ends with the last life, and an action is repeated by the
    game's own chance.

    Source: Revisiting the Arcade Learning Environment (Machado et al., 2018).
    """
    game = gym.make(env, **{"frameskip": 1, **env_kwargs})
    return FrameStackObservation(AtariPreprocessing(game, frame_skip=FRAMES), FRAMES, padding_type="zero")


def has_games() -> bool:
    """Return whether the installed ale-py can step many games together and reset some of them, each with its seed."""
    found = re.match(r"(\d+)\.(\d+)", version_of("ale-py") or "")
    return found is not None and (int(found[1]), int(found[2])) >= GAMES_FROM


class AtariGames(VectorEnv):
    """Steps N games of one kind together, in threads; resets one in the step that ends its episode (`SAME_STEP`).

    Frame for frame the same as N of `made_atari`, whatever ale-py's own defaults are. Each episode has a seed of its
    own, so that the one in progress can be replayed; only which chances a seed stands for differs from a single game.

    Args:
        env: id of the game.
        num_envs: N.
        env_fns: make a single game of the same kind each, for whoever needs one.
        threads: that step them; 0 = one for each core, N at most.
        noop_max: steps of no action that an episode begins with at most.
    """

    def __init__(
        self,
        env: str,
        num_envs: int,
        env_fns: Sequence[Callable[[], gym.Env]] = (),
        *,
        threads: int = 0,
        noop_max: int = 30,
    ) -> None:
        from ale_py.vector_env import AtariVectorEnv

        spec = gym.spec(env)
        named = {name: value for name, value in spec.kwargs.items() if name not in ("game", "frameskip")}
        self._games = AtariVectorEnv(
            spec.kwargs["game"],
            num_envs,
            num_threads=threads,
            autoreset_mode=AutoresetMode.SAME_STEP,
            frameskip=FRAMES,
            stack_num=FRAMES,
            maxpool=True,
            noop_max=noop_max,
            episodic_life=False,
            reward_clipping=False,
            use_fire_reset=False,
            **named,
        )
        self.env_fns, self.num_envs, self.spec = tuple(env_fns), num_envs, None
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.observation_space, self.action_space = self._games.observation_space, self._games.action_space
        self.single_observation_space = self._games.single_observation_space
        self.single_action_space = self._games.single_action_space
        self._roots: list[int] | None = None
        self._numbers = [0] * num_envs
        """Of the episodes in progress, counted from 0 since the last seed."""

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, object] | None = None
    ) -> tuple[np.ndarray, dict[str, object]]:
        """Begin the next episode of each game, or of those in `options["reset_mask"]`; a seed makes it the first."""
        which = np.ones(self.num_envs, bool) if options is None else np.asarray(options["reset_mask"], bool)
        if seed is not None:
            listed = range(int(seed), int(seed) + self.num_envs) if isinstance(seed, int | np.integer) else seed
            self._roots, self._numbers = [int(one or 0) for one in listed], [-1] * self.num_envs
        observations, infos = self._begin_next(which)
        return observations, _told(infos, np.ones(self.num_envs, bool))

    def _begin_next(self, which: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        seeds, begun = None, np.flatnonzero(which).tolist()
        for i in begun:
            self._numbers[i] += 1
        if self._roots is not None:
            seeds = np.array([episode_seed(self._roots[i], self._numbers[i]) for i in begun])
        return self._games.reset(seed=seeds, options={"reset_mask": which})

    def step(self, actions: Action) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, object]]:
        """Take a step in each game."""
        found = self._games.step(np.asarray(actions, np.int64))
        observations, rewards, terminated, truncated, infos = found
        ended = terminated | truncated
        if not ended.any():
            return observations, rewards, terminated, truncated, _told(infos, ~ended)
        finals = infos["final_obs"].copy()
        observations, _ = self._begin_next(ended)
        told = _told(infos, ~ended)
        told |= {"final_obs": finals, "_final_obs": ended, "final_info": _told(infos, ended), "_final_info": ended}
        return observations, rewards, terminated, truncated, told

    def replayed(
        self, seed: int, numbers: Sequence[int], actions: Sequence[Sequence[Action]]
    ) -> list[Observation] | None:
        """Bring each game back to where it was, and return the observations; None where one of its episodes ended.

        All end their replays in the same step, as they are stepped together; which is why they begin one by one.

        Args:
            seed: of the first reset; game i has seed + i.
            numbers: (N,) the episode that each is in.
            actions: (N,) what each has done in it.
        """
        observations, _ = self.reset(seed=seed)
        lengths, numbered = np.array([len(taken) for taken in actions]), np.array(numbers)
        for left in range(int(lengths.max()), -1, -1):
            begins = lengths == left
            self._numbers = np.where(begins, numbered - 1, self._numbers).tolist()
            observations = self._begin_next(begins)[0] if begins.any() else observations
            if left:
                row = [taken[len(taken) - left] if len(taken) >= left else 0 for taken in actions]
                observations, _, terminated, truncated, _ = self._games.step(np.array(row, np.int64))
                if ((terminated | truncated) & (lengths >= left)).any():
                    return None
        return list(observations)

    def close_extras(self, **kwargs: object) -> None:
        """Leave the games; what steps them ends with them."""


def _told(infos: Mapping[str, np.ndarray], which: np.ndarray) -> dict[str, object]:
    """Return what a single game tells of itself, of those in `which`."""
    told: dict[str, object] = {}
    for name in ("lives", "episode_frame_number", "frame_number"):
        told[name], told[f"_{name}"] = infos[name], which
    return told
