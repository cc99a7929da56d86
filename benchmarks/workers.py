"""What environments in processes of their own cost beside Gymnasium's, and what it costs that they are supervised.

`python -m benchmarks.workers --measure NAME` measures one row of the table in this process and prints JSON.

The environments do nothing but observe, so that a step is what the vector takes. All variants are there at once and
take their steps in turn; only ratios within a turn count, as others on the machine stretch all of it.
"""

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv

from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, Options, run_python
from benchmarks._worker_worlds import SPACES, Watched
from tensor_optix.core.loop.watchdog import ProcessActions, Watchdog
from tensor_optix.pipeline.environment.bad_steps import StepCheck
from tensor_optix.pipeline.environment.in_process import InProcessVectorEnv
from tensor_optix.pipeline.environment.observations import ObservationForm
from tensor_optix.pipeline.environment.seeded_episodes import SeededEpisodes
from tensor_optix.pipeline.environment.vector_state import seeded
from tensor_optix.pipeline.environment.workers import wire
from tensor_optix.pipeline.environment.workers.vector import WorkerVectorEnv
from tensor_optix.pipeline.environment.workers.worker import Worker, order_bytes
from tensor_optix.support.heartbeat import HEARTBEAT

TITLE = "Environments in processes of their own"
N_ENVS = 8
STEPS = 100
"""Of the vector, in each turn."""
STEPS_IN_PROCESS = 500
TURNS = 25
IN_PROCESS = "CartPole-v1, one process"
"""The environment that takes least, so that the share of what is around it is largest."""


class Variant(NamedTuple):
    """One way to step the environments."""

    take_steps: Callable[[], object]
    workers: Sequence[int] = ()
    """Processes of environments."""

    def cpu_seconds(self) -> float:
        """Return what this process and the workers have used."""
        of_workers = (Path(f"/proc/{process}/schedstat").read_text().split()[0] for process in self.workers)
        return time.process_time() + sum(map(int, of_workers)) / 1e9


def plan(options: Options) -> Iterator[Measurement]:
    """Return each size of observations, and environments in this process, in every round."""
    for round_ in range(options.rounds):
        for name in (*SPACES, IN_PROCESS):
            yield Measurement(f"{name}/round{round_}", partial(_measure_apart, name, round_))


def _measure_apart(name: str, round_: int) -> dict[str, Any]:
    found = json.loads(run_python("-m", "benchmarks.workers", "--measure", name))
    return {"name": name, "round": round_, **found}


def measure(name: str) -> dict[str, Any]:
    """Return what a step takes, by variant, and the ratios of others to ours within a turn, in wall and CPU time."""
    with contextlib.ExitStack() as stack:
        variants = _in_process(stack) if name == IN_PROCESS else _in_processes(name, stack)
        taken = _in_turn(variants)
    steps = STEPS_IN_PROCESS if name == IN_PROCESS else STEPS
    return {kind: _summary([times[kind] for times in taken], steps) for kind in ("wall", "cpu")}


def _summary(turns: Sequence[Mapping[str, float]], steps: int) -> dict[str, dict[str, float]]:
    """Return the median microseconds of a step, and median ratios to ours, by variant."""
    return {
        "microseconds": {name: statistics.median(turn[name] for turn in turns) / steps * 1e6 for name in turns[0]},
        "ratios": {
            name: statistics.median(turn[name] / turn["ours"] for turn in turns) for name in turns[0] if name != "ours"
        },
    }


def _in_turn(variants: Mapping[str, Variant]) -> list[dict[str, dict[str, float]]]:
    """Return the wall and the CPU seconds of each variant in each turn; who begins changes."""
    taken = []
    for turn in range(TURNS + 1):
        found: dict[str, dict[str, float]] = {"wall": {}, "cpu": {}}
        for name in sorted(variants, reverse=bool(turn % 2)):
            variant = variants[name]
            begun, used = time.perf_counter(), variant.cpu_seconds()
            variant.take_steps()
            found["wall"][name] = time.perf_counter() - begun
            found["cpu"][name] = variant.cpu_seconds() - used
        taken.append(found)
    return taken[1:]  # what is made once is made in the first


# --- in processes of their own ---


def _in_processes(size: str, stack: contextlib.ExitStack) -> dict[str, Variant]:
    makers = [partial(Watched, size)] * N_ENVS
    peer = AsyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    stack.callback(peer.close)
    peer.reset(seed=0)
    ours = {"ours": WorkerVectorEnv(makers), "unsupervised": WorkerVectorEnv(makers, hire=_unsupervised)}
    found = {"peer": Variant(partial(_step, peer), [process.pid or 0 for process in peer.processes])}
    for name, env in ours.items():
        stack.callback(env.close)
        env.reset(seed=0)
        found[name] = Variant(partial(_step, env), [worker.process for worker in env.workers])
    return found


def _step(env: VectorEnv) -> None:
    actions = np.arange(N_ENVS) % 4
    for _ in range(STEPS):
        env.step(actions)


class _Unsupervised(Worker):
    """Waits for ever, and lets errors pass as they are."""

    def wait_until_made(self) -> None:
        super().wait_until_made()
        assert self._channel is not None  # noqa: S101 - for the type checker
        self._channel.settimeout(None)
        self._bare = self._channel

    def send(self, kind: bytes, doing: str, payload: bytes = b"", seconds: float = 0.0) -> None:
        wire.send_request(self._bare, kind, payload)

    def receive(self, seconds: float, doing: str = "", until: float | None = None) -> wire.Reply:
        return wire.read_reply(self._bare) if self.name else super().receive(seconds)


def _unsupervised(env_fns: Sequence[Any], orders: Sequence[Any], memory: Any) -> list[Worker]:
    return [_Unsupervised(order_bytes(make, order), memory) for make, order in zip(env_fns, orders, strict=True)]


# --- in this process ---


def _in_process(stack: contextlib.ExitStack) -> dict[str, Variant]:
    makers = [partial(gym.make, "CartPole-v1")] * N_ENVS
    watched = InProcessVectorEnv(seeded(make) for make in makers)
    plain = InProcessVectorEnv([partial(_as_it_is, make) for make in makers])
    check = StepCheck(ObservationForm(watched.single_observation_space), copies=False)
    for env in (watched, plain):
        stack.callback(env.close)
        env.reset(seed=0)
    watchdog = Watchdog()
    stack.callback(ProcessActions().arm, None)
    return {
        "ours": Variant(partial(_step_watched, watched, check, watchdog)),
        "unsupervised": Variant(partial(_step_each, plain, check)),
    }


def _as_it_is(make: Callable[[], gym.Env]) -> SeededEpisodes:
    """Return an environment whose errors are the caller's."""
    return SeededEpisodes(make())


def _step_each(env: InProcessVectorEnv, check: StepCheck) -> None:
    actions = np.arange(N_ENVS) % 2
    for _ in range(STEPS_IN_PROCESS):
        env.step_each(actions, check)


def _step_watched(env: InProcessVectorEnv, check: StepCheck, watchdog: Watchdog) -> None:
    """Step as a run does, with a look of its watchdog each time, which otherwise takes one a second."""
    actions = np.arange(N_ENVS) % 2
    with watchdog.at("collect"):
        for _ in range(STEPS_IN_PROCESS):
            HEARTBEAT.beats += 1
            env.step_each(actions, check)
        watchdog.look()


def render(rows: Sequence[Row]) -> list[str]:
    """Return what a step takes, how the peer compares, and what supervision adds."""
    lines = []
    for name in (*SPACES, IN_PROCESS):
        of_name = [row for row in rows if row["name"] == name]
        if of_name:
            wall, cpu = ([row[kind] for row in of_name] for kind in ("wall", "cpu"))
            lines.append([name, _microseconds(wall, "ours"), _microseconds(wall, "peer"), _peer(wall), _added(cpu)])
    return [
        f"{N_ENVS} environments that only observe, each in a process of its own, and CartPole-v1 in this process. "
        f"Microseconds of one step of all; the peer is Gymnasium's `AsyncVectorEnv`. Supervision: deadlines, typed "
        f"failures and the watchdog, against the same without them, in processor time of all processes. Medians of "
        f"{TURNS} paired turns, and of those the medians of rounds in processes of their own, with [min, max].",
        "",
        *table(("Observations", "Ours", "`AsyncVectorEnv`", "Peer / ours", "Supervision adds"), lines),
    ]


def _microseconds(found: Sequence[Row], variant: str) -> str:
    costs = [row["microseconds"][variant] for row in found if variant in row["microseconds"]]
    return Spread.of(costs).text() if costs else "-"


def _peer(found: Sequence[Row]) -> str:
    ratios = [row["ratios"]["peer"] for row in found if "peer" in row["ratios"]]
    return Spread.of(ratios).text(2) if ratios else "-"


def _added(found: Sequence[Row]) -> str:
    return Spread.of(100 * (1 / row["ratios"]["unsupervised"] - 1) for row in found).text(1) + " %"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description="Measure one row.")
    parser.add_argument("--measure", required=True, metavar="NAME")
    print(json.dumps(measure(parser.parse_args().measure)))


if __name__ == "__main__":
    _main()
