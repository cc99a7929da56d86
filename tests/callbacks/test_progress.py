"""The live view, and plain lines where there is no terminal."""

import math
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tensor_optix.callbacks.progress import Progress, describe
from tensor_optix.core.decisions.intervals import mean_interval, summary_interval
from tensor_optix.core.loop.parts import LoopStatus
from tensor_optix.core.types import EvalMetrics, HyperparamSet, PlayedWindow, PolicySnapshot
from tests.fakes.statuses import STATUS


def metrics(score: float, **others: float) -> EvalMetrics:
    return EvalMetrics(score, others)


def snapshot(score: float, **others: float) -> PolicySnapshot:
    return PolicySnapshot(
        snapshot_id="s",
        sequence=0,
        window_id=0,
        eval_metrics=metrics(score, **others),
        hyperparams=HyperparamSet({}),
        created_at="2026-01-01T00:00:00",
    )


def rows(**changes: Any) -> Mapping[str, str]:
    return dict(describe(replace(STATUS, **changes)))


# --- what is shown ---


def test_a_run_without_an_evaluation_shows_state_speed_and_the_time_to_the_next_one() -> None:
    assert rows() == {
        "state": "COOLING (5/20 without improvement)",
        "window": "11",
        "steps": "12,000 (3,000/s)",
        "next evaluation": "in 3 windows, 1.0 s",
    }


def test_a_patience_that_grows_with_the_task_is_shown_in_words() -> None:
    found = rows(patience="quiet for 180k of 600k steps")
    assert found["patience"] == "quiet for 180k of 600k steps"
    assert found["state"] == "COOLING"  # it is not counted in evaluations


def test_what_the_budget_of_validation_puts_off_and_cuts_is_shown_once_it_does() -> None:
    assert "validation" not in rows(validation={"steps": 3_000, "put_off": 0, "cut": 0})
    shown = rows(validation={"steps": 3_000, "put_off": 4, "cut": 2})["validation"]
    assert shown == "20% of all, 4 evaluations put off, 2 episodes cut"
    assert rows(validation={"steps": 3_000, "put_off": 0, "cut": 2})["validation"] == "20% of all, 2 episodes cut"


def test_a_score_from_training_windows_is_shown_with_its_interval() -> None:
    shown = rows(metrics=metrics(123.456, score_std_err=7.89, episodes=6.0), span=(0.0, 500.0))
    assert shown["train"] == f"123.5  {summary_interval(123.456, 7.89, 6, (0.0, 500.0)).text(1)}"
    assert "val" not in shown


def test_with_validation_both_scores_are_shown_each_with_its_own_interval() -> None:
    train = {"train_score": 100.0, "train_score_std_err": 3.0, "episodes": 9.0}
    shown = rows(metrics=metrics(90.0, val_score=90.0, score_std_err=2.0, val_episodes=5.0, **train))
    assert shown["train"] == f"100.0  {summary_interval(100.0, 3.0, 9).text(1)}"
    assert shown["val"] == f"90.0  {summary_interval(90.0, 2.0, 5).text(1)}"


def test_the_best_score_so_far_is_unconfirmed() -> None:
    windows = (PlayedWindow(seeds=(1, 2), returns=(1.0, 1.0), score=1.0),) * 5
    best = replace(snapshot(1.0, score_std_err=0.0), evidence=windows)
    interval = mean_interval([1.0] * 10, (0.0, 1.0))
    assert rows(best=best, span=(0.0, 1.0))["best"] == f"1.0  {interval.text(1)}  (10 episodes, unconfirmed)"


def test_the_best_is_no_longer_unconfirmed_after_the_final_evaluation() -> None:
    assert rows(best=snapshot(1.0, score_std_err=0.1, final_episodes=100.0))["best"].endswith("  (100 episodes)")
    assert rows(best=snapshot(1.0, final_episodes=100.0))["best"] == "1.0  (confirmed)"


def test_a_score_whose_error_is_not_known_stands_alone_and_none_is_a_dash() -> None:
    shown = rows(metrics=metrics(1.0, episodes=3.0), best=snapshot(math.nan))
    assert (shown["train"], shown["best"]) == ("1.0", "-  (unconfirmed)")


def test_the_hyperparameter_on_trial_is_shown() -> None:
    assert rows(probed_param="learning_rate", probed_value=0.000312345)["probing"] == "learning_rate=0.0003123"


def test_the_rows_have_one_order() -> None:
    labels = [
        label
        for label, _ in describe(
            replace(
                STATUS,
                metrics=metrics(1.0, val_score=1.0),
                best=snapshot(1.0),
                probed_param="gamma",
                probed_value=0.9,
            )
        )
    ]
    assert labels == ["state", "window", "steps", "train", "val", "best", "probing", "next evaluation"]


def test_a_run_that_has_just_begun_has_no_speed_yet() -> None:
    assert rows(seconds=0.0, env_steps=0, window_id=0)["steps"] == "0 (0/s)"


# --- when it is shown ---


class View:
    """A Progress with a clock and a status to turn by hand."""

    def __init__(self, terminal: bool) -> None:
        self.file = StringIO()
        self.now = 100.0
        self.status = STATUS
        self.asked = 0
        self.takes = 0.0
        self.busy = 1.0
        console = Console(file=self.file, force_terminal=terminal, width=80)
        self.progress = Progress(self._status, console, lambda: self.now, lambda: self.busy * self.now)

    def _status(self) -> LoopStatus:
        self.asked += 1
        self.now += self.takes
        return self.status

    def shown_after(self, seconds: float) -> bool:
        """True if a window that ends so much later is shown."""
        self.now += seconds
        before = self.asked
        self.progress.on_episode_end(0, None)
        return self.asked > before

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


def test_without_a_terminal_there_is_one_plain_line_per_report() -> None:
    view = View(terminal=False)
    view.progress.on_loop_start()
    view.progress.on_episode_end(0, None)
    view.progress.on_loop_stop()
    line = (
        "state=COOLING (5/20 without improvement)  window=11  steps=12,000 (3,000/s)  "
        "next evaluation=in 3 windows, 1.0 s"
    )
    assert view.lines == [line, line]
    assert "\x1b" not in view.file.getvalue()


def test_without_a_terminal_lines_come_every_five_seconds_and_at_the_end() -> None:
    view = View(terminal=False)
    view.progress.on_loop_start()
    assert [view.shown_after(s) for s in (0, 1, 3.9, 0.2, 4.9, 0.2, 60)] == [
        True,
        False,
        False,
        True,
        False,
        True,
        True,
    ]
    assert len(view.lines) == 4
    view.progress.on_loop_stop()
    assert len(view.lines) == 5


def test_in_a_terminal_it_is_drawn_at_most_four_times_a_second() -> None:
    view = View(terminal=True)
    view.progress.on_loop_start()
    assert [view.shown_after(s) for s in (0, 0.1, 0.1, 0.1, 0.2, 0.06)] == [True, False, False, True, False, True]
    view.progress.on_loop_stop()


def test_in_a_terminal_drawing_takes_a_two_hundredth_of_the_time_as_far_as_it_is_seen_every_other_second() -> None:
    view = View(terminal=True)
    view.progress.on_loop_start()
    view.shown_after(0)
    for takes, pause, busy in ((0.005, 1.0, 1.0), (0.5, 2.0, 1.0), (0.001, 0.25, 1.0), (0.001, 1.0, 0.2)):
        view.takes, view.busy = takes, busy
        view.shown_after(10)
        view.shown_after(10)
        assert [view.shown_after(s) for s in (0.9 * pause, 0.2 * pause)] == [False, True]
    view.progress.on_loop_stop()


def test_in_a_terminal_it_is_drawn_and_wiped_and_the_cursor_given_back() -> None:
    view = View(terminal=True)
    view.progress.on_loop_start()
    view.progress.on_episode_end(0, None)
    drawn = view.file.getvalue()
    assert "tensor-optix" in drawn
    assert "COOLING (5/20 without improvement)" in drawn
    assert "\x1b[?25l" in drawn
    view.progress.on_loop_stop()
    closing = view.file.getvalue()[len(drawn) :]
    assert "\x1b[?25h" in closing
    # What was drawn is erased line by line: the view leaves nothing behind.
    assert closing.endswith("\x1b[2K")


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", ["[red]rate[/red]", "[/closing]", "lr[0]"])
def test_a_name_that_looks_like_markup_is_printed_as_it_is(terminal: bool, name: str) -> None:
    view = View(terminal=terminal)
    view.status = replace(STATUS, probed_param=name, probed_value=0.5)
    view.progress.on_loop_start()
    view.progress.on_episode_end(0, None)
    view.progress.on_loop_stop()
    assert f"{name}=0.5" in view.file.getvalue()


def test_it_may_be_opened_again_for_a_second_run() -> None:
    view = View(terminal=True)
    for _ in range(2):
        view.progress.on_loop_start()
        view.now += 1
        view.progress.on_episode_end(0, None)
        view.progress.on_loop_stop()
    assert view.file.getvalue().count("\x1b[?25l") == 2
    assert view.file.getvalue().count("\x1b[?25h") == 2


def test_stopping_what_was_never_started_prints_where_the_run_stands() -> None:
    view = View(terminal=False)
    view.progress.on_loop_stop()
    assert len(view.lines) == 1


def test_a_run_that_ended_before_its_first_window_can_be_shown_and_frees_the_terminal() -> None:
    assert rows(window_id=-1, windows_to_evaluation=1)["next evaluation"] == "in 1 window, 0.0 s"
    assert rows(windows_to_evaluation=0)["next evaluation"] == "due"
