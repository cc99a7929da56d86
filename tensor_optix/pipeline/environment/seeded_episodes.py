"""Environments whose episodes have a seed of their own each, and which a vector resets by itself."""

import contextlib
from collections.abc import Callable, Sequence
from typing import SupportsFloat

import gymnasium as gym

from tensor_optix.core.faults import MOST_IN_A_ROW
from tensor_optix.core.types import Action, Observation
from tensor_optix.errors import BadDataError
from tensor_optix.pipeline.environment.bad_steps import Step, StepCheck
from tensor_optix.pipeline.environment.episodes import (
    BAD_RESETS,
    BAD_STEP,
    FAILED_RESETS,
    FAILED_STEP,
    episode_seed,
    note_foreign_action,
    raised_in,
    replay,
)
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.pipeline.environment.resets import EnvironmentReset

_NOTHING = Step(None, 0.0, False, False, {}, None)


class SeededEpisodes(gym.Wrapper):
    """Resets its environment with a seed of its own for each episode, and can replay the one in progress.

    For the environments of a vector, which resets them by itself: only what wraps them sees each reset. Nor may a
    vector see a bad step, which it could not put together with the others' or would make numbers of: in its place the
    episode ends, truncated, with an observation that means nothing and an info that says so (`BAD_STEP`). So it does
    where the environment raises (`FAILED_STEP`): it is made anew then, and the next episode begins.

    Args:
        env: the environment.
        warns: say so where its episodes cannot be seeded.
        make: makes the environment anew where it has raised; None = what it raises is the caller's.
        reset_tries: resets in a row that may be bad, or fail.
    """

    def __init__(
        self,
        env: gym.Env,
        warns: bool = True,
        make: Callable[[], gym.Env] | None = None,
        reset_tries: int = MOST_IN_A_ROW,
    ) -> None:
        super().__init__(env)
        self._make, self._reset_tries = make, reset_tries
        self._reset = EnvironmentReset(env, warns)
        self._has_failed = False
        self._root: int | None = None
        self.number = 0
        """Of the episode in progress, counted from 0 since the last seed."""
        self._check = StepCheck(ObservationForm(env.observation_space), copies=False)
        self._replayed: Step | None = None

    def __str__(self) -> str:
        return str(self.env)  # errors name the environment, not what is around it

    def taken(self, action: object, check: StepCheck) -> Step:
        """Take a step, and return it as `check` accepts it.

        Where it was bad, or the environment failed, the episode ends, truncated, without an observation (None), and
        the info says why.
        """
        try:
            returned = self.env.step(action)
        except Exception as error:
            return self.failed(action, error)
        return check.looked_at(returned) or self.checked(returned, check)

    def checked(self, returned: object, check: StepCheck) -> Step:
        """Return what a step returned as `check` accepts it, or the end of an episode where it was bad."""
        try:
            return check.step(returned)
        except BadDataError as error:
            return Step(None, 0.0, False, True, {BAD_STEP: str(error)}, None)

    def failed(self, action: object, error: Exception) -> Step:
        """Return the end of an episode whose step has raised `error`, or raise it where it is the caller's."""
        note_foreign_action(error, action, self.action_space)
        if self._make is None:
            raise error
        self._has_failed = True
        return Step(None, 0.0, False, True, {FAILED_STEP: raised_in("step", error)}, None)

    def step(self, action: object) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, object]]:
        """Take a step, or end the episode where it was bad, or the environment failed."""
        observation, reward, terminated, truncated, info, _ = self.taken(action, self._check)
        return self._shown(observation), reward, terminated, truncated, dict(info)

    def begun(self, check: StepCheck, *, seed: int | None = None, options: dict[str, object] | None = None) -> Step:
        """Begin the next episode that begins well, and return its start as `check` accepts it.

        Where too many in a row do not, there is no observation (None). The info says what was wrong with those before.

        Args:
            check: accepts what the environment returns.
            seed: makes it the first episode again.
            options: of the environment's reset.
        """
        if seed is not None:
            self._root, self.number = seed, -1
        begun = _NOTHING
        bad: list[str] = []
        failed: list[str] = []
        while begun is _NOTHING and len(bad) + len(failed) < self._reset_tries:
            self.number += 1
            if self._root is not None:
                seed = episode_seed(self._root, self.number)
            try:
                begun = check.reset(self._returned(seed=seed, options=options))
            except BadDataError as error:
                bad.append(str(error))
            except Exception as error:
                if self._make is None:
                    raise
                self._has_failed = True
                failed.append(raised_in("reset", error))
        if not (bad or failed):
            return begun
        told = {BAD_RESETS: tuple(bad), FAILED_RESETS: tuple(failed)}
        return begun._replace(info={**begun.info, **{name: found for name, found in told.items() if found}})

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[Observation, dict[str, object]]:
        """Begin the next episode that begins well; a given seed makes it the first one again."""
        begun = self.begun(self._check, seed=seed, options=options)
        return self._shown(begun.observation), dict(begun.info)

    def _shown(self, observation: Observation) -> Observation:
        """Return an observation, or something of its space where there is none."""
        return self.observation_space.sample() if observation is None else observation

    def _returned(self, **arguments: object) -> object:
        """Return what a reset returns, of an environment that is made anew where it has failed."""
        if self._has_failed and self._make is not None:
            with contextlib.suppress(Exception):
                self.env.close()
            self.env = self._make()
            self._reset = EnvironmentReset(self.env, warns=False)
            self._has_failed = False
        return self._reset(**arguments)

    def go_on_after(self, root: int | None, number: int) -> None:
        """Let the next reset begin the episode after `number` of those that follow from the seed `root`."""
        self._root, self.number = root, number

    @property
    def episode_in_progress(self) -> tuple[int | None, Sequence[Action]]:
        """Number of the episode in progress, and nothing of its actions.

        Set it to replay an episode; with None for the number the actions are further ones of the replay before.
        """
        return self.number, []

    @episode_in_progress.setter
    def episode_in_progress(self, episode: tuple[int | None, Sequence[Action]]) -> None:
        number, actions = episode
        before = None if number is not None else self._replayed
        if number is not None:
            self.number = number
        elif before is None:  # it has ended
            return
        assert self._root is not None  # noqa: S101 - for the type checker; the vector has been reset with seeds
        seed = episode_seed(self._root, self.number)
        self._replayed = replay(self.env, seed, actions, lambda action: action, self._check, before)

    @property
    def replayed_observation(self) -> object:
        """Where the last replay ended; None where its episode ended before."""
        return None if self._replayed is None else self._replayed.observation
