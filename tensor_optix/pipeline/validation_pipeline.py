"""Whole held-out episodes, several environments stepped together."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import gymnasium as gym
import numpy as np

from tensor_optix.core.agent_memory import acting_agent, on_a_copy_of_memory, plays_alone
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.decisions.validation_budget import LONGEST_LIMIT
from tensor_optix.core.faults import CUT_EPISODES, EPISODE_LIMIT, SEEDS, PlayStoppedError
from tensor_optix.core.normalizers import ObsNormalizer
from tensor_optix.core.types import Action, EpisodeData, Observation
from tensor_optix.errors import BadDataError, InvalidArgumentError
from tensor_optix.pipeline._normalization import Normalization
from tensor_optix.pipeline._rollout import RolloutBuilder
from tensor_optix.pipeline.environment.acting import EpisodeActing
from tensor_optix.pipeline.environment.bad_steps import Step, StepCheck
from tensor_optix.pipeline.environment.changes import time_limit_of
from tensor_optix.pipeline.environment.environment import check_agent_fits
from tensor_optix.pipeline.environment.failed_episodes import failure_of
from tensor_optix.pipeline.environment.infos import filled_masks
from tensor_optix.pipeline.environment.single import SingleEnvironment
from tensor_optix.pipeline.environment.wiring import Wiring
from tensor_optix.support.arrays import generator_state, restore_generator
from tensor_optix.support.plain import SavedState
from tensor_optix.support.undisturbed import UNDISTURBED

logger = logging.getLogger(__name__)

LONGEST_UNCUT = 2_000
"""Where the environment has a time limit of at most so many steps, no episode is cut: training can get as far."""


class ValidationPipeline(BasePipeline):
    """Plays one greedy episode in each of its environments per window, with one forward pass per step.

    An agent that may keep a memory which it does not hand out plays them one after the other, each on a copy of what it
    remembers (`core.agent_memory`), so that neither the episodes nor the training notice each other.

    Every episode starts from a seed of its own that no other episode of the pipeline has, so that no policy is chosen
    for a handful of lucky starts. It draws on no generator but its own: training is the same with and without it.

    Args:
        env_fns: one function per environment, each of which makes one.
        agent: the acting policy.
        seed: root of the episodes' seeds; None takes one from the system.
        observation_normalizer: what the agent's observations are normalised with; it is not updated here.

    Raises:
        InvalidArgumentError: two functions return the same environment.
        SpaceError: observations that cannot be normalised.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env]],
        agent: BaseAgent | None = None,
        *,
        seed: int | None = None,
        observation_normalizer: ObsNormalizer | None = None,
    ) -> None:
        self.agent = agent
        self.max_episode_steps = LONGEST_LIMIT
        """Steps after which an episode is cut."""
        self._envs = [SingleEnvironment(make, warns=False) for make in env_fns]  # the training pipeline has said it
        if len({id(one.env.unwrapped) for one in self._envs}) < len(self._envs):
            raise InvalidArgumentError(
                "env_fns must make an environment each, but two of them returned the same: its episodes would be mixed."
            )
        space = self._envs[0].env.observation_space
        self._wiring = Wiring(space, self._envs[0].env.action_space)
        self._normalization = Normalization(observation_normalizer or False, False, space)
        self._checks: list[StepCheck] = []
        self._renew_checks()
        self._left_out, self._last_fault = 0, ""
        self._found_remembering: BaseAgent | None = None
        """An agent that acts in several episodes at once, and was seen to be changed by it."""
        self._seeds = np.random.default_rng(np.random.SeedSequence(seed))
        self._next_window_id = 0
        self._has_warned = False
        self._usual_limit, self._is_stopped = LONGEST_LIMIT, lambda: False
        limit = time_limit_of(self._envs[0].env) or 0
        self._never_cut = limit if limit <= LONGEST_UNCUT else 0
        self._cut = 0
        """Episodes of the window in progress that were cut."""

    def setup(self) -> None:
        """Check that the agent fits the environments."""
        self._connect(agent := check_agent_fits(self.agent))
        space = self._normalization.space_of(self._wiring.form.space)
        check_agent_fits(agent, space, self._envs[0].env.action_space)

    def _connect(self, agent: BaseAgent) -> None:
        """Take over what the agent declares."""
        if self._wiring.connect(agent):
            self._renew_checks()

    def _renew_checks(self) -> None:
        self._checks = [StepCheck(self._wiring.form) for _ in self._envs]

    def episodes(self) -> Iterator[EpisodeData]:
        """Yield windows of `len(env_fns)` whole episodes, without end."""
        while True:
            yield self.play(self.fresh_seeds())

    def fresh_seeds(self) -> list[int]:
        """Return one new seed per environment."""
        return [int(seed) for seed in self._seeds.integers(2**31, size=len(self._envs))]

    def bound(self, max_steps: int | None, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Cut the episodes to come after `max_steps` steps, and ask `is_stopped` between steps; see `Boundable`."""
        limit = LONGEST_LIMIT if max_steps is None else min(max_steps, LONGEST_LIMIT)
        self.max_episode_steps = self._usual_limit = max(limit, self._never_cut)
        self._is_stopped = is_stopped

    def stream_state(self) -> dict[str, object]:
        """Return where the episodes' seeds stand."""
        return {"window_id": self._next_window_id, "seeds": generator_state(self._seeds)}

    def restore_stream(self, state: SavedState) -> None:
        """Restore the position in the sequence of episode seeds."""
        restore_generator(self._seeds, state["seeds"])
        self._next_window_id = int(state["window_id"])

    def _warn_of_cut(self) -> None:
        if not self._has_warned and self.max_episode_steps >= self._usual_limit:
            self._has_warned = True
            logger.warning(
                "Validation cut an episode after %d steps; it counts with its return so far. Give the environment a "
                "time limit (gymnasium.wrappers.TimeLimit), a larger validation_share, or pass a val_pipeline.",
                self.max_episode_steps,
            )

    def teardown(self) -> None:
        """Close the environments."""
        for one in self._envs:
            one.env.close()

    def play(self, seeds: Sequence[int]) -> EpisodeData:
        """Play one whole greedy episode per seed, at most one per environment, and return them as a window.

        An episode with a step that must not be acted on or learned from is left out, and one in which its environment
        fails.

        Raises:
            BadDataError: there is no other.
            PlayStoppedError: an end was asked for, see `bound`.
        """
        self._connect(agent := check_agent_fits(self.agent))
        if not 1 <= len(seeds) <= len(self._envs):
            raise InvalidArgumentError(f"play takes 1 to {len(self._envs)} seeds, but got {len(seeds)}.")
        with UNDISTURBED.block():
            episodes = self._episodes(agent, seeds)
        if not episodes:
            raise BadDataError(
                f"No validation episode came to an end, so there is no score; the last one had {self._last_fault}. "
                f"Look where the environment makes its observations and rewards."
            )
        self._next_window_id += 1
        bounds = {EPISODE_LIMIT: self.max_episode_steps, CUT_EPISODES: self._cut} if self._cut else {}
        window = replace(EpisodeData.concatenate(episodes), metadata={SEEDS: tuple(seeds), **bounds})
        return self._normalization.apply(window)

    def _episodes(self, agent: BaseAgent, seeds: Sequence[int]) -> list[EpisodeData]:
        """Return the episodes, played together, or one after the other where the agent may scramble them."""
        numbered = dict(enumerate(seeds))
        if not plays_alone(agent) and self._found_remembering is not acting_agent(agent):
            self._cut = 0
            with on_a_copy_of_memory(agent) as preserved:
                episodes = self._play_together(agent, numbered)
            if len(seeds) == 1 or not preserved.has_changed:
                return episodes
            self._found_remembering = acting_agent(agent)
        episodes, self._cut = [], 0
        for i, seed in numbered.items():
            with on_a_copy_of_memory(agent):
                episodes += self._play_together(agent, {i: seed})
        return episodes

    def _play_together(self, agent: BaseAgent, seeds: Mapping[int, int]) -> list[EpisodeData]:
        """Play one episode in each environment of `seeds`, and return those that can be used."""
        starts = {i: self._begun(i, seed) for i, seed in seeds.items()}
        now = {i: start for i, start in starts.items() if start is not None}
        wiring = self._wiring
        builders = {i: RolloutBuilder(wiring.stacked_observations, wiring.stacked_actions) for i in now}
        n_episodes = 1 if len(seeds) == 1 else len(self._envs)
        acting = EpisodeActing(n_episodes, wiring=wiring, warns=False)  # training has said it
        running = list(now)
        while running:
            if self._is_stopped():
                raise PlayStoppedError
            rows = wiring.stacked_observations([now[i].observation for i in running])
            actions = self._act(acting, agent, rows, [now[i].mask for i in running], running)
            still_running = []
            chosen_and_taken = list(zip(running, *wiring.chosen_and_taken(actions), strict=True))
            for i, _, taken in chosen_and_taken:
                self._envs[i].begin_step(taken)
            for i, chosen, taken in chosen_and_taken:
                step = self._usable(self._checks[i].step, self._envs[i].step, taken)
                if step is None:
                    del builders[i]
                elif not self._add(builders[i], now[i], chosen, step):
                    still_running.append(i)
                now[i] = step or now[i]
            running = still_running
        return [builder.build(self._next_window_id, now[i].observation, now[i].mask) for i, builder in builders.items()]

    def _begun(self, i: int, seed: int) -> Step | None:
        return self._usable(self._checks[i].reset, lambda seed: self._envs[i].reset(seed=seed), seed)

    def _usable(
        self, check: Callable[[object], Step], call: Callable[[object], object], argument: object
    ) -> Step | None:
        """Return what an environment returns, None where it must not be used; logged the 1st, 2nd, 4th, ... time.

        Args:
            check: accepts what it returns.
            call: what it is asked for.
            argument: of `call`.
        """
        try:
            return check(call(argument))
        except BadDataError as error:
            found = f"a bad step: {error}"
        except Exception as error:  # it is made anew before its next episode
            found = f"a failure: it {failure_of('validation', error)}"
        self._left_out, self._last_fault = self._left_out + 1, found.partition("\n")[0]
        if self._left_out & (self._left_out - 1) == 0:
            logger.warning("Validation left out an episode (%d until now) for %s", self._left_out, found)
        return None

    def _add(self, builder: RolloutBuilder, before: Step, action: object, step: Step) -> bool:
        """Add a step, and return whether the episode ended with it."""
        is_cut = len(builder) + 1 >= self.max_episode_steps and not (step.terminated or step.truncated)
        flags = (step.terminated, step.truncated or is_cut)
        builder.add(
            before.observation, action, step.reward, *flags, step.info, step.observation, before.mask, step.mask
        )
        if is_cut:
            self._cut += 1
            self._warn_of_cut()
        return is_cut or step.terminated or step.truncated

    def _act(
        self,
        acting: EpisodeActing,
        agent: BaseAgent,
        rows: Observation,
        masks: list[np.ndarray | None],
        running: Sequence[int],
    ) -> Action:
        if self._normalization.observations is not None:
            rows = self._normalization.observations.normalize(rows)
        which = None if acting.is_single else running
        return acting.rows(agent, rows, filled_masks(masks), deterministic=True, which=which)


def held_out(
    find_makers: Callable[[], Sequence[Callable[[], gym.Env]]],
    n_episodes: int,
    agent: BaseAgent | None,
    *,
    seed: int | None,
    observation_normalizer: ObsNormalizer | None,
) -> ValidationPipeline | None:
    """Return a validation pipeline on environments of a training pipeline's kind, or None with a warning.

    Args:
        find_makers: returns what makes such environments, taken in turn; raises `ValueError` where nothing can.
        n_episodes: episodes per window.
        agent: the acting policy.
        seed: root of the episodes' seeds; None takes one from the system.
        observation_normalizer: the training pipeline's.
    """
    try:
        makers = find_makers()
        return ValidationPipeline(
            [makers[i % len(makers)] for i in range(n_episodes)],
            agent,
            seed=seed,
            observation_normalizer=observation_normalizer,
        )
    except ValueError as error:
        logger.warning(
            "No automatic validation: %s. Scores come from the training windows; pass val_pipeline= to hold out "
            "data, or val_pipeline=None to silence this.",
            error,
        )
        return None
