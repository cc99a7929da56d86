"""Why a run ends: which reasons are final, and what is printed of each."""

import pytest

from tensor_optix.core.stop_reason import StopReason
from tensor_optix.core.training_report import StopReason as ReportedReason

COMPLETE = {
    StopReason.CONVERGED,
    StopReason.BUDGET,
    StopReason.MAX_EPISODES,
    StopReason.MAX_STEPS,
    StopReason.TARGET,
    StopReason.EXHAUSTED,
}
FINAL = {StopReason.NOTHING_LEARNED, *COMPLETE}


@pytest.mark.parametrize("reason", StopReason)
def test_a_run_that_was_cut_off_has_something_left_to_do(reason: StopReason) -> None:
    assert reason.is_final is (reason in FINAL)
    assert (reason.heading == "Training Complete") is (reason in COMPLETE)


@pytest.mark.parametrize("reason", StopReason)
def test_a_reason_is_found_by_its_saved_name_and_has_a_unique_sentence(reason: StopReason) -> None:
    assert StopReason(reason.value) is reason
    assert reason.sentence.strip()
    assert [each for each in StopReason if each.sentence == reason.sentence] == [reason]


def test_a_reason_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="tired"):
        StopReason("tired")


def test_its_former_path_gives_the_same() -> None:
    assert ReportedReason is StopReason


def test_the_reason_of_a_report_is_equal_to_it() -> None:
    assert StopReason.TARGET == "target"
    assert f"{StopReason.TARGET}" == "target"
