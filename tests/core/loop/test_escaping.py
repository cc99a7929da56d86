"""Escapes in whole runs: a learner in a local optimum, with thresholds that are short, but not set by hand."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import BackoffOptimizer, BatchPipeline, RLOptimizer
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions import validation_budget
from tensor_optix.core.decisions.escape_records import EscapeOutcome
from tensor_optix.core.decisions.escapes import BUDGET
from tensor_optix.core.loop import escaping
from tensor_optix.core.loop.history import read_history
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.policy_manager import PolicyManager
from tensor_optix.core.stop_reason import StopReason
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


@pytest.mark.slow
def test_an_escape_takes_no_more_than_its_share_where_validation_has_taken_all_that_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation_budget, "FREE_STEPS", 0)
    with last_tests_shortened():
        report = run(tmp_path, Climber(freed_at=STUCK), val_episodes=5)
    assert report.validation["put_off"] > 0
    assert len(report.escapes) == 2
    assert all(0 < one.steps <= one.share for one in report.escapes)


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
    expected = state_of(whole.folder, whole.agent, whole.report)
    with last_tests_shortened():  # as those of the whole one are, also in the slow tier
        stopped = run(folder, Climber(freed_at=whole.agent.freed_at), stops=Stops(window))
        assert stopped.reason == "stopped"
        assert stopped.escapes[-1].outcome in (EscapeOutcome.BROKEN_OFF, EscapeOutcome.KEPT)
        agent = Climber(freed_at=whole.agent.freed_at)
        assert state_of(folder, agent, run(folder, agent, resume=True)) == expected


@pytest.mark.parametrize("kind", [pytest.param("freed", marks=pytest.mark.slow), "stuck"])
@pytest.mark.parametrize("place", ["within one", "between the two"])
def test_a_run_that_is_stopped_in_an_escape_goes_on_bit_for_bit(
    tmp_path: Path, kind: str, place: str, request: pytest.FixtureRequest
) -> None:
    whole = request.getfixturevalue(kind)
    first, second = whole.report.escapes
    assert_goes_on(tmp_path, whole, first.began_window + 1 if place == "within one" else second.began_window)


class Other:
    """Another algorithm, whose agents begin at 0 and climb to `peak`."""

    own, other = "climber", "leaper"

    def __init__(self, peak: float = GLOBAL) -> None:
        self.peak = peak
        self.built: list[str] = []

    def algorithm_of(self, agent: BaseAgent) -> str:
        return self.other if isinstance(agent, Leaper) else self.own

    def recorded(self, folder: Path) -> str:
        return self.other if next((folder / "weights").iterdir()).read_bytes().startswith(b"leaper") else self.own

    def build(self, algorithm: str, *, to_learn: bool = False) -> BaseAgent:
        self.built.append(algorithm)
        return Leaper(self.peak) if algorithm == self.other else Climber(freed_at=STUCK)

    def window_size(self, algorithm: str) -> int | None:
        return WINDOW // 2 if algorithm == self.other else WINDOW


class Leaper(Climber):
    """Refuses the weights of any other agent, and values that are none of its own."""

    def __init__(self, peak: float) -> None:
        super().__init__(freed_at=0.0)
        self.peak = peak
        self.params = {"speed": 0.3, "entropy_coef": 0.0}
        self.lengths: list[int] = []

    @property
    def default_param_bounds(self) -> dict[str, tuple[float, float]]:
        return {"speed": (0.1, 0.9)}

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.learned.append(episode_data.episode_id)
        self.lengths.append(episode_data.length)
        self.weight += self.params["speed"] * (self.peak - self.weight)
        return {}

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        assert hp.params.keys() == self.params.keys(), hp
        super().set_hyperparams(hp)

    def save_weights(self, path: str) -> None:
        Path(path).write_text(f"leaper {self.weight}")

    def load_weights(self, path: str) -> None:
        kind, weight = Path(path).read_text().split()
        assert kind == "leaper"
        self.weight = float(weight)


def anew(folder: Path, agents: Other, **arguments: Any) -> TrainingReport:
    """Return the report of a run in which nothing but another algorithm may be tried."""
    agent = arguments.pop("agent", None) or Climber(freed_at=STUCK, learning_rate=0.9)
    return run(folder, agent, optimizer=BackoffOptimizer({}), agents=agents, **arguments)


def test_another_algorithm_that_wins_on_held_out_episodes_keeps_the_place_of_the_learner(tmp_path: Path) -> None:
    agents = Other()
    report = anew(tmp_path, agents)
    (escape,) = report.escapes
    assert (escape.name, escape.outcome) == ("algorithm", EscapeOutcome.KEPT)
    assert dict(escape.changes) == {"algorithm": ("climber", "leaper"), "window_size": (WINDOW, WINDOW // 2)}
    assert report.best_score == pytest.approx(GLOBAL, abs=GLOBAL - TARGET)
    assert report.hyperparams == {"speed": 0.3, "entropy_coef": 0.0}
    assert events(tmp_path) == ["escape algorithm: begun", "escape algorithm: kept"]
    assert agents.built == ["leaper"]
    assert "algorithm climber -> leaper" in str(report)


def test_another_algorithm_in_vain_gives_its_place_back_and_the_users_agent_has_the_best_weights(
    tmp_path: Path,
) -> None:
    agent = Climber(freed_at=STUCK, learning_rate=0.9)
    report = anew(tmp_path, Other(peak=LOCAL - 1.0), agent=agent)
    (escape,) = report.escapes
    assert (escape.name, escape.outcome) == ("algorithm", EscapeOutcome.GIVEN_UP)
    assert 0 < escape.steps <= BUDGET * (report.env_steps - escape.steps)
    assert report.best_score == pytest.approx(LOCAL, abs=0.1) == agent.weight
    assert report.hyperparams == agent.params == {"learning_rate": 0.9, "entropy_coef": 0.01}


class Failing(Other):
    """Another algorithm that fails in its second window, and in each after it."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def build(self, algorithm: str, *, to_learn: bool = False) -> BaseAgent:
        agent, fault = super().build(algorithm), self.fault

        def learn(episode_data: EpisodeData) -> dict[str, Any]:
            agent.learned.append(episode_data.episode_id)
            if len(set(agent.learned)) < 2:
                return {}
            if fault == "raises":
                raise LookupError("no such kernel")
            return {"loss": math.nan}

        if isinstance(agent, Leaper):
            agent.learn = learn  # type: ignore[method-assign]
        return agent


@pytest.mark.parametrize("fault", ["raises", "diverges"])
def test_another_algorithm_that_fails_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    agent = Climber(freed_at=STUCK, learning_rate=0.9)
    report = anew(tmp_path, Failing(fault), agent=agent)
    (escape,) = report.escapes
    assert (escape.name, escape.outcome) == ("algorithm", EscapeOutcome.GIVEN_UP)
    assert report.reason == StopReason.CONVERGED
    assert report.best_score == pytest.approx(LOCAL, abs=0.1) == agent.weight
    assert events(tmp_path) == ["escape algorithm: begun", "escape algorithm: given up"]
    said = {"raises": "LookupError('no such kernel')", "diverges": "learn() reported loss=nan"}[fault]
    assert any("'algorithm' is given up" in text and said in text for text in caplog.messages)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raises", "diverges"])
def test_a_run_that_is_stopped_after_that_goes_on_bit_for_bit(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escaping, "is_ahead_of_start", lambda run: False)
    whole = run(tmp_path / "whole", agent := Climber(), agents=Failing(fault))
    assert [one.name for one in whole.escapes] == ["algorithm", "restart", "entropy"]
    at = whole.escapes[1].began_window
    cut = run(tmp_path / "cut", Climber(), agents=Failing(fault), stops=Stops(at))
    assert cut.reason == "stopped"
    resumed = run(tmp_path / "cut", other := Climber(), agents=Failing(fault), resume=True)
    assert state_of(tmp_path / "cut", other, resumed) == state_of(tmp_path / "whole", agent, whole)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"escape": False}, {"target": LOCAL - 1.0}], ids=["not asked", "no reason"])
def test_another_algorithm_is_not_built_where_it_is_not_tried(tmp_path: Path, more: dict[str, Any]) -> None:
    agents = Other()
    assert anew(tmp_path, agents, **more).escapes == ()
    assert agents.built == []


@pytest.mark.slow
def test_another_algorithm_that_cannot_be_built_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Refused(Other):
        def build(self, algorithm: str, *, to_learn: bool = False) -> BaseAgent:
            raise HyperparamError("no agent fits.")

    report = anew(tmp_path, Refused())
    assert [(one.outcome, one.steps) for one in report.escapes] == [(EscapeOutcome.GIVEN_UP, 0)]
    assert "Escape 'algorithm' is left out: no agent fits." in caplog.text


@pytest.mark.slow
def test_a_run_that_is_stopped_while_another_algorithm_learns_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def told(folder: Path, report: TrainingReport) -> Any:
        return state_of(folder, Climber(), report)

    report = anew(tmp_path / "whole", Other())
    assert anew(tmp_path / "cut", Other(), stops=Stops(report.escapes[0].began_window + 1)).reason == "stopped"
    resumed = anew(tmp_path / "cut", Other(), resume=True)
    assert told(tmp_path / "cut", resumed) == told(tmp_path / "whole", report)


class Counting(Climber):
    """What it learns depends on how often it has learned, which is part of its training state alone."""

    count = 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        super().learn(episode_data)
        self.count += 1
        self.weight -= 0.01 * (self.count % 7)
        return {}

    def save_training_state(self, path: str) -> None:
        Path(path).write_text(f"{self.weight} {self.count}")

    def load_training_state(self, path: str) -> None:
        weight, count = Path(path).read_text().split()
        self.weight, self.count = float(weight), int(count)


@pytest.fixture
def unlearned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best counts as no better than the untrained policy; a flat curve would be waited for too long."""
    monkeypatch.setattr(escaping, "is_ahead_of_start", lambda run: False)


@pytest.mark.usefixtures("unlearned")
def test_where_nothing_was_learned_it_is_first_and_the_others_follow_with_the_agent_of_before(tmp_path: Path) -> None:
    agent = Climber()
    report = run(tmp_path, agent, agents=Other(peak=LOCAL - 1.0))
    first, second, third = report.escapes
    assert [one.name for one in report.escapes] == ["algorithm", "restart", "entropy"]
    assert [str(one.outcome) for one in report.escapes] == ["given up", "given up", "kept"]
    assert first.last_window is not None
    assert not set(agent.learned) & set(range(first.began_window, first.last_window + 1))
    assert agent.in_force[first.began_window] == {"learning_rate": 0.9, "entropy_coef": 0.01}  # that of `restart`
    assert second.share >= 4 * WINDOW  # in windows of the agent of before
    assert dict(third.changes) == {"entropy_coef": (0.01, 0.05)}
    assert report.best_score == pytest.approx(GLOBAL, abs=GLOBAL - TARGET)


@pytest.mark.slow
@pytest.mark.usefixtures("unlearned")
def test_a_run_that_is_stopped_there_goes_on_bit_for_bit_with_the_agent_of_before(tmp_path: Path) -> None:
    def counted(folder: str, **more: Any) -> tuple[Counting, TrainingReport]:
        agent = Counting(freed_at=STUCK)
        return agent, run(tmp_path / folder, agent, agents=Other(peak=LOCAL - 1.0), **more)

    agent, whole = counted("whole")
    assert [one.name for one in whole.escapes] == ["algorithm", "restart", "entropy"]
    for n, resume in enumerate((False, True)):
        stops = Stops(whole.escapes[n].began_window + 1)
        assert counted("cut", stops=stops, resume=resume)[1].reason == "stopped"
    last, resumed = counted("cut", resume=True)
    assert state_of(tmp_path / "cut", last, resumed) == state_of(tmp_path / "whole", agent, whole)
