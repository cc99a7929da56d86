"""Escapes in whole runs: a learner in a local optimum, with thresholds that are short, but not set by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import BackoffOptimizer, BatchPipeline, RLOptimizer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.escapes import BUDGET, EscapeOutcome
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.training_report import TrainingReport
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import HyperparamError
from tensor_optix.support.arguments import Default
from tests.fakes.basins import ENV, GLOBAL, LOCAL, LONG_ENV, TARGET, Climber, RememberingClimber
from tests.fakes.loops import FixedOptimizer
from tests.fakes.shortened import last_tests_shortened

pytestmark = pytest.mark.usefixtures("short_last_tests")

WINDOW = 10
STUCK = 1.0  # an entropy bonus that nobody may set


class Stops(LoopCallback):
    """Stops a run after some windows."""

    def __init__(self, *windows: int) -> None:
        self.windows = windows
        self.stop: Callable[[], None] = lambda: None
        self.status: Callable[[], str] = str

    def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
        if window_id in self.windows:
            self.stop()


def run(folder: Path, agent: Climber, **arguments: Any) -> TrainingReport:
    pipeline = BatchPipeline(arguments.pop("env", ENV), window_size=WINDOW)
    pipeline.reward_threshold = arguments.pop("target", TARGET)
    stops = arguments.pop("stops", Stops())
    given: dict[str, Any] = {
        "optimizer": FixedOptimizer(),
        "callbacks": [stops],
        "plateau_threshold": 2,
        "dormant_threshold": Default(4),
        "max_interval_episodes": Default(2),
        "val_episodes": 2,
        "seed": 1,
    }
    loop = RLOptimizer(agent, pipeline, checkpoint_dir=folder, **(given | arguments))
    stops.stop, stops.status = loop.stop, lambda: loop.status.patience
    return loop.run()


@dataclass
class Ended:
    """A run that several tests look at."""

    folder: Path
    agent: Climber
    report: TrainingReport
    seen: list[str]
    """What the view said of the patience after each window."""


def ended(folder: Path, freed_at: float = STUCK, **arguments: Any) -> Ended:
    """Return the run of a learner, which nothing frees unless told otherwise."""
    seen: list[str] = []

    class Looks(LoopCallback):
        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            seen.append(stops.status())

    agent, stops = Climber(freed_at), Stops()
    with last_tests_shortened():
        report = run(folder, agent, stops=stops, callbacks=[stops, Looks()], **arguments)
    return Ended(folder, agent, report, seen)


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return ended(tmp_path_factory.mktemp("stuck") / "run")


@pytest.fixture(scope="module")
def freed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """One that more entropy frees."""
    return ended(tmp_path_factory.mktemp("freed") / "run", freed_at=0.04)


@pytest.fixture(scope="module")
def not_asked(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The same without escapes."""
    return ended(tmp_path_factory.mktemp("not_asked") / "run", escape=False)


def events(folder: Path) -> list[str]:
    return [record.event for record in read_history(folder / "history.jsonl") if record.event is not None]


def test_a_learner_that_more_entropy_frees_ends_above_the_target(freed: Ended) -> None:
    report = freed.report
    assert report.best_score == pytest.approx(GLOBAL, abs=GLOBAL - TARGET)
    assert report.reason == "converged"
    assert [(one.name, one.outcome) for one in report.escapes] == [
        ("restart", EscapeOutcome.GIVEN_UP),
        ("entropy", EscapeOutcome.KEPT),
    ]
    assert dict(report.escapes[1].changes) == {"entropy_coef": (0.01, 0.05)}
    assert report.escapes[1].score_before == pytest.approx(LOCAL, abs=0.1)
    assert events(freed.folder) == [
        "escape restart: begun",
        "escape restart: given up; escape entropy: begun",
        "escape entropy: kept",
    ]


def test_an_agent_with_a_memory_escapes_without_remembering_another_episode(tmp_path: Path) -> None:
    agent = RememberingClimber()
    report = run(tmp_path, agent, env=LONG_ENV, validation_share=None)
    assert [one.outcome for one in report.escapes] == [EscapeOutcome.GIVEN_UP, EscapeOutcome.KEPT]
    assert report.best_score == pytest.approx(GLOBAL, abs=GLOBAL - TARGET)
    assert agent.follows
    assert all(agent.follows)


def test_one_that_nothing_frees_costs_a_quarter_at_most_and_keeps_its_best_and_its_values(
    stuck: Ended, not_asked: Ended
) -> None:
    report, without = stuck.report, not_asked.report
    assert report.reason == without.reason == "converged"
    assert [one.outcome for one in report.escapes] == [EscapeOutcome.GIVEN_UP, EscapeOutcome.GIVEN_UP]
    spent = sum(one.steps for one in report.escapes)
    assert report.env_steps == without.env_steps + spent
    assert 0 < spent <= BUDGET * without.env_steps
    assert report.best_score == without.best_score
    assert (stuck.agent.weight, stuck.agent.params) == (not_asked.agent.weight, not_asked.agent.params)


def test_each_escape_begins_with_the_best_policy_and_its_values(stuck: Ended) -> None:
    agent, report = stuck.agent, stuck.report
    restart, entropy = report.escapes
    assert agent.in_force[restart.began_window] == {"learning_rate": 0.9, "entropy_coef": 0.01}  # bounded
    assert agent.in_force[entropy.began_window] == {"learning_rate": 0.5, "entropy_coef": 0.05}
    assert agent.in_force[restart.began_window - 1] == {"learning_rate": 0.5, "entropy_coef": 0.01}
    first = [path for path in agent.loaded if path == Path(report.best_snapshot or "").name]
    assert len(first) >= 2


def assert_nothing_was_tried(folder: Path, report: TrainingReport) -> None:
    assert report.escapes == ()
    assert events(folder) == []
    assert report.best_score == pytest.approx(LOCAL, abs=0.1)


def test_where_it_is_not_asked_for_nothing_is_tried(not_asked: Ended) -> None:
    assert_nothing_was_tried(not_asked.folder, not_asked.report)


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": None},
        {"target": LOCAL - 1.0},
        {"dormant_threshold": 4},
        {"val_pipeline": None},
        {"on_converged": "watch", "max_episodes": 90},
        {"optimizer": BackoffOptimizer({})},
    ],
    ids=["unknown target", "target reached", "threshold by hand", "not held out", "watch", "untuned"],
)
def test_where_there_is_no_reason_or_no_leave_nothing_is_tried(tmp_path: Path, arguments: dict[str, Any]) -> None:
    assert_nothing_was_tried(tmp_path, run(tmp_path, Climber(), **arguments))


def test_where_evolution_is_in_charge_nothing_else_is_tried(tmp_path: Path) -> None:
    agent = Climber(freed_at=STUCK)
    manager = PolicyManager(CheckpointRegistry(tmp_path), max_spawns=1, seed=1)
    evolution = manager.as_callback(agent, agent_factory=lambda: Climber(freed_at=STUCK))
    evolution.printer = None
    report = run(tmp_path, agent, callbacks=[evolution])
    assert (report.escapes, report.evolution["spawns_used"]) == ((), 1)


class Rollouts(Climber):
    """Is freed by windows of at least `freed_by` steps."""

    def __init__(self, freed_by: int) -> None:
        super().__init__(freed_at=STUCK)
        self.freed_by = freed_by
        self.lengths: list[int] = []

    def restart_optimizer(self) -> None:
        """Has no moments."""

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.lengths.append(episode_data.length)
        self.freed_at = 0.0 if episode_data.length >= self.freed_by else STUCK
        return super().learn(episode_data)


def lengths_of(agent: Rollouts, report: TrainingReport, name: str) -> set[int]:
    found = next(one for one in report.escapes if one.name == name)
    assert found.last_window is not None
    return set(agent.lengths[found.began_window : found.last_window + 1])


@pytest.mark.slow
def test_windows_four_times_as_long_are_tried_where_the_run_can_pay_for_them_and_stay_if_they_free_it(
    tmp_path: Path,
) -> None:
    long = {"plateau_threshold": 1, "dormant_threshold": Default(2), "target": TARGET}
    freed, stuck = Rollouts(4 * WINDOW), Rollouts(100 * WINDOW)
    report, in_vain = run(tmp_path / "freed", freed, **long), run(tmp_path / "stuck", stuck, **long)
    assert [(one.name, one.outcome) for one in report.escapes][-1] == ("window", EscapeOutcome.KEPT)
    assert report.best_score == pytest.approx(GLOBAL, abs=GLOBAL - TARGET)
    assert dict(report.escapes[-1].changes) == {"window_size": (WINDOW, 4 * WINDOW)}
    assert lengths_of(freed, report, "window") == {4 * WINDOW}
    assert freed.lengths[-1] == 4 * WINDOW
    assert [(one.name, one.outcome) for one in in_vain.escapes][-1] == ("window", EscapeOutcome.GIVEN_UP)
    assert lengths_of(stuck, in_vain, "window") == {4 * WINDOW}
    assert sum(one.steps for one in in_vain.escapes) <= BUDGET * in_vain.env_steps
    assert in_vain.stopped_because.endswith(f", then {len(in_vain.escapes)} escapes in vain")
    assert in_vain.stopped_because.startswith("quiet for ")


class Stubborn(Climber):
    """Does not take an entropy bonus."""

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        if hp.params["entropy_coef"] != 0.01:
            raise HyperparamError("entropy_coef is fixed.")
        super().set_hyperparams(hp)


def test_an_escape_that_the_agent_does_not_take_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agent = Stubborn()
    report = run(tmp_path, agent)
    assert [(one.name, one.outcome, one.steps > 0) for one in report.escapes] == [
        ("restart", EscapeOutcome.GIVEN_UP, True),
        ("entropy", EscapeOutcome.GIVEN_UP, False),
    ]
    assert agent.params == {"learning_rate": 0.5, "entropy_coef": 0.01}
    assert "Escape 'entropy' is left out: entropy_coef is fixed." in caplog.text


def test_a_learner_that_keeps_its_own_weights_has_the_best_ones_after_an_escape_in_vain(tmp_path: Path) -> None:
    agent = Climber(freed_at=STUCK)
    report = run(tmp_path, agent, restore_best=False)
    assert agent.weight == pytest.approx(report.best_score)
    assert agent.params == {"learning_rate": 0.5, "entropy_coef": 0.01}


def test_the_view_says_which_escape_is_in_progress(stuck: Ended) -> None:
    told = [text for text in stuck.seen if "escape" in text]
    assert {text.split(",")[0] for text in told} == {"used up; escape restart", "used up; escape entropy"}


def test_without_escapes_a_run_is_the_one_that_it_was(stuck: Ended, not_asked: Ended) -> None:
    ours = (stuck.folder / "history.jsonl").read_bytes().splitlines()
    theirs = (not_asked.folder / "history.jsonl").read_bytes().splitlines()
    assert ours[: len(theirs) - 1] == theirs[:-1]  # until the last window, in which the first escape begins
    assert json.loads(theirs[-1])["state"] == "dormant"


def state_of(folder: Path, agent: Climber, report: TrainingReport) -> Any:
    depends = (
        "seconds",
        "health",
        "checkpoint_dir",
        "best_snapshot",
    )  # on the clock, as slow callbacks do, or the place
    told = {name: value for name, value in report.to_dict().items() if name not in depends}
    return (folder / "history.jsonl").read_bytes(), agent.weight, agent.params, told


def assert_goes_on(folder: Path, whole: Ended, window: int) -> None:
    """Stop a run like a whole one in a window, and compare what it comes to when it is resumed."""
    agent = Climber(freed_at=whole.agent.freed_at)
    stopped = run(folder, agent, stops=Stops(window))
    assert stopped.reason == "stopped"
    assert stopped.escapes[-1].outcome in (EscapeOutcome.BROKEN_OFF, EscapeOutcome.KEPT)
    agent = Climber(freed_at=whole.agent.freed_at)
    expected = state_of(whole.folder, whole.agent, whole.report)
    assert state_of(folder, agent, run(folder, agent, resume=True)) == expected


@pytest.mark.parametrize("kind", [pytest.param("freed", marks=pytest.mark.slow), "stuck"])
@pytest.mark.parametrize("place", ["within one", "between the two"])
def test_a_run_that_is_stopped_in_an_escape_goes_on_bit_for_bit(
    tmp_path: Path, kind: str, place: str, request: pytest.FixtureRequest
) -> None:
    whole = request.getfixturevalue(kind)
    first, second = whole.report.escapes
    assert_goes_on(tmp_path, whole, first.began_window + 1 if place == "within one" else second.began_window)
