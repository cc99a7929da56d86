"""The last test of a learner: a race chooses the best of all that might be it, and long tests confirm it.

    1. whoever could be the best by what is known races: the snapshots, the policies in reserve and the last one play
       the same fresh episodes, in rounds that grow; after each the clearly worse drop out, and after all but the first,
       which is short, half of the close ones
    2. the winner plays as many fresh episodes again. Its score becomes what it scored there: the highest of several
       scores is too high, and a score that was chosen for is none to report
    3. only if that is below the lower bound of another finalist, that one is confirmed too, if there are steps left
    4. the best of those begins an era: scores that policies were chosen by do not compare with a confirmed one

What was not confirmed keeps the rank that it had, and what is in reserve has none: the few episodes that nobody
challenged are no evidence beside the tests of the others.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import PlaysSeeds
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.intervals import span_of
from tensor_optix.core.decisions.racing import plausible, survivors
from tensor_optix.core.decisions.ranking import lower_bound
from tensor_optix.core.loop.contender import Contender, could_be_first, known_scores, mean_of, raced_scores
from tensor_optix.core.loop.run_events import last_test_facts, played_facts
from tensor_optix.core.loop.selection import Tested, play, rescored
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import BadDataError, CheckpointCorruptError
from tensor_optix.support.numbers import finite_or_zero

logger = logging.getLogger(__name__)

LEADER_WINDOWS = 20
"""Validation windows that confirm a snapshot."""
SHORT_WINDOWS = 4
"""The same, where a run was cut short."""
ROUNDS = (1, 2, 3, 6, 12)
"""Validation windows per snapshot in each round of the race; after the first one only the clearly worse drop out."""
MOST_RACING = 16
"""Snapshots in the first round."""
MOST_CONFIRMED = 3
"""Snapshots that are confirmed at most."""
RACE_SHARE = 2 / 3
"""Of the steps of the last test, for the race."""
LEADER_STEPS = 100_000
"""No further window is played for a snapshot that has already used this many steps; a race takes no more in all."""


def _tell_nobody(kind: str, **facts: object) -> None:
    """Write nothing."""


def evaluate_leaders(
    agent: BaseAgent,
    registry: CheckpointRegistry,
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    is_stopped: Callable[[], bool],
    alternatives: Sequence[Contender] = (),
    *,
    windows: int = LEADER_WINDOWS,
    most_steps: float = math.inf,
    window_steps: float = 0.0,
    tell: Callable[..., None] = _tell_nobody,
) -> PolicySnapshot | None:
    """Test whoever might be the best, and return the best; another one's weights may be in the agent then.

    Each snapshot races and is confirmed once at most, so that it ends. A damaged one is reported and passed over.

    Args:
        agent: who plays; its weights are replaced.
        registry: the snapshots.
        pipeline: where they are played.
        evaluator: what scores them.
        is_stopped: True as soon as the user wants an end: the leader by then is returned.
        alternatives: those that do not rank, with the scores that they claim.
        windows: of episodes that confirm a policy.
        most_steps: of all that is played, but for the winner's confirmation; the race is bounded by what that leaves.
        window_steps: that a window is expected to take.
        tell: writes the tests to the records of the run; see `run_events`.
    """
    test = _LastTest(agent, registry, pipeline, evaluator, is_stopped, tell, windows, window_steps, most_steps)
    return test.run(alternatives)


def confirm_leaders(
    agent: BaseAgent,
    registry: CheckpointRegistry,
    pipeline: PlaysSeeds,
    evaluator: BaseEvaluator,
    is_stopped: Callable[[], bool],
    tell: Callable[..., None] = _tell_nobody,
) -> PolicySnapshot | None:
    """Confirm the first of the ranking by a short test, for a run that was cut short, and return the best.

    The next ones are confirmed, too, while what the others have shown is below their lower bound. A test that is not
    played to its end is none.

    Args:
        agent: who plays; its weights are replaced.
        registry: the snapshots.
        pipeline: where they are played.
        evaluator: what scores them.
        is_stopped: True as soon as there is no time left.
        tell: writes the tests to the records of the run; see `run_events`.
    """
    return _LastTest(agent, registry, pipeline, evaluator, is_stopped, tell, SHORT_WINDOWS).run_short()


@dataclasses.dataclass
class _LastTest:
    agent: BaseAgent
    registry: CheckpointRegistry
    pipeline: PlaysSeeds
    evaluator: BaseEvaluator
    is_stopped: Callable[[], bool]
    tell: Callable[..., None]
    windows: int = LEADER_WINDOWS
    window_steps: float = 0.0
    most_steps: float = math.inf
    damaged: set[str] = dataclasses.field(default_factory=set[str])
    played_steps: int = 0
    played_windows: int = 0

    def run(self, alternatives: Sequence[Contender]) -> PolicySnapshot | None:
        try:
            self._confirm(self._race(alternatives))
        except BadDataError as error:
            logger.warning("The best policies are not tested any further: %s", error)
        return next(iter(self._evident()), None)

    def run_short(self) -> PolicySnapshot | None:
        try:
            self._confirm(self._ranking())
        except BadDataError as error:
            logger.warning("The best policy is not tested: %s", error)
        return next(iter(self._evident()), None)

    def _ranking(self) -> list[Contender]:
        """Return those that rank, of the newest era."""
        ranking = self._evident()
        errors = [finite_or_zero(s.eval_metrics.utility_std_err) for s in ranking]
        those = [(s, error) for s, error in zip(ranking, errors, strict=True) if s.era == ranking[0].era]
        return [Contender(snapshot, known_scores(snapshot), error) for snapshot, error in those]

    def _evident(self) -> list[PolicySnapshot]:
        return [s for s in self.registry.ranked_snapshots if s.snapshot_id not in self.damaged]

    # --- the race ---

    def _race(self, alternatives: Sequence[Contender]) -> list[Contender]:
        """Return who is left, the winner first; without a race where windows have no grades, and these decide."""
        ranking, max_steps = self._ranking(), min(RACE_SHARE * self.most_steps, LEADER_STEPS)
        if any(one.snapshot.eval_metrics.grade is not None for one in ranking):
            return ranking
        running = could_be_first([*ranking, *alternatives])[:MOST_RACING]
        for number, windows in enumerate(ROUNDS):
            # In the first two rounds those with the worst prospects may be left out; there are both, or none.
            least = len(running) * windows if number > 1 else 2 * sum(ROUNDS[number:2])
            if self.is_stopped() or len(running) < 2 or not self._affords(least, max_steps):
                break
            played = self._round(running, windows, max_steps)
            if self.is_stopped():
                break
            # What they were chosen by counts no more: a lucky one would live on it for rounds.
            chosen = (survivors if number else plausible)([one.raced for one in played])
            running = [played[i] for i in chosen]
            self._tell_round(number + 1, played, running)
            if number and len({score for one in running for score in one.raced}) == 1:
                break  # they have reached the ceiling together
        return running

    def _round(self, running: Sequence[Contender], windows: int, max_steps: float) -> list[Contender]:
        """Let them play as many windows each, as far as the steps allow, and return who has."""
        seeds = [self.pipeline.fresh_seeds() for _ in range(windows)]
        played: list[Contender] = []
        for one in running:
            if not self._affords(windows, max_steps):
                break
            tested = self._play(one.snapshot, seeds)
            if tested is not None:
                one.raced += raced_scores(one.snapshot, tested.evidence)
                one.newest = tested.evidence
                played.append(one)
        return played

    def _tell_round(self, number: int, played: Sequence[Contender], staying: Sequence[Contender]) -> None:
        kept = {one.snapshot.snapshot_id for one in staying}
        policies = [
            played_facts(
                one.snapshot,
                one.newest,
                "stays" if one.snapshot.snapshot_id in kept else "out",
                score=one.snapshot.eval_metrics.sign * mean_of(one.raced),
            )
            for one in played
        ]
        self.tell("last_test", **last_test_facts("race", [one.newest for one in played], policies, round=number))

    def _affords(self, windows: int, max_steps: float) -> bool:
        """Return whether so many more windows may be played."""
        per_window = self.played_steps / self.played_windows if self.played_windows else self.window_steps
        return self.played_steps + per_window * windows <= max_steps

    # --- the confirmation ---

    def _confirm(self, finalists: Sequence[Contender]) -> None:
        seeds = [self.pipeline.fresh_seeds() for _ in range(self.windows)]
        confirmed: list[PolicySnapshot] = []
        for one in finalists:
            shown = max((s.eval_metrics.utility for s in confirmed), default=-math.inf)
            if self.is_stopped() or len(confirmed) >= MOST_CONFIRMED:
                break
            if confirmed and not lower_bound(one.raced or one.known, span_of([*one.known, *one.raced])) > shown:
                continue
            if confirmed and not self._affords(self.windows, self.most_steps):
                break
            tested = self._play(one.snapshot, seeds)
            if tested is not None:
                metrics = _confirmed(one.snapshot.eval_metrics, tested.score(self.evaluator), tested.episodes)
                confirmed.append(self.registry.rescore(one.snapshot, metrics, tested.evidence))
        if confirmed:
            best = max(confirmed, key=lambda snapshot: snapshot.eval_metrics.utility)
            self.registry.era += 1
            self.registry.rescore(dataclasses.replace(best, era=self.registry.era), best.eval_metrics, best.evidence)
            self._tell_confirmation(confirmed, best)

    def _tell_confirmation(self, confirmed: Sequence[PolicySnapshot], best: PolicySnapshot) -> None:
        policies = [
            played_facts(
                one,
                one.evidence,
                "best" if one.snapshot_id == best.snapshot_id else "behind",
                score=one.eval_metrics.primary_score,
                std_err=one.eval_metrics.std_err,
                selection_score=one.eval_metrics.metrics["selection_score"],
            )
            for one in confirmed
        ]
        self.tell("last_test", **last_test_facts("confirmation", [one.evidence for one in confirmed], policies))

    def _play(self, snapshot: PolicySnapshot, seeds: Sequence[Sequence[int]]) -> Tested | None:
        """Play a snapshot; None where it is damaged or the test was cut short, which is none then."""
        try:
            self.registry.load(snapshot, self.agent)
        except CheckpointCorruptError as error:
            logger.warning("Snapshot %s is passed over: %s", snapshot.snapshot_id, error)
            self.damaged.add(snapshot.snapshot_id)
            return None
        tested = play(self.pipeline, self.evaluator, seeds, max_steps=LEADER_STEPS, is_stopped=self.is_stopped)
        if self.is_stopped():
            return None
        self.played_steps, self.played_windows = self.played_steps + tested.steps, self.played_windows + len(seeds)
        return tested


def _confirmed(selected: EvalMetrics, final: EvalMetrics, episodes: int) -> EvalMetrics:
    """Return the final score in place of the one that the snapshot was selected by, which is kept beside it."""
    return rescored(selected, final, selection_score=selected.primary_score, final_episodes=float(episodes))
