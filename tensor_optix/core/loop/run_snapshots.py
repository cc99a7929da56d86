"""The snapshots that a run writes: its best, the alternatives for the last test, and what that test makes of them."""

from dataclasses import replace

from tensor_optix.core.backoff_scheduler import Effect
from tensor_optix.core.decisions.cut_episodes import limit_of
from tensor_optix.core.decisions.reserve import MOST_RESERVED, NEIGHBOURS, Reserved, thinned
from tensor_optix.core.loop.decider import Act
from tensor_optix.core.loop.outcome import Outcome
from tensor_optix.core.loop.run import Run
from tensor_optix.core.loop.run_ending import confirm, settle
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.loop.scoring import no_score
from tensor_optix.core.loop.validation import Validation
from tensor_optix.core.types import EvalMetrics


class RunSnapshots:
    """Writes them; a part of the controller's hands.

    Args:
        run: what the hands share.
        validation: where the best policies are tested.
    """

    def __init__(self, run: Run, validation: Validation) -> None:
        self._run = run
        self._validation = validation

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return self._run.state

    def write(self, effect: Effect | Act, outcome: Outcome, metrics: EvalMetrics) -> None:
        """Do what a decision asks for: CHECKPOINT, BEGIN_ERA, RESCORE or RESERVE.

        Args:
            effect: which of them.
            outcome: what the window came to.
            metrics: its score.
        """
        if effect is Effect.CHECKPOINT:
            self._checkpoint(outcome, metrics)
        elif effect is Act.BEGIN_ERA:
            self._begin_era(outcome)
        elif effect is Act.RESCORE:
            self._rescore(outcome)
        elif effect is Act.RESERVE:
            self._reserve(outcome, metrics)

    def _checkpoint(self, outcome: Outcome, metrics: EvalMetrics) -> None:
        """Save the policy as the best."""
        registry = self._run.parts.registry
        with self._run.progress.health.surviving_storage("save the best policy"):
            staged = outcome.staged or registry.stage(self._run.slot.agent)
            best = registry.commit(staged, metrics, self._run.state.window_id, outcome.hyperparams, outcome.evidence)
            self._run.change(best=best)
            self._run.callbacks.call("on_improvement", best)

    def _begin_era(self, outcome: Outcome) -> None:
        """Let the scores that snapshots have count no longer, nor those that the optimizer knows."""
        registry, best = self._run.parts.registry, self._run.state.best
        registry.era += 1
        if best is not None and outcome.incumbent is not None:
            self._run.change(best=replace(best, era=registry.era))
        self._run.change(trial=None)
        self._run.parts.optimizer.on_new_learner()

    def _rescore(self, outcome: Outcome) -> None:
        """Save what the best has shown; it may not be the best then."""
        if outcome.incumbent is None or self._run.state.best is None:
            return
        registry, incumbent = self._run.parts.registry, outcome.incumbent
        with self._run.progress.health.surviving_storage("save a new score"):
            rescored = registry.rescore(self._run.state.best, incumbent.metrics, incumbent.evidence)
            # What it was crowned for may have been luck: then another one is the best that is known.
            has_fallen = incumbent.metrics.utility < self._run.state.best.eval_metrics.utility
            self._run.change(best=(registry.best if has_fallen else None) or rescored)

    def _reserve(self, outcome: Outcome, metrics: EvalMetrics) -> None:
        """Save the policy as an alternative for the last test, and drop the one that is needed least."""
        state, registry = self._run.state, self._run.parts.registry
        with self._run.progress.health.surviving_storage("save a policy in reserve"):
            saved = registry.commit(
                registry.stage(self._run.slot.agent),
                metrics,
                state.window_id,
                outcome.hyperparams,
                outcome.evidence,
                in_reserve=True,
            )
            scores = tuple(m.utility for m in state.recent[-(NEIGHBOURS + 1) :])
            new = Reserved(snapshot_id=saved.snapshot_id, steps=state.env_steps, scores=scores)
            most = min(registry.max_snapshots, MOST_RESERVED)
            self._run.change(reserve=thinned((*state.reserve, new), most))

    def settle_at_last(self, *, keeps_own: bool) -> None:
        """Settle which policy is best at the end of a run; the user may ask for an end of these tests, too."""
        self._run.progress.stop_asked = self._run.progress.is_urgent
        self.settle(keeps_own=keeps_own, asks_further=True, is_last=True)

    def confirm(self) -> None:
        """Confirm the best of a run that was cut short, as far as a few seconds allow."""
        self._run.progress.stop_asked = False
        run, registry = self._run, self._run.parts.registry
        try:
            best = confirm(run.state, run.slot.agent, run.parts, run.config, run.progress, self._validation, run.tell)
        except BaseException:
            self._run.change(best=registry.best)
            raise
        finally:
            self._run.progress.stop_asked = True  # whatever follows is not to play
        self._run.change(best=best)
        self._note_cut()

    def settle(self, *, keeps_own: bool, asks_further: bool = False, part: float = 1.0, is_last: bool = False) -> None:
        """Settle which policy is best by long tests.

        Args:
            keeps_own: True to give the acting agent its own policy back.
            asks_further: True to ask a pipeline whose episodes are not fixed by seeds for further ones.
            part: of the budget of validation that may be spent then.
            is_last: True where the run ends with it.
        """
        registry = self._run.parts.registry
        try:
            run = self._run
            best = settle(
                run.state,
                run.slot.agent,
                run.parts,
                run.config,
                run.progress,
                self._validation,
                keeps_own=keeps_own,
                asks_further=asks_further,
                part=part,
                is_last=is_last,
                tell=run.tell,
            )
        except BaseException:
            self._run.change(best=registry.best)  # scores may have been replaced by then
            raise
        self._run.change(best=best, validation=self._validation.spent)
        if not is_last:
            self._note_cut()

    def _note_cut(self) -> None:
        """Note where the episodes behind the score of the best were cut: those to come compare with it."""
        best = self.state.best
        cut_at = limit_of(best.evidence) if best is not None else None
        self._run.change(cut_at=max(self.state.cut_at, cut_at or 0))

    def save_unscored(self) -> None:
        """Save the policy where none could be scored."""
        metrics = self._run.state.metrics or no_score(max(self._run.state.window_id, 0))
        self._run.parts.registry.save(self._run.slot.agent, metrics, self._run.state.window_id)
