"""What has become of the escapes of a run, and what they have left in force."""

from dataclasses import replace

import pytest

from tensor_optix.core.decisions.escape_records import (
    EscapeOutcome,
    EscapeRecord,
    failed_since_kept,
    mean_window,
    other_algorithm,
    running,
    window_size_in_force,
    windows_left,
    with_best,
)
from tests.fakes.escapes import over, record


def test_the_last_one_is_in_progress_until_it_has_ended() -> None:
    first, second = over("restart", 100), record("entropy")
    assert running([]) is None
    assert running([first]) is None
    assert running([first, second]) == second
    assert first.steps == 100


@pytest.mark.parametrize(("env_steps", "windows"), [(1000, 4), (1050, 3), (1051, 2), (1200, 0), (1500, 0)])
def test_whole_windows_are_left_to_it(env_steps: int, windows: int) -> None:
    assert windows_left(record(), env_steps, 50) == windows


def test_longer_windows_are_fewer() -> None:
    longer = record(changes={"window_size": (50, 200)})
    assert (longer.stretch, record().stretch) == (4.0, 1.0)
    assert windows_left(longer, 1000, 50) == 1
    assert windows_left(longer, 1001, 50) == 0


def test_windows_are_as_long_as_the_last_escape_that_stands_has_made_them() -> None:
    def longer(before: int, outcome: EscapeOutcome) -> EscapeRecord:
        return replace(over("window", 100, outcome), changes={"window_size": (before, 4 * before)})

    kept, other = longer(50, EscapeOutcome.KEPT), over("restart", 10)
    assert window_size_in_force([]) is window_size_in_force([other]) is None
    assert window_size_in_force([kept, other]) == 200
    assert window_size_in_force([longer(50, EscapeOutcome.RUNNING)]) == 200
    assert window_size_in_force([longer(50, EscapeOutcome.GIVEN_UP), other]) == 50
    assert window_size_in_force([kept, other, longer(200, EscapeOutcome.BROKEN_OFF)]) == 200


def test_those_in_vain_are_counted_from_the_last_that_was_kept() -> None:
    kept, left_out = over("entropy", 10, EscapeOutcome.KEPT), over("restart", 0)
    assert failed_since_kept([]) == failed_since_kept([over("restart", 10), kept]) == 0
    assert failed_since_kept([kept, over("restart", 10), left_out, over("entropy", 5)]) == 2


def test_it_is_told_in_words() -> None:
    assert record(share=40_960).text == "restart, 40,960 steps at most"
    assert over("entropy", 2048).text == "entropy: given up after 2,048 steps"


@pytest.mark.parametrize(("window_id", "kept"), [(None, False), (9, False), (10, True), (12, True), (13, False)])
def test_the_last_test_of_a_run_may_crown_what_an_escape_has_found(window_id: int | None, kept: bool) -> None:
    (told,) = with_best([over("restart", 100)], window_id)
    assert (told.outcome is EscapeOutcome.KEPT) is kept
    assert with_best([record()], window_id) == (record(),)


def anew(outcome: EscapeOutcome = EscapeOutcome.RUNNING) -> EscapeRecord:
    """Another algorithm from window 10, step 1000 on; where it has ended, to window 12 in 30 steps."""
    began = record("algorithm", changes={"algorithm": ("ppo", "dqn"), "window_size": (100, 10)})
    is_over = outcome is not EscapeOutcome.RUNNING
    return began.ended(outcome, window_id=12, env_steps=1030, score=5.0) if is_over else began


def test_another_algorithm_learns_from_its_beginning_on_unless_it_was_in_vain() -> None:
    assert other_algorithm([over("restart", 10)]) is None
    for outcome in (EscapeOutcome.RUNNING, EscapeOutcome.KEPT):
        assert other_algorithm([over("restart", 10), anew(outcome)]) == anew(outcome)
    assert other_algorithm([anew(EscapeOutcome.GIVEN_UP)]) is other_algorithm([anew(EscapeOutcome.BROKEN_OFF)]) is None


@pytest.mark.parametrize(
    ("escapes", "windows", "env_steps", "expected"),
    [
        ([], 10, 1000, 100),
        ([over("restart", 100)], 11, 1100, 100),
        ([anew()], 10, 1000, 100),
        ([anew()], 12, 1020, 10),
        ([anew(EscapeOutcome.KEPT)], 20, 1100, 10),
        ([anew(EscapeOutcome.GIVEN_UP)], 13, 1030, 100),
        ([anew(EscapeOutcome.GIVEN_UP)], 15, 1230, 100),
        ([], 3, 1, 1),
    ],
)
def test_only_windows_of_the_algorithm_that_learns_count_for_their_mean(
    escapes: list[EscapeRecord], windows: int, env_steps: int, expected: int
) -> None:
    assert mean_window(escapes, windows, env_steps) == expected
