"""A population that learns side by side: generations of learning, and at each barrier exploit and explore.

    generation g: each member learns from the same number of windows, on any executor, and plays the same episodes
    barrier:      in the order of the members, the bottom takes the weights and values of one of the top, disturbed, and
                  all others disturb their values (`optimizers._pbt_rules`)
    then:         weights first, values after them, read back: what is in force stands in the record

Nothing depends on who runs the members, or on which is ready first: decisions, weights and the record are the same.
Where they are asynchronous it does, as there is no barrier: each member goes on as soon as it has been scored, by where
the others stand then.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix._hyperparam_names import hyperparam_table
from tensor_optix.core.search_space import SearchSpace
from tensor_optix.core.storage.atomic import make_directory
from tensor_optix.core.storage.line_log import LineLog
from tensor_optix.core.types import HyperparamSet, Params
from tensor_optix.executors import Event, Executor, Payload
from tensor_optix.executors.executor import Watcher
from tensor_optix.multirun.barriers import Barriers, Kept
from tensor_optix.multirun.files import digest
from tensor_optix.multirun.final_test import FinalTest, Windows, final_test_on
from tensor_optix.multirun.generations import Standing, decided, late
from tensor_optix.multirun.member import LEARN, PLAY
from tensor_optix.optimizers._pbt_rules import PBTStep, moved
from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer
from tensor_optix.presets import preset_for
from tensor_optix.runs import RunDescription

GENERATIONS, TIMINGS = "generations.jsonl", "timings.jsonl"
_VALIDATION, _LAST_TEST = 0, 1
"""Set the episodes of both apart."""
FIRST_SCALE = 0.2
"""By how much of its range a value is disturbed at the start, for all members but the first."""


@dataclasses.dataclass
class Population:
    """The members of a folder.

    Args:
        folder: what holds them.
        run: what each is made of.
        members: how many there are.
        generation_windows: that each learns from in a generation.
        clock: monotonic seconds; no decision depends on it.
        say: told of members that are late.
    """

    folder: Path
    run: RunDescription
    members: int
    generation_windows: int
    clock: Callable[[], float] = time.monotonic
    say: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        make_directory(self.folder)
        self._barriers = Barriers(self.folder)
        self._log, self._timings = LineLog(self.folder / GENERATIONS), LineLog(self.folder / TIMINGS)
        kept = self._barriers.newest()
        self.kept = self._first() if kept is None else kept
        self._log.go_back_to(self.kept.position)

    @property
    def space(self) -> SearchSpace:
        """What is tuned."""
        optimizer = PBTOptimizer()
        optimizer.bind(hyperparam_table(self.run.algorithm).tunable, HyperparamSet(self._preset()))
        return optimizer.search_space or SearchSpace({})

    def _preset(self) -> dict[str, Any]:
        preset = preset_for(self.run.env, self.run.algorithm)
        return hyperparam_table(self.run.algorithm).resolve({**preset.hyperparams, **self.run.hyperparams})

    def _first(self) -> Kept:
        """Return the state before the first generation: the first member has the preset, the others are near it."""
        rng, preset, space = np.random.default_rng(self.run.seed), self._preset(), self.space
        params: list[dict[str, Any]] = [{}]
        for _ in range(1, self.members):
            params.append({name: moved(param, preset[name], FIRST_SCALE, rng) for name, param in space.items()})
        return Kept.first(params, rng)

    @property
    def reason(self) -> str | None:
        """Why it has ended; None while it goes on."""
        kept, run = self.kept, self.run
        best = max((score for score in kept.best_scores if score is not None), default=None)
        if run.target_score is not None and best is not None and best >= run.target_score:
            return "target_score is reached"
        if run.max_steps is not None and kept.steps >= run.max_steps:
            return "max_steps training steps are done"
        if run.max_episodes is not None and kept.generation * self.generation_windows >= run.max_episodes:
            return "max_windows windows of each member are done"
        if kept.generation - kept.improved_in >= run.dormant_threshold:
            return f"no improvement in {run.dormant_threshold} generations"
        return None

    def step(self, executor: Executor, on_event: Watcher) -> None:
        """Learn for a generation, and decide what follows.

        Args:
            executor: runs the members.
            on_event: told what happens to each.

        Raises:
            JobError: a member's job has raised; the generation is taken again when this is called again.
            JobCancelledError: the executor was cancelled; likewise.
        """
        begun, seconds = [0.0] * self.members, [0.0] * self.members

        def watch(event: Event) -> None:
            if event.kind == "begun":
                begun[event.index] = self.clock()
            elif event.kind == "done":
                seconds[event.index] = self.clock() - begun[event.index]
            on_event(event)

        results = executor.map(LEARN, [self._item(member) for member in range(self.members)], watch)
        self._conclude(dict(enumerate(results)))
        self._timings.append({"generation": self.kept.generation, "seconds": seconds})
        for log in (self._log, self._timings):
            log.close()
        for member in late(seconds):
            self.say(f"All waited for member {member}, which took {seconds[member]:.0f} s.")

    def run_asynchronously(self, executor: Executor, on_event: Watcher, on_score: Callable[[], None]) -> None:
        """Learn until it has ended, without barriers: what is decided depends on which member is ready first.

        Args:
            executor: runs the members.
            on_event: told what happens to each.
            on_score: called each time that one has been scored.

        Raises:
            JobError: a member's job has raised; what it was to learn is taken again when this is called again.
            JobCancelledError: the executor was cancelled; likewise.
        """

        def following(place: int, result: Payload) -> Payload | None:
            member = todo[place]
            self._conclude({member: result})
            self._log.close()
            on_score()
            is_over = has_failed or self.reason is not None or self._has_all(member)
            return None if is_over else self._item(member)

        def watch(event: Event) -> None:
            nonlocal has_failed
            has_failed = has_failed or event.kind == "failed"
            on_event(event)

        has_failed = False
        todo = [member for member in range(self.members) if not self._has_all(member)]
        executor.map(LEARN, [self._item(member) for member in todo], watch, following)

    def _has_all(self, member: int) -> bool:
        """Return whether a member has learned from as many windows as it may."""
        windows = self.kept.generations[member] * self.generation_windows
        return self.run.max_episodes is not None and windows >= self.run.max_episodes

    def _about(self, member: int) -> dict[str, object]:
        return {"run": dataclasses.asdict(self.run), "member": member, "generation": self.kept.generations[member]}

    def _item(self, member: int) -> Payload:
        kept, state = self.kept, self._barriers.state(self.kept, member)
        seeds = np.random.default_rng([self.run.seed, _VALIDATION, kept.generations[member]])
        values = {
            **self._about(member),
            "windows": self.generation_windows,
            "seeds": seeds.integers(2**31, size=self.run.val_episodes).tolist(),
            "params": kept.params[member],
            "is_copied": kept.donors[member] is not None,
            "state": None if state is None else state.values["state"],
            "stream": kept.streams[member],
        }
        return Payload(values, {} if state is None else state.tensors)

    def _conclude(self, results: Mapping[int, Payload]) -> None:
        """Decide what some members do next, who have learned in the same generation, and save it."""
        rng, standings = self.kept.generator(), list(self.kept.standings)
        for member, one in results.items():
            standings[member] = Standing.of(one.values)
        steps = decided(self.space, standings, results, rng)
        self._log.append(
            {
                "generation": self.kept.generations[min(results)],
                "members": [
                    {
                        "member": member,
                        **{name: one.values[name] for name in ("score", "returns", "steps")},
                        **{name: _sorted(one.values[name]) for name in ("params", "effective")},
                        "sha256": digest(one.tensors),
                        "then": _told(steps[member]),
                    }
                    for member, one in results.items()
                ],
            }
        )
        self.kept = self._barriers.keep(self.kept, results, steps, rng, self._log.position())

    def test(self, executor: Executor) -> tuple[FinalTest, list[int]]:
        """Let the best policy of each member play the last test; `best` is a place in the members returned.

        Args:
            executor: runs it.
        """
        members = [member for member in range(self.members) if self.kept.best_scores[member] is not None]
        states = {member: self._barriers.best(self.kept, member) for member in members}
        rng = np.random.default_rng([self.run.seed, _LAST_TEST])

        def item(place: int, windows: Windows) -> Payload:
            member, state = members[place], states[members[place]]
            values = {**self._about(member), "windows": windows, "state": state.values["state"]}
            return Payload(values, state.tensors)

        return final_test_on(executor, PLAY, len(members), item, rng, self.run.val_episodes), members

    def best_state(self, member: int) -> Payload:
        """Return the best that a member was, as its job returned it."""
        return self._barriers.best(self.kept, member)


def _told(step: PBTStep) -> dict[str, object]:
    return {"mode": step.mode, "donor": step.donor, "params": _sorted(step.params)}


def _sorted(values: Params) -> dict[str, Any]:
    """Return values by name in one order, also where some of them were read from disk."""
    return dict(sorted(values.items()))
