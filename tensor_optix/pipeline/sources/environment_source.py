"""A Gymnasium environment as a feed."""

import queue
from collections.abc import Iterator

from gymnasium import spaces

from tensor_optix.core.types import Action
from tensor_optix.pipeline._items import Item
from tensor_optix.pipeline.environment.environment import checked_reward, make_environment
from tensor_optix.pipeline.environment.episodes import episode_seed
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.pipeline.environment.own_code import EnvLike
from tensor_optix.pipeline.environment.resets import EnvironmentReset
from tensor_optix.support.trees import copied


class EnvironmentSource:
    """Steps an environment with each action that it receives: the windows are those of a `BatchPipeline` on it.

    Args:
        env: a Gymnasium environment, an id to make one from, or a class or function that makes one.
        seed: from which each episode's seed is derived; None leaves it to `RLOptimizer(seed=...)`, or to chance.

    Raises:
        EnvironmentNotFoundError: an unknown id.
    """

    is_episodic = True
    is_lockstep = True

    def __init__(self, env: EnvLike, *, seed: int | None = None) -> None:
        self.env = make_environment(env)
        self._reset = EnvironmentReset(self.env)
        self.observation_space = self.env.observation_space
        self.action_space = self.env.action_space
        self._seed = seed
        self._next_episode = 0
        self._actions: queue.SimpleQueue[Action] = queue.SimpleQueue()

    def seed(self, seed: int) -> None:
        """Seed the episodes, where the constructor did not."""
        if self._seed is None:
            self._seed = seed

    def apply(self, action: Action) -> None:
        """Step the environment."""
        self._actions.put((action,))

    def close(self) -> None:
        """End the stream in progress, and close the environment."""
        self._actions.put(None)

    def stream(self) -> Iterator[Item]:
        """Yield what the environment returns: first a reset's, then a step's for each action."""
        actions = self._actions = queue.SimpleQueue()
        env, is_box = self.env, isinstance(self.observation_space, spaces.Box)
        one = ObservationForm(self.observation_space).one if is_box else copied  # others are checked by the pipeline
        try:
            while True:
                number, self._next_episode = self._next_episode, self._next_episode + 1
                seed = None if self._seed is None else episode_seed(self._seed, number)
                observation, info = self._reset(seed=seed)
                yield one(observation), 0.0, False, False, copied(info)
                is_over = False
                while not is_over:
                    taken = actions.get()
                    if taken is None:
                        return
                    observation, reward, terminated, truncated, info = env.step(taken[0])
                    is_over = bool(terminated or truncated)
                    yield one(observation), checked_reward(reward, env), terminated, truncated, copied(info)
        finally:
            env.close()
