import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tensor_optix.core.decisions.escape_records import EscapeOutcome, EscapeRecord
from tensor_optix.core.decisions.final_score import FinalScore
from tensor_optix.core.decisions.intervals import METHOD, ScoreInterval
from tensor_optix.core.training_report import StopReason, TrainingReport, episodes_text, evolution_block, score_text
from tensor_optix.errors import CheckpointCorruptError
from tests.fakes.reports import EVOLVED, NAN, report

UNSCORED = {
    "best_score": NAN,
    "best_std_err": NAN,
    "best_window": None,
    "best_snapshot": None,
    "train_score": NAN,
    "val_score": NAN,
    "generalization_gap": NAN,
    "hyperparams": {},
}


def test_what_validation_cost_is_said_as_far_as_there_was_any() -> None:
    assert "Validation" not in str(report())
    cost = {"steps": 1_000, "put_off": 0, "cut": 0}
    assert "Validation       : 1,000 steps  (25% of all)" in str(report(env_steps=3_000, validation=cost))
    told = str(report(env_steps=3_000, validation={**cost, "put_off": 7, "cut": 2}))
    assert "(25% of all, 7 evaluations put off (--validation-share), 2 episodes cut)" in told


INTERVAL = ScoreInterval(low=495.125, high=499.5, level=0.95, method=METHOD, episodes=100)
CONFIRMED: dict[str, Any] = {"best_interval": INTERVAL, "confirmed": True}


def same(one: TrainingReport, other: TrainingReport) -> bool:
    return repr(one) == repr(other)  # unlike ==, this calls NaN equal to NaN


def test_the_printed_block_tells_tuning_and_evolution() -> None:
    lines = str(report(**EVOLVED)).splitlines()
    for line in (
        "  Tuning probes    : 4  (3 commits, 2.5 s)",
        "  Tuning changes   : 2",
        "  Spawns used      : 2 / no limit  (1 failed)",
        "    [0] weight=1.0000  mean_score=-",
        "    variant 1 of snapshot 000004: new best",
        "        score 5.0000 -> 9.0000 in 12 windows",
        "        learning_rate 0.0003 -> 0.00055",
        "        n_epochs 10 -> 9",
    ):
        assert line in lines, str(report(**EVOLVED))


ESCAPED: dict[str, Any] = {
    "escapes": (
        EscapeRecord(
            name="entropy",
            began_window=30,
            began_step=60_000,
            began_evaluation=20,
            share=15_000,
            score_before=480.0,
            changes={"entropy_coef": (0.01, 0.05)},
        ).ended(EscapeOutcome.GIVEN_UP, window_id=35, env_steps=72_288, score=480.0),
    )
}


TESTED: dict[str, Any] = {
    "test": FinalScore(
        score=-0.25, interval=ScoreInterval(low=-1.0, high=0.5, level=0.95, method="bootstrap", episodes=1), steps=1200
    )
}


FAILED: dict[str, Any] = {
    "failed_episodes": {
        "raised": {f"step: ConnectionError: no answer from the simulator at port {n}": n for n in (1, 2, 3)},
        "hung": {"reset: no answer in 30 s": 1},
    }
}


def test_reasons_of_failures_are_printed_the_most_frequent_first() -> None:
    lines = str(report(**FAILED)).splitlines()
    first = lines.index("  Failed episodes  : 7  (6 raised, 1 hung)")
    assert lines[first + 1 : first + 3] == [
        "    3 x raised in step: ConnectionError: no answer",
        "        from the simulator at port 3",
    ]
    assert lines[first + 7] == "    and 1 more: see report.json"
    assert "Failed episodes" not in str(report())


@pytest.mark.parametrize(
    "fields", [{}, EVOLVED, UNSCORED, CONFIRMED, ESCAPED, TESTED, FAILED, {"val_score": NAN, "generalization_gap": NAN}]
)
def test_a_report_round_trips_through_json_and_nan_survives_as_null(fields: dict[str, Any]) -> None:
    original = report(**fields)
    plain = json.loads(json.dumps(original.to_dict(), allow_nan=False))
    assert same(TrainingReport.from_dict(plain), original)
    known = ("best_window", "best_snapshot", "best_interval", "best_limit", "start_interval", "start_limit")
    optional = (*known, "ahead_of_start", "test")
    assert {name for name, value in fields.items() if value is NAN} == {
        name for name, value in plain.items() if value is None and name not in optional
    }


def test_a_test_that_could_not_be_scored_survives_too() -> None:
    original = report(test=FinalScore(score=NAN, interval=None, steps=5))
    assert same(TrainingReport.from_dict(json.loads(json.dumps(original.to_dict(), allow_nan=False))), original)


def test_the_test_stands_beside_the_best_that_validation_has_chosen() -> None:
    lines = str(report(**TESTED)).splitlines()
    assert "  Test score       : -0.25  [-1.00, 0.50]" in lines
    assert "  Test             : 1,200 steps that nothing was chosen by; 95% bootstrap" in lines
    assert any("unconfirmed" in line for line in lines)
    assert not any("Confirm it" in line for line in lines)


def test_episodes_that_are_all_the_same_are_called_so() -> None:
    (line,) = (line for line in str(report(**CONFIRMED, validation={"alike": 1})).splitlines() if "Tested on" in line)
    assert line.endswith("100 episodes, all the same")


def test_a_report_from_before_there_were_intervals_still_loads() -> None:
    plain = report().to_dict()
    del plain["best_interval"], plain["confirmed"]
    assert same(TrainingReport.from_dict(plain), report())


def test_the_interval_is_plain_json_and_one_that_is_not_as_written_is_refused() -> None:
    plain = report(**CONFIRMED).to_dict()
    assert plain["best_interval"] == {"low": 495.125, "high": 499.5, "level": 0.95, "method": METHOD, "episodes": 100}
    with pytest.raises(CheckpointCorruptError, match=r"best_interval"):
        TrainingReport.from_dict(plain | {"best_interval": {"low": 1.0}})


def test_numpy_numbers_are_written_as_plain_ones() -> None:
    original = report(best_score=np.float32(0.5), env_steps=np.int64(3), hyperparams={"n": np.int32(4)})
    plain = json.loads(json.dumps(original.to_dict(), allow_nan=False))
    assert (plain["best_score"], plain["env_steps"], plain["hyperparams"]) == (0.5, 3, {"n": 4})


@pytest.mark.parametrize("reason", list(StopReason))
def test_only_the_loops_own_decision_is_convergence_and_every_reason_has_its_sentence(reason: StopReason) -> None:
    ended = report(reason=reason.value)
    assert ended.converged is (reason in (StopReason.CONVERGED, StopReason.BUDGET))
    assert f"Reason           : {reason.sentence}" in str(ended)
    assert len({each.sentence for each in StopReason}) == len(StopReason)


@pytest.mark.parametrize(
    ("seconds", "expected"), [({"total": 20.0}, 4096.0), ({"total": 0.0}, NAN), ({}, NAN), ({"learn": 5.0}, NAN)]
)
def test_steps_per_second_count_the_whole_time_and_need_one(seconds: dict[str, float], expected: float) -> None:
    assert report(seconds=seconds).steps_per_second == pytest.approx(expected, nan_ok=True)


def test_the_printed_block() -> None:
    rule = "━" * 54
    assert str(report(**CONFIRMED)).splitlines() == [
        rule,
        "  Training Complete",
        "  Reason           : Converged: no further improvement",
        rule,
        "  Best score       : 498.25  [495.12, 499.50]",
        "  Interval         : 95% bounded Bayesian bootstrap",
        "  Tested on        : 100 episodes",
        "  Found in window  : 12",
        "  Untrained        : 21.50",
        "  Generalization   : 10.0000  (train − val)",
        "  Windows          : 40  (25 evaluated)",
        "  Training steps   : 81,920  (4,096/s)",
        "  Time             : 20.0 s",
        "  Checkpoint       : run/snapshot_000003",
        rule,
    ]


def test_a_best_that_is_not_ahead_of_the_untrained_policy_is_called_so_with_what_to_try() -> None:
    nothing = report(
        reason="nothing_learned", ahead_of_start=False, advice="Explore more. " * 6, start_interval=INTERVAL
    )
    assert str(nothing).splitlines()[-5:] == [
        "━" * 54,
        "  The best is not ahead of the untrained policy.",
        "  Explore more. Explore more. Explore more. Explore",
        "  more. Explore more. Explore more.",
        "━" * 54,
    ]
    assert "  Untrained        : 21.50  [495.12, 499.50]" in str(nothing).splitlines()
    assert "  No episode." in str(report(advice="No episode.")).splitlines()
    for other in (report(ahead_of_start=True), report(), report(**UNSCORED)):
        assert "not ahead" not in str(other)


def test_each_escape_is_told_with_what_it_changed() -> None:
    lines = str(report(**CONFIRMED, **ESCAPED)).splitlines()
    assert lines[-5:-1] == [
        "  Escapes          : 1",
        "    entropy: given up after 12,288 steps",
        "        score 480.0000 -> 480.0000",
        "        entropy_coef 0.01 -> 0.05",
    ]


def test_an_unconfirmed_best_is_called_so_with_its_episodes_and_what_confirms_it() -> None:
    interval = replace(INTERVAL, episodes=10)
    lines = str(report(best_interval=interval, checkpoint_dir="a run")).splitlines()
    assert "  Tested on        : 10 episodes, unconfirmed" in lines
    assert "  Confirm it: tensor-optix evaluate 'a run' --confirm" in lines
    assert "  Tested on        : unconfirmed" in str(report()).splitlines()
    for other in (report(**CONFIRMED), report(**UNSCORED)):
        assert "nconfirmed" not in str(other)
        assert "--confirm" not in str(other)


def test_what_no_command_can_confirm_is_said_to_be_confirmed_in_python() -> None:
    found = report(is_confirmable=False)
    assert "--confirm" not in str(found)
    assert " ".join(found.confirming("a run")).startswith("Confirm it in the program that made the run: give it a test")
    assert TrainingReport.from_dict(found.to_dict()) == found


HEADINGS = {
    StopReason.STOPPED: "Training Stopped",
    StopReason.INTERRUPTED: "Training Interrupted",
    StopReason.ERROR: "Training Failed",
    StopReason.NOTHING_LEARNED: "Nothing Learned",
}


@pytest.mark.parametrize("reason", list(StopReason))
def test_training_complete_stands_over_complete_training_only(reason: StopReason) -> None:
    heading = HEADINGS.get(reason, "Training Complete")
    assert (heading == "Training Complete") is (reason.is_final and reason is not StopReason.NOTHING_LEARNED)
    assert str(report(reason=reason.value)).splitlines()[1] == f"  {heading}"
    evolution = EVOLVED["evolution"]
    assert evolution_block(evolution, reason.sentence).splitlines()[1] == f"  {heading}"


@pytest.mark.parametrize("reason", [StopReason.MAX_STEPS, StopReason.MAX_EPISODES, StopReason.EXHAUSTED])
def test_a_bound_that_ends_a_training_in_vain_is_no_complete_training(reason: StopReason) -> None:
    in_vain = report(reason=reason.value, ahead_of_start=False, advice="Train longer first.")
    lines = str(in_vain).splitlines()
    assert (lines[1], lines[2]) == ("  Nothing Learned", f"  Reason           : {reason.sentence}")
    assert "Nothing Learned" in in_vain._repr_html_()
    at_target = report(reason=reason.value, ahead_of_start=False, advice="")
    assert at_target.heading == "Training Complete"


def test_an_end_that_was_asked_for_keeps_its_heading() -> None:
    asked = report(reason="interrupted", ahead_of_start=False, advice="Train longer first.")
    assert asked.heading == "Training Interrupted"


def test_a_best_whose_episodes_were_cut_says_where() -> None:
    lines = str(report(best_limit=1_200)).splitlines()
    assert next(line for line in lines if "Best score" in line).endswith(", cut after 1,200 steps")
    assert "cut after" not in str(report())


@pytest.mark.parametrize(
    ("score", "interval", "digits", "text"),
    [
        (498.25, INTERVAL, 1, "498.2  [495.1, 499.5]"),
        (498.25, None, 2, "498.25"),
        (NAN, None, 2, "-"),
        (-math.inf, None, 2, "-"),
    ],
)
def test_a_score_is_printed_with_its_interval_where_it_has_one(
    score: float, interval: ScoreInterval | None, digits: int, text: str
) -> None:
    assert score_text(score, interval, digits) == text


@pytest.mark.parametrize(
    ("episodes", "confirmed", "text"),
    [
        (1, False, "1 episode, unconfirmed"),
        (1200, True, "1,200 episodes"),
        (None, False, "unconfirmed"),
        (None, True, "confirmed"),
    ],
)
def test_how_a_best_was_tested_is_told(episodes: int | None, confirmed: bool, text: str) -> None:
    interval = None if episodes is None else replace(INTERVAL, episodes=episodes)
    assert episodes_text(interval, confirmed=confirmed) == text


def test_the_block_of_an_evolution_is_the_one_of_the_first_description() -> None:
    agents = ((2.41, 0.871), (1.03, 0.724), (0.56, 0.612))
    evolution = {
        "best_score": 0.8732,
        "val_score": 0.8612,
        "generalization_gap": 0.012,
        "spawns_used": 3,
        "max_spawns": 3,
        "failed_spawns": 0,
        "pruned": 1,
        "ensemble_size": 3,
        "regime": "trending",
        "agents": [{"index": i, "weight": w, "mean_score": score} for i, (w, score) in enumerate(agents)],
        "lineage": [],
    }
    assert evolution_block(evolution, StopReason.BUDGET.sentence) == (
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━\n"
        "  Training Complete\n"
        "  Reason           : Spawn budget exhausted\n"
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━\n"
        "  Best score       : 0.8732\n"
        "  Val score        : 0.8612\n"
        "  Generalization   : 0.0120  (train − val)\n"
        "  Spawns used      : 3 / 3\n"
        "  Pruned agents    : 1\n"
        "  Ensemble size    : 3\n"
        "  Regime           : trending\n"
        "  Agents           :\n"
        "    [0] weight=2.4100  mean_score=0.8710\n"
        "    [1] weight=1.0300  mean_score=0.7240\n"
        "    [2] weight=0.5600  mean_score=0.6120\n"
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━"
    )


@pytest.mark.parametrize("reason", list(StopReason))
def test_no_line_is_wider_than_the_rules(reason: StopReason) -> None:
    rule, *lines = str(report(**EVOLVED, best_interval=INTERVAL, reason=reason.value)).splitlines()
    assert all(len(line) <= len(rule) for line in lines)


def test_only_the_tuning_that_there_was_is_told() -> None:
    assert "Tuning" not in str(report())
    changed = str(report(tuning={"changes": 5.0}))
    assert "  Tuning changes   : 5\n" in changed
    assert "probes" not in changed
    assert "  Tuning probes    : 1  (0 commits, 0.0 s)\n" in str(report(tuning={"probes": 1.0}))


def test_the_printed_block_of_a_run_that_found_nothing_says_so() -> None:
    printed = str(report(**UNSCORED, reason="stopped"))
    assert "Reason           : stop() was called" in printed
    assert "Best score       : none (no episode was completed)" in printed
    assert "Found in window  : -" in printed
    assert "Checkpoint       : -" in printed
    assert "Generalization" not in printed
    assert "nan" not in printed


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"evaluations": 3}, "no episode was completed"),
        ({"evaluations": 0, "validation": {"put_off": 2}}, "evaluations were put off"),
        ({"evaluations": 0, "validation": {"put_off": 0}}, "nothing was evaluated"),
    ],
)
def test_why_there_is_no_score_is_said(fields: dict[str, Any], reason: str) -> None:
    assert f"Best score       : none ({reason})\n" in str(report(**{**UNSCORED, **fields}))


def test_a_score_that_is_not_finite_is_told_with_its_origin() -> None:
    told = "SharpeOfTheLastQuarter.score of held-out episodes gave nan"
    printed = str(report(**{**UNSCORED, "evaluations": 3, "not_finite": told}))
    lines = printed.splitlines()
    at = lines.index("  Best score       : none (the score is not finite)")
    assert " ".join(line.strip() for line in lines[at + 1 : at + 3]) == told
    assert all(len(line) <= len(lines[0]) for line in lines)


def test_an_unknown_interval_of_the_score_is_not_printed() -> None:
    assert "Best score       : 498.25\n" in str(report())


def test_a_report_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(AttributeError):
        report().best_score = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("score", "digits", "text"),
    [
        (-0.0055, 2, "-0.0055"),
        (0.000123, 2, "0.00012"),
        (0.0, 2, "0.00"),
        (0.1942, 2, "0.19"),
        (500.0, 2, "500.00"),
        (-85.123, 1, "-85.1"),
        (0.0312, 1, "0.03"),
    ],
)
def test_a_small_score_is_printed_with_its_significant_digits(score: float, digits: int, text: str) -> None:
    assert score_text(score, None, digits) == text


def test_a_notebook_shows_the_same_as_a_table() -> None:
    shown = report(checkpoint_dir="runs/<b>x</b>", **CONFIRMED)._repr_html_()
    assert shown.startswith("<div><strong>")
    for label in ("Reason", "Best score", "Training steps"):
        assert f">{label}</th>" in shown
    assert "<b>" not in shown


def test_what_a_file_says_cannot_speak_to_the_terminal_that_shows_the_report() -> None:
    nasty = "\x1b[2J\x1b]0;title\x07\nWARNING root: forged"
    shown = report(
        stopped_because=nasty,
        best_snapshot=nasty,
        advice=nasty,
        ahead_of_start=False,
        allow_module=nasty,
        checkpoint_dir=nasty,
    )
    usual = report(stopped_because="x", advice="y", ahead_of_start=False)
    for text in (str(shown), shown._repr_html_()):
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "\nWARNING" not in text
    assert len(str(shown).splitlines()) <= len(str(usual).splitlines()) + 1
    assert len(str(report(stopped_because="x" * 900_000))) < 5_000
