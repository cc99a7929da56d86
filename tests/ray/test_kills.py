"""Whatever of a job on a real cluster is killed, and when, it ends with the same result; a tier of its own."""

import contextlib
import dataclasses
import hashlib
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.executors import Event, Executor, InProcess, Payload, RayExecutor
from tensor_optix.multirun.population import Population
from tensor_optix.pipeline.environment.vector_making import makers_of
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.ray import RayVectorEnv
from tests.fakes.jobs import NAME
from tests.fakes.tiny_runs import TINY
from tests.helpers import until
from tests.soak.faults._processes import descendants

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),  # Ray's own
    pytest.mark.usefixtures("ray_cluster"),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for actors in /proc"),
]
RUN = dataclasses.replace(TINY, val_episodes=1, n_envs=1, max_episodes=12)
KINDS = {"actor": b"ray::Runner", "worker": b"tensor_optix.executors._worker"}


class Killer:
    """Kills an actor, or the process in it, at random moments, also while they start; a watcher of an executor.

    The next one waits until the items of the last one have told something, or they would be given up.
    """

    def __init__(self, rng: np.random.Generator, most: int, mean_events: int) -> None:
        self.rng, self.most, self.mean_events = rng, most, mean_events
        self.killed, self._held = Counter[str](), set[int]()
        self._left = self._drawn()

    @property
    def has_done(self) -> bool:
        return self.killed.total() >= self.most

    def _drawn(self) -> int:
        return int(self.rng.integers(1, 2 * self.mean_events))

    def __call__(self, event: Event) -> None:
        if event.kind == "lost":
            self._held.add(event.index)
        elif event.kind != "begun":
            self._held.discard(event.index)
        self._left -= 1
        if self._left <= 0 and not self._held and not self.has_done:
            self._left = self._drawn()
            kind, which = str(self.rng.choice(list(KINDS))), float(self.rng.uniform())
            threading.Timer(float(self.rng.uniform(0.0, 0.5)), self._kill, [kind, which]).start()

    def _kill(self, kind: str, which: float) -> None:
        if there := [pid for pid in descendants(os.getpid()) if KINDS[kind] in command_of(pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(there[int(which * len(there))], signal.SIGKILL)
                self.killed[kind] += 1


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def sha256(results: list[Payload]) -> str:
    return hashlib.sha256(repr([one.values for one in results]).encode()).hexdigest()


def test_jobs_whose_actors_and_workers_are_killed_have_the_same_results(fault_seed: int) -> None:
    items, killer = [Payload(i) for i in range(8)], Killer(np.random.default_rng([fault_seed, 0]), 20, 12)
    with InProcess() as here, RayExecutor(workers=2) as there:
        whole = sha256(here.map(f"{NAME}:chain", items))
        while not killer.has_done:
            assert sha256(there.map(f"{NAME}:chain", items, killer)) == whole
    assert min(killer.killed[kind] for kind in KINDS) >= 4


def test_an_actor_that_is_killed_while_it_starts_is_replaced() -> None:
    killed = list[int]()

    def kill() -> None:
        until(lambda: starting() or not mapping.is_alive(), 300.0)
        for pid in starting():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with RayExecutor(workers=1) as executor:
        mapping = threading.current_thread()
        killing = threading.Thread(target=kill)
        killing.start()
        assert executor.map(f"{NAME}:double", [Payload(2)]) == [Payload(4)]
        killing.join()
    assert killed


def starting() -> list[int]:
    return [pid for pid in descendants(os.getpid()) if command_of(pid).startswith(b"ray::Runner.__init__")]


def learned(folder: Path, executor: Executor, watch: Any) -> str:
    population = Population(folder, RUN, 2, 3)
    while population.reason is None:
        population.step(executor, watch)
    found = hashlib.sha256((folder / "generations.jsonl").read_bytes())
    for member in range(2):
        best = population.best_state(member)
        for name in sorted(best.tensors):
            found.update(name.encode() + best.tensors[name])
    return found.hexdigest()


def test_a_population_whose_actors_and_workers_are_killed_has_the_same_members(fault_seed: int, tmp_path: Path) -> None:
    killer = Killer(np.random.default_rng([fault_seed, 1]), 6, 4)
    with InProcess() as here, RayExecutor(workers=2) as there:
        whole, lives = learned(tmp_path / "whole", here, lambda event: None), 0
        while not killer.has_done:
            lives += 1
            assert learned(tmp_path / f"life-{lives}", there, killer) == whole
    assert min(killer.killed[kind] for kind in KINDS) >= 1


STEPS, KILLS, ENVS, PER_ACTOR = 300, 10, 6, 2


def played(env: Any, kills: dict[int, int], kill: Any) -> tuple[list[str], int]:
    """Return the SHA-256 of what each environment gives, and the episodes that were cut; `kills` is actor by step."""
    rng, found, cut = np.random.default_rng(1), [hashlib.sha256() for _ in range(ENVS)], 0
    env.reset(seed=5)
    for step in range(STEPS):
        if step in kills:
            kill(env, kills[step])
        observations, rewards, terminated, truncated, _ = env.step(rng.integers(2, size=ENVS))
        cut += int(truncated.sum())
        for i in range(ENVS):
            found[i].update(b"".join(part[i].tobytes() for part in (observations, rewards, terminated, truncated)))
    return [one.hexdigest() for one in found], cut


def kill_actor(env: RayVectorEnv, actor: int) -> None:
    os.kill(env.pids[actor], signal.SIGKILL)


def kill_environments(env: WorkerVectorEnv, actor: int) -> None:
    for worker in env.workers[actor * PER_ACTOR : (actor + 1) * PER_ACTOR]:
        os.kill(worker.process, signal.SIGKILL)


def test_environments_whose_actors_are_killed_go_on_as_those_here_and_the_others_notice_nothing(
    fault_seed: int,
) -> None:
    rng, makers = np.random.default_rng([fault_seed, 2]), makers_of(("CartPole-v1", ENVS))
    steps = rng.choice(STEPS, KILLS, replace=False)
    kills = {int(step): int(rng.integers(2)) for step in steps}  # the third actor is left alone
    with contextlib.closing(WorkerVectorEnv(makers)) as here:
        whole, uncut = played(here, {}, kill_environments)
    with contextlib.closing(WorkerVectorEnv(makers, sleep=lambda _: None)) as here:
        there_too, cut_here = played(here, kills, kill_environments)
    with contextlib.closing(
        RayVectorEnv(makers, envs_per_actor=PER_ACTOR, step_timeout=60.0, sleep=lambda _: None)
    ) as there:
        found, cut = played(there, kills, kill_actor)
    assert found == there_too
    assert found[2 * PER_ACTOR :] == whole[2 * PER_ACTOR :]
    assert cut == cut_here == uncut + KILLS * PER_ACTOR
