import re
from pathlib import Path

import pytest

from tensor_optix.core.backoff_scheduler import BackoffScheduler, SchedulerState
from tensor_optix.core.decisions.patience import Patience
from tensor_optix.core.loop.outlook import outlook, windows_to_end
from tensor_optix.core.loop.parts import LoopConfig
from tensor_optix.core.loop.run_state import RunState
from tensor_optix.core.types import EvalMetrics, LoopState
from tests.fakes.loops import LoopRig

SEED = BackoffScheduler()
"""The schedule that the seed prints."""


def cooling(scheduler: BackoffScheduler, scores: list[float]) -> RunState:
    """A run whose last evaluation has brought it to COOLING."""
    state = RunState(position=scheduler.initial())
    for score in scores:
        state = state.collected(2, episodes=1)
        state = state.scored(EvalMetrics(score))
    grown = scheduler.grown(scheduler.base_interval)
    position = SchedulerState(LoopState.COOLING, grown, scheduler.plateau_threshold)
    recent = tuple(EvalMetrics(score) for score in scores)
    return RunState(
        position=position, window_id=len(scores) - 1, env_steps=2 * len(scores), curve=state.curve, recent=recent
    )


@pytest.mark.parametrize(("cap", "windows"), [(100, 1026), (8, 110), (2, 30), (1, 15)])
def test_the_schedule_is_followed_to_its_end(cap: int, windows: int) -> None:
    config = LoopConfig(scheduler=BackoffScheduler(max_interval=cap))
    state = cooling(config.scheduler, [1.0, 5.0, 9.0, *[9.0] * 5])
    assert windows_to_end(state, config) == windows


def test_the_argument_is_named_that_brings_the_end_nearer() -> None:
    config = LoopConfig(scheduler=SEED)
    text = outlook(cooling(SEED, [1.0, 5.0, 9.0, *[9.0] * 5]), config)
    assert "in about 1,026 windows (2,052 steps)" in text
    assert text.endswith("max_interval_episodes=1 would end it in about 16.")


def test_nothing_is_proposed_where_the_end_is_near() -> None:
    scheduler = BackoffScheduler(base_interval=2, max_interval=2)
    text = outlook(cooling(scheduler, [1.0, *[9.0] * 6]), LoopConfig(scheduler=scheduler))
    assert text.endswith("in about 30 windows (60 steps).")


def test_a_patience_with_a_scale_is_looked_at_to_its_end() -> None:
    config = LoopConfig(scheduler=SEED, patience=Patience())
    text = outlook(cooling(SEED, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]), config)
    found = re.search(r"in about ([\d,]+) windows", text)
    assert found is not None
    assert int(found[1].replace(",", "")) > 1_000, "nothing is learned, so 10,000 episodes are waited for"


def test_the_run_says_it_once_and_keeps_to_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rises = [float(n) for n in range(6)]
    rig = LoopRig(tmp_path, [*rises, *[5.0] * 400], plateau=3, dormant=9, max_interval=32)
    report = rig.run()
    said = [record.getMessage() for record in caplog.records if "COOLING" in record.getMessage()]
    assert len(said) == 1
    found = re.search(r"COOLING, window (\d+)\).* in about ([\d,]+) windows", said[0])
    assert found is not None
    assert report.windows - 1 == int(found[1]) + int(found[2])
    assert report.reason == "converged"
