"""What a run came to, as data and as the printed block."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tensor_optix._printed_block import WIDTH, Row, block, escape_rows, evolution_rows, failure_rows, number
from tensor_optix.core.decisions.escape_records import EscapeRecord
from tensor_optix.core.decisions.final_score import FinalScore
from tensor_optix.core.decisions.intervals import ScoreInterval
from tensor_optix.core.decisions.validation_budget import cost_text
from tensor_optix.core.stop_reason import StopReason as StopReason
from tensor_optix.support.commands import confirm_command
from tensor_optix.support.html import table
from tensor_optix.support.numbers import decimals_of
from tensor_optix.support.plain import jsonable
from tensor_optix.support.schemas import rebuilt

NOT_AHEAD = "The best is not ahead of the untrained policy."
CONFIRMED_IN_PYTHON = (
    "Confirm it in the program that made the run: give it a test_pipeline, or play its load_policy on episodes or data "
    "that the run has not met."
)
"""What can be done where no command can."""
_WATCHED = ("wakes", "drifts", "degradations", "trials", "promotions", "demotions")


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """Why a run ended, what it found and what it cost."""

    reason: str
    """Value of the `StopReason`."""
    best_score: float
    """Score of the best snapshot; NaN where nothing could be scored."""
    best_std_err: float
    """Standard error of that score (`ScoreInterval.std_err`); NaN where it is not known."""
    best_window: int | None
    """Window in which it was found."""
    best_snapshot: str | None
    """Folder of the best snapshot."""
    train_score: float
    """Training score of the last evaluation."""
    val_score: float
    """Validation score of the last evaluation; NaN without validation."""
    generalization_gap: float
    """Training minus validation score of the best snapshot."""
    windows: int
    evaluations: int
    env_steps: int
    """Training steps; validation is not counted."""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """Wall time: `total`, `collect` (environment and acting), `learn`, `validate`, `loop` (all the rest)."""
    hyperparams: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The values of the best snapshot."""
    checkpoint_dir: str = ""
    tuning: dict[str, float] = field(default_factory=dict[str, float])
    """What tuning did and cost: probes, commits by decision, windows and seconds collected during a probe."""
    watch: dict[str, int] = field(default_factory=dict[str, int])
    """Counts of the watch: windows, wakes, drifts, degradations, trials, promotions, demotions."""
    health: dict[str, int] = field(default_factory=dict[str, int])
    """How often each kind of fault was survived: window, divergence, evaluator, suggestion, storage, learn, ..."""
    failed_episodes: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Those that were left because their environment failed: by how it failed, and by reason, how many."""
    evolution: dict[str, Any] = field(default_factory=dict[str, Any])
    """`PolicyManager.training_report()`; empty without evolution."""
    best_interval: ScoreInterval | None = None
    """Where the mean return of the best policy lies; None where too little is known of it."""
    best_limit: int | None = None
    """Steps after which its longest episodes were cut; None where none was."""
    confirmed: bool = False
    """True if the best was tested on fresh episodes after the training; otherwise it may owe its score to luck."""
    confirmation: dict[str, int] = field(default_factory=dict[str, int])
    """`seed` and `episodes` of what `tensor-optix evaluate --confirm` played; empty where the run tested the best."""
    validation: dict[str, int] = field(default_factory=dict[str, int])
    """Of validation: `steps`, evaluations `put_off` (of them `by_clock`), episodes `cut`; `alike`: 1 = all the same."""
    stopped_because: str = ""
    """How far the patience was used up at the end, such as "quiet for 9k of 9k steps"; empty without evaluations."""
    escapes: tuple[EscapeRecord, ...] = ()
    """What was tried before the run converged, in the order of time."""
    start_score: float = math.nan
    """Score of the untrained policy, or else that of the first window; NaN where it is not known."""
    start_std_err: float = math.nan
    """Standard error of that score; NaN where it is not known."""
    start_interval: ScoreInterval | None = None
    """Where the mean return of the untrained policy lies; None where too little is known of it."""
    start_limit: int | None = None
    """Steps after which its episodes were cut; None where none was."""
    ahead_of_start: bool | None = None
    """Whether the best policy is ahead of the untrained one; None where nothing tells."""
    allow_module: str = ""
    """Module or file that the name of the environment imports; the commands that are printed allow it."""
    is_confirmable: bool = True
    """False where `tensor-optix evaluate --confirm` cannot play the run: it has no environment with a name, as a live
    feed, or an evaluator of its own."""
    advice: str = ""
    """What to try where it is not."""
    not_finite: str = ""
    """Whose scores were NaN or infinite, where nothing became the best for that; empty otherwise."""
    test: FinalScore | None = None
    """What the best is worth on the test pipeline, by which nothing was chosen; None without one, or before the end."""

    @property
    def converged(self) -> bool:
        """True if the loop itself decided that the model is trained, and it has learned something."""
        return self.reason in (StopReason.CONVERGED.value, StopReason.BUDGET.value)

    @property
    def steps_per_second(self) -> float:
        """Training steps per second of wall time, validation included in the time."""
        return self.env_steps / self.seconds["total"] if self.seconds.get("total") else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; what is not finite becomes None."""
        return {name: jsonable(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`; raises `CheckpointCorruptError` naming the field that is not what it wrote."""
        return rebuilt(cls, data)

    @property
    def heading(self) -> str:
        """What stands over it; "Training Complete" only where nothing is left to do and the training was of use."""
        reason = StopReason(self.reason)
        is_in_vain = reason.is_final and self.ahead_of_start is False and bool(self.advice)
        return (StopReason.NOTHING_LEARNED if is_in_vain else reason).heading

    def __str__(self) -> str:
        return block(self.heading, self._rows())

    def _repr_html_(self) -> str:
        """Return the same as a table, as notebooks show it."""
        rows = [(row[0] or "", row[1]) for row in self._rows() if row is not None]
        return table(self.heading, rows)

    def _rows(self) -> list[Row]:
        speed = f"  ({self.steps_per_second:,.0f}/s)" if math.isfinite(self.steps_per_second) else ""
        rows: list[Row] = [
            ("Reason", StopReason(self.reason).sentence),
            *([("Patience", self.stopped_because)] if self.stopped_because else []),
            None,
            *self._score_rows(),
            ("Found in window", "-" if self.best_window is None else str(self.best_window)),
        ]
        if math.isfinite(self.start_score):
            start = score_text(self.start_score, self.start_interval)
            rows.append(("Untrained", start + cut_text(self.start_limit)))
        if math.isfinite(self.generalization_gap):
            rows.append(("Generalization", f"{number(self.generalization_gap)}  (train − val)"))
        rows += [
            ("Windows", f"{self.windows}  ({self.evaluations} evaluated)"),
            ("Training steps", f"{self.env_steps:,}{speed}"),
            *_validation_rows(self.validation, self.env_steps),
            ("Time", f"{self.seconds.get('total', 0.0):.1f} s"),
            ("Checkpoint", self.best_snapshot or "-"),
        ]
        rows += _tuning_rows(self.tuning)
        rows += escape_rows(self.escapes)
        rows += _watch_rows(self.watch)
        rows += failure_rows(self.failed_episodes)
        if self.evolution:
            rows += [None, *evolution_rows(self.evolution)]
        return [*rows, *self._advice_rows()]

    def _score_rows(self) -> list[Row]:
        if not math.isfinite(self.best_score):
            lines = textwrap.wrap(self.not_finite, WIDTH - 4)
            return [("Best score", f"none ({self._why_no_score})"), *((None, f"  {line}") for line in lines)]
        interval = self.best_interval
        rows: list[Row] = [("Best score", score_text(self.best_score, interval) + cut_text(self.best_limit))]
        if interval is not None:
            rows.append(("Interval", f"{interval.level:.0%} {interval.method}"))
            text = episodes_text(interval, confirmed=self.confirmed)
            rows.append(("Tested on", f"{text}, all the same" if self.validation.get("alike") else text))
        elif not self.confirmed:
            rows.append(("Tested on", episodes_text(None, confirmed=False)))
        if self.test is not None:
            rows += [("Test score", score_text(self.test.score, self.test.interval)), ("Test", self.test.text)]
        elif not self.confirmed:
            rows += [(None, line) for line in self.confirming(self.checkpoint_dir)]
        return rows

    @property
    def _why_no_score(self) -> str:
        if self.not_finite:
            return "the score is not finite"
        if self.evaluations:
            return "no episode was completed"
        return "evaluations were put off" if self.validation.get("put_off") else "nothing was evaluated"

    def confirming(self, run_dir: str) -> list[str]:
        """Return how a best that is unconfirmed can be confirmed, in lines.

        Args:
            run_dir: the folder of the run, as the reader names it.
        """
        if self.is_confirmable:
            return [f"Confirm it: {confirm_command(run_dir, self.allow_module)}"]
        return textwrap.wrap(CONFIRMED_IN_PYTHON, WIDTH - 2)

    def _advice_rows(self) -> list[Row]:
        text = "" if self.ahead_of_start is not False else f"{NOT_AHEAD} {self.advice}"
        lines = textwrap.wrap(text or self.advice, WIDTH - 2)
        return [None, *((None, line) for line in lines)] if lines else []


def score_text(score: float, interval: ScoreInterval | None, digits: int = 2) -> str:
    """Return `score  [low, high]`, or the score alone where its interval is not known, or `-` for no score.

    Args:
        score: the score.
        interval: where the true one lies.
        digits: decimals at least, and significant digits at least.
    """
    if not math.isfinite(score):
        return "-"
    digits = decimals_of(score, digits)
    return f"{score:.{digits}f}" if interval is None else f"{score:.{digits}f}  {interval.text(digits)}"


def cut_text(limit: int | None) -> str:
    """Return what is added to a score where its episodes were cut.

    Args:
        limit: steps after which they were; None = none was.
    """
    return "" if limit is None else f", cut after {limit:,} steps"


def episodes_text(interval: ScoreInterval | None, *, confirmed: bool) -> str:
    """Return on how many episodes a best was tested, and that it is unconfirmed where it is.

    Args:
        interval: of its score; None where it is not known.
        confirmed: True if it was tested on fresh episodes after the training.
    """
    episodes = [] if interval is None else [f"{interval.episodes:,} episode{'s' * (interval.episodes != 1)}"]
    return ", ".join([*episodes, *([] if confirmed else ["unconfirmed"])]) or "confirmed"


def evolution_block(evolution: Mapping[str, Any], reason: str) -> str:
    """Return the printed block of `PolicyManager.training_report()`.

    Args:
        evolution: the report as data.
        reason: why the run ended, in words.
    """
    best, val, gap = (evolution[name] for name in ("best_score", "val_score", "generalization_gap"))
    rows: list[Row] = [
        ("Reason", reason),
        None,
        ("Best score", number(best)),
        ("Val score", number(val)),
        ("Generalization", f"{number(gap)}  (train − val)"),
        *evolution_rows(evolution),
    ]
    headings = {each.sentence: each.heading for each in StopReason}
    return block(headings.get(reason, "Training Complete"), rows)


def watch_text(watch: Mapping[str, int]) -> str:
    """Return the counts of the watch in words."""
    counts = [f"{watch[name]} {name}" for name in _WATCHED if name in watch]
    return ", ".join([f"{watch.get('windows', 0)} windows", *counts])


def _watch_rows(watch: Mapping[str, int]) -> list[Row]:
    rows: list[Row] = []
    if watch:
        rows.append(("Watched", f"{watch.get('windows', 0)} windows  (woken {watch.get('wakes', 0)} times)"))
    if "trials" in watch:
        ended = f"{watch.get('promotions', 0)} promoted, {watch.get('demotions', 0)} demoted"
        rows.append(("Challengers", f"{watch['trials']}  ({ended})"))
    return rows


def _validation_rows(validation: Mapping[str, int], training_steps: int) -> list[Row]:
    if not (steps := validation.get("steps", 0)):
        return []
    return [("Validation", f"{steps:,} steps  ({cost_text(validation, training_steps, '--validation-share')})")]


def _tuning_rows(tuning: Mapping[str, float]) -> list[Row]:
    rows: list[Row] = []
    if "probes" in tuning:
        cost = f"{tuning.get('commits', 0):.0f} commits, {tuning.get('probing_seconds', 0.0):.1f} s"
        rows.append(("Tuning probes", f"{tuning['probes']:.0f}  ({cost})"))
    if "changes" in tuning:
        rows.append(("Tuning changes", f"{tuning['changes']:.0f}"))
    return rows
