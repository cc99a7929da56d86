"""A vector environment from its making to its closing; what it raises becomes one typed error."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gymnasium.vector import SyncVectorEnv, VectorEnv

from tensor_optix.errors import ContractError, EnvironmentFailedError
from tensor_optix.pipeline.environment.atari import AtariGames
from tensor_optix.pipeline.environment.autoreset import autoreset_of
from tensor_optix.pipeline.environment.bad_steps import StepCheck
from tensor_optix.pipeline.environment.changes import EnvFn
from tensor_optix.pipeline.environment.episodes import note_foreign_action
from tensor_optix.pipeline.environment.failures import end_processes, environment_failed, watch_failures
from tensor_optix.pipeline.environment.in_process import EachStep, InProcessVectorEnv
from tensor_optix.pipeline.environment.single import isolating
from tensor_optix.pipeline.environment.vector_making import vector_of
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv


class VectorLifetime:
    """Makes a vector, steps and resets it, closes it, and makes it anew where it was made here.

    Args:
        env_fns: what `VectorBatchPipeline` takes: functions, `(id, num_envs)`, or a vector.
        async_envs: run each environment in a process of its own.
        step_timeout: as in `vector_of`.
        max_worker_rss: as in `vector_of`.

    Raises:
        InvalidArgumentError: none of these, or a vector that declares no autoreset mode.
        EnvironmentFailedError: an environment's process ended while it was made.
    """

    def __init__(
        self,
        env_fns: object,
        async_envs: bool,
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
    ) -> None:
        made = partial(vector_of, env_fns, async_envs, step_timeout, max_worker_rss)
        self._make: Callable[[], VectorEnv] = lambda: made()[0]
        self.env, self.makers = made()
        is_apart = async_envs and self.env is not env_fns
        self._isolating = partial(isolating, isolate=is_apart, step_timeout=step_timeout, max_worker_rss=max_worker_rss)
        self.autoreset = autoreset_of(self.env)
        self._is_ready_made = self.env is env_fns
        self.times_closed, self._is_closed = 0, False
        self._has_failed = False
        """Whether the last call has not returned."""
        watch_failures(self.env)

    @property
    def has_own_episodes(self) -> bool:
        """True where the environments were made here, one by one; False where they came as somebody else's vector."""
        is_made_here = isinstance(self.env, SyncVectorEnv | AtariGames) and not self._is_ready_made
        return is_made_here or isinstance(self.env, WorkerVectorEnv)

    def isolated(self, make: EnvFn) -> EnvFn:
        """Return a function that makes an environment where those of the vector are: in a process of its own or not."""
        return self._isolating(make) or make

    def step(self, actions: object) -> Any:
        """Return what `env.step` returns.

        Raises:
            EnvironmentFailedError: an environment raised, or its process died.
        """
        return self._call("step", self.env.step, actions)

    def step_each(self, actions: object, check: StepCheck) -> EachStep | None:
        """Return what `InProcessVectorEnv.step_each` returns, None where the vector is another; raises as `step`."""
        env = self.env
        return self._call("step", env.step_each, actions, check) if isinstance(env, InProcessVectorEnv) else None

    def reset(self, **arguments: object) -> Any:
        """Return what `env.reset` returns; raises as `step` does."""
        return self._call("reset", self.env.reset, **arguments)

    def _call(self, name: str, function: Callable[..., object], *args: object, **arguments: object) -> Any:
        self._has_failed = True  # also where it is interrupted
        try:
            returned = function(*args, **arguments)
        except EnvironmentFailedError:
            raise
        except Exception as error:
            if name == "step":
                note_foreign_action(error, args[0], self.env.action_space)
            raise environment_failed(self.env, name, error) from error
        self._has_failed = False
        return returned

    def close(self) -> None:
        """Close the environments and their processes."""
        if self._has_failed:
            end_processes(self.env)
        try:
            self.env.close()
        except (EOFError, ConnectionError):  # a worker died, and there was no step since
            end_processes(self.env)
        self._has_failed = False
        self.times_closed += not self._is_closed
        self._is_closed = True

    def reopen(self) -> None:
        """Make the environments anew where they were closed.

        Raises:
            ContractError: they came as a ready-made vector.
        """
        if not self._is_closed:
            return
        if self._is_ready_made:
            raise ContractError(
                "The vector environment was closed by teardown. Make a new one and a pipeline on it, or hand over "
                "functions that make environments: those are made anew."
            )
        self.env, self._is_closed = self._make(), False
        watch_failures(self.env)
