"""Environments that are stepped together, each in a process of its own that is made anew where it fails."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from tensor_optix.core.types import Action, Observation
from tensor_optix.errors import ContractError, EnvironmentFailedError
from tensor_optix.pipeline.environment.episodes import FAILED_RESETS, FAILED_STEP
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.fleet import Fleet, Hire, local_workers
from tensor_optix.pipeline.environment.workers.functions import pickled_value
from tensor_optix.pipeline.environment.workers.memory import can_hold, read, row_of, written
from tensor_optix.pipeline.environment.workers.worker import Worker, told_of
from tensor_optix.support.trees import mapped

logger = logging.getLogger(__name__)


class WorkerVectorEnv(VectorEnv):
    """Steps N environments together, each in a worker; resets one in the step that ends its episode (`SAME_STEP`).

    An environment that hangs, dies or raises in a step ends its episode there, truncated, with an observation that
    means nothing and an info that says so (`FAILED_STEP`); it is made anew, and its next episode begins in the same
    step. Failures on the way there are told with its reset (`FAILED_RESETS`), the third of them, too: then it is the
    caller's to end it. The others notice nothing.

    Args:
        env_fns: make an environment each.
        step_timeout: seconds that a step or a reset may take; None = learned, see `Deadline`.
        max_worker_rss: bytes of resident memory from which a worker is replaced between two episodes; None = no bound.
        clock: monotonic seconds.
        sleep: waits for so many seconds.
        hire: makes the workers; by default on this machine.

    Raises:
        InvalidArgumentError: a bound out of its range, or more environments than there is memory for.
        ContractError: a function cannot be sent to another process.
        EnvironmentNotFoundError: one cannot be imported there.
        EnvironmentFailedError: an environment cannot be made there.
        SpaceError: environments with different spaces.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], gym.Env]],
        *,
        step_timeout: float | None = None,
        max_worker_rss: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        hire: Hire = local_workers,
    ) -> None:
        self._clock = clock
        self.env_fns, self.num_envs = tuple(env_fns), len(env_fns)
        shown = env_fns[0]()
        self.metadata = {**shown.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.render_mode = shown.render_mode
        self.single_observation_space, self.single_action_space = shown.observation_space, shown.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        shown.close()
        of_one = self.single_observation_space, self.single_action_space
        self._fleet = Fleet(env_fns, *of_one, step_timeout, max_worker_rss, sleep, hire)
        self._memory = self._fleet.memory
        self._finals = [row_of(self._memory.finals, i) for i in range(self.num_envs)]
        self._seen: list[Observation] | None = [None] * self.num_envs if self._memory.observations is None else None
        """What the environments observe, where that has no place in the memory."""
        self._warned_of: set[str] = set()
        try:
            self._fleet.begin()
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> Sequence[Worker]:
        """What runs the environments."""
        return tuple(self._fleet.workers)

    # --- steps ---

    def step(self, actions: Action) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, object]]:
        """Take a step in each environment."""
        fleet, begun = self._fleet, self._clock()
        seconds = fleet.step_deadline.seconds
        failures, replies = self._send_actions(actions, seconds), dict[int, wire.Reply]()
        until = begun + seconds
        for i, worker in enumerate(fleet.workers):
            if i not in failures:
                try:
                    replies[i] = worker.receive(seconds, until=until)
                except EnvironmentFailedError as error:
                    failures[i] = told_of(error)
        rewards, flags, says_more = np.zeros(self.num_envs), np.zeros(self.num_envs, np.uint8), bool(failures)
        for i, reply in replies.items():
            rewards[i], flags[i] = reply.reward, reply.flags
            says_more = says_more or reply.flags or reply.value is not None
        for i in failures:
            flags[i] = wire.TRUNCATED
        if not flags.any():
            fleet.step_deadline.saw(self._clock() - begun)
        infos = self._infos(replies, failures) if says_more else {}
        return self._observations(), rewards, (flags & wire.TERMINATED) > 0, (flags & wire.TRUNCATED) > 0, infos

    def _send_actions(self, actions: Action, seconds: float) -> dict[int, str]:
        """Let each environment take a step, and return which have failed, and how."""
        failures: dict[int, str] = {}
        if self._memory.actions is None or not can_hold(self._memory.actions, actions):
            payloads = [pickled_value(action) for action in iterate(self.action_space, actions)]
        else:
            written(self._memory.actions, actions)
            payloads = [b""] * self.num_envs
        for i, worker in enumerate(self._fleet.workers):
            try:
                worker.send(wire.STEP, "step", payloads[i], seconds)
            except EnvironmentFailedError as error:
                failures[i] = told_of(error)
        return failures

    def _infos(self, replies: Mapping[int, wire.Reply], failures: Mapping[int, str]) -> dict[str, object]:
        """Return the infos of a step, once all episodes that ended with it are followed by others."""
        infos: dict[str, Any] = {}
        for i in range(self.num_envs):
            if i in failures:
                final = {"final_obs": self.single_observation_space.sample(), "final_info": {FAILED_STEP: failures[i]}}
                infos = self._add_info(infos, {**final, **self._renewed(i, [])}, i)
            elif replies[i].has_ended:
                final = {"final_obs": self._final(i, replies[i]), "final_info": self._info(replies[i])}
                infos = self._add_info(infos, {**final, **self._reset_after(i, replies[i])}, i)
            else:
                infos = self._add_info(infos, self._taken(i, replies[i]), i)
        return infos

    def _final(self, i: int, reply: wire.Reply) -> Observation:
        return read(self._finals[i]) if self._seen is None else self._received(reply)

    def _reset_after(self, i: int, reply: wire.Reply) -> dict[str, object]:
        """Return the info of the reset in the step that ended an episode."""
        if reply.flags & wire.IS_FULL:
            self._say_once(
                "memory",
                "Environment %d of %d has grown beyond max_worker_rss: its process is replaced between two episodes. "
                "This is said once, and done whenever it is needed.",
                i,
                self.num_envs,
            )
            return self._renewed(i, [], waits=False)
        begun = self._clock()
        try:
            info = self._taken(i, self._fleet.begun(i))
        except EnvironmentFailedError as error:
            return self._renewed(i, [told_of(error)])
        self._fleet.reset_deadline.saw(self._clock() - begun)
        return info

    def _renewed(self, i: int, failures: list[str], *, waits: bool = True) -> dict[str, object]:
        """Make an environment anew and begin its next episode; return the info of the reset; see `Fleet.renewed`."""
        reply = self._fleet.renewed(i, failures, waits=waits)
        if reply is not None:
            info = self._taken(i, reply)
        else:
            info, nothing = {}, self.single_observation_space.sample()
            if self._seen is not None:
                self._seen[i] = nothing
            else:
                written(row_of(self._memory.observations, i), nothing)
        return {**info, FAILED_RESETS: tuple(failures)} if failures else info

    # --- resets ---

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, object]]:
        """Begin an episode in each environment, or in those of `options["reset_mask"]` (N,) bool."""
        options = dict(options or {})
        which = np.flatnonzero(options.pop("reset_mask", np.ones(self.num_envs, bool))).tolist()
        fleet, begun, seeds, failures = self._fleet, self._clock(), self._seeds(seed), dict[int, str]()
        for i in which:
            try:
                fleet.send_reset(i, seeds[i], options or None)
            except EnvironmentFailedError as error:
                fleet.leave(i)
                failures[i] = told_of(error)
        infos: dict[str, Any] = {}
        for i in which:
            try:
                reply = None if i in failures else fleet.begun(i, begun + fleet.reset_deadline.seconds)
            except EnvironmentFailedError as error:
                reply, failures[i] = None, told_of(error)
            infos = self._add_info(
                infos, self._renewed(i, [failures[i]]) if reply is None else self._taken(i, reply), i
            )
        if not failures:
            fleet.reset_deadline.saw(self._clock() - begun)
        return self._observations(), infos

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if isinstance(seed, Sequence | np.ndarray):
            return list(seed)
        return [None if seed is None else seed + i for i in range(self.num_envs)]

    # --- attributes ---

    def call(self, name: str, *args: object, **kwargs: object) -> tuple[Any, ...]:
        """Return what the attribute `name` of each environment is, or gives when it is called.

        Raises:
            EnvironmentFailedError: one of them failed; it is made anew in the next step or reset.
            ContractError: it is nothing that can be sent.
        """
        payload = pickled_value((name, args, kwargs))
        found = self._fleet.ask(wire.CALL, "call", [payload] * self.num_envs)
        for _, *of_type in found:
            if of_type:
                raise ContractError(f"{name} of an environment is a {of_type[0]}, which its process does not hand out.")
        return tuple(value for value, *_ in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each environment; raises as `call` does."""
        return self.call(name)

    def set_attr(self, name: str, values: object) -> None:
        """Set an attribute of each environment: to one value, or to one of a list each; raises as `call` does."""
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise ValueError(f"values must be one per environment ({self.num_envs}), but there are {len(each)}.")
        self._fleet.ask(wire.SET, "set_attr", [pickled_value((name, value)) for value in each])

    def close_extras(self, **_: object) -> None:
        """End all processes."""
        if hasattr(self, "_fleet"):
            self._fleet.close()

    # --- what was said ---

    def _observations(self) -> Observation:
        if self._seen is None:
            return mapped(np.copy, self._memory.observations)
        into = create_empty_array(self.single_observation_space, self.num_envs)
        return concatenate(self.single_observation_space, self._seen, into)

    def _taken(self, i: int, reply: wire.Reply) -> dict[str, object]:
        """Take over what an environment observes, and return its info."""
        if self._seen is not None:
            self._seen[i] = self._received(reply)
        return self._info(reply)

    def _received(self, reply: wire.Reply) -> Observation:
        return self.single_observation_space.from_jsonable(reply.value[1])[0]

    def _info(self, reply: wire.Reply) -> dict[str, object]:
        info = {} if reply.value is None else dict(reply.value[0])
        for name in info.pop(wire.LEFT_OUT, ()):
            self._say_once(name, "Infos are without %s: its process does not hand it out.", name)
        return info

    def _say_once(self, topic: str, message: str, *arguments: object) -> None:
        if topic not in self._warned_of:
            self._warned_of.add(topic)
            logger.warning(message, *arguments)
