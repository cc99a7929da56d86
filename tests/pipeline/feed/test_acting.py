"""From an item to an action at the source: the agent's, or the safe one, and what is counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix.errors import BadDataError, ContractError, InvalidArgumentError
from tensor_optix.pipeline.feed.acting import LiveActing
from tensor_optix.pipeline.feed.feed import Checked
from tensor_optix.pipeline.feed.recording import SessionRecorder
from tensor_optix.pipeline.feed.session_reading import read_session
from tests.fakes.environments import Sapper
from tests.fakes.feeds import Acting, Counting, Feed, item
from tests.helpers import ConstantAgent

SPACE = spaces.Discrete(5)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def checked(**changes: Any) -> Checked:
    observation, reward, terminated, truncated, info = item(3)
    values: dict[str, Any] = dict.fromkeys(Checked._fields) | {
        "observation": observation,
        "reward": reward,
        "terminated": terminated,
        "truncated": truncated,
        "info": info,
        "arrival": 1.0,
    }
    return Checked(**(values | changes))


class Rig:
    def __init__(self, source: Any = None, *, safe: Any = None, deadline: float | None = None) -> None:
        self.clock = Clock()
        self.source = Acting([], action_space=SPACE) if source is None else source
        self.acting = LiveActing(self.source, (OSError,), safe, deadline, self.clock)


def test_the_agents_action_is_sent() -> None:
    rig = Rig()
    assert rig.acting.act(ConstantAgent(2), checked(), None) == (2, True)
    assert rig.source.applied == [2]
    assert rig.acting.counts() == {"safe_actions": 0, "unsent_actions": 0, "stale_decisions": 0}


def test_a_source_that_takes_no_actions_is_acted_on_all_the_same() -> None:
    agent = Counting()
    assert Rig(Feed([])).acting.act(agent, checked(), None)[0] == 0
    assert len(agent.seen) == 1


def test_a_mask_is_kept_to() -> None:
    mask = np.array([False, False, True, False])
    action, _ = Rig().acting.act(Sapper(), checked(mask=mask), None)
    assert action == 2


class TestSafeAction:
    def test_it_is_sent_in_the_place_of_one_that_must_not_be(self) -> None:
        rig = Rig(safe=0)
        rig.acting.act(ConstantAgent(99), checked(), None)
        assert rig.source.applied == [0]
        assert rig.acting.counts()["safe_actions"] == 1
        rig.acting.restart_counts()
        assert rig.acting.counts() == {"safe_actions": 0, "unsent_actions": 0, "stale_decisions": 0}

    def test_without_one_nothing_is_sent_and_the_run_ends(self) -> None:
        rig = Rig()
        with pytest.raises(BadDataError, match="99"):
            rig.acting.act(ConstantAgent(99), checked(), None)
        assert rig.source.applied == []

    def test_an_agent_that_raises_leaves_the_source_in_safety(self) -> None:
        def fail(n: int) -> Any:
            raise LookupError("no weights")

        rig = Rig(safe=0)
        with pytest.raises(LookupError, match="no weights"):
            rig.acting.act(Counting(fail), checked(), None)
        assert rig.source.applied == [0]

    def test_it_may_be_asked_for(self) -> None:
        rig = Rig(safe=1)
        assert rig.acting.send_safe_action("the run ends")
        assert rig.source.applied == [1]
        assert not Rig().acting.send_safe_action("there is none")
        assert not Rig(Feed([]), safe=None).acting.send_safe_action("nobody takes it")


class TestDeadline:
    @pytest.mark.parametrize(("now", "sent"), [(1.5, 2), (1.6, 0)])
    def test_an_action_after_its_deadline_is_the_safe_one(self, now: float, sent: int) -> None:
        rig = Rig(safe=0, deadline=0.5)
        rig.clock.now = now
        rig.acting.act(ConstantAgent(2), checked(arrival=1.0), None)
        assert rig.source.applied == [sent]

    @pytest.mark.parametrize(("is_late", "sent"), [(True, 0), (False, 2)])
    def test_what_was_late_when_it_was_recorded_is_late_again_and_nothing_else(self, is_late: bool, sent: int) -> None:
        rig = Rig(safe=0, deadline=0.5)
        rig.clock.now = 99.0
        rig.acting.act(ConstantAgent(2), checked(is_late=is_late), None)
        assert rig.source.applied == [sent]

    def test_a_late_action_is_recorded(self, tmp_path: Path) -> None:
        recorder = SessionRecorder(tmp_path / "session")
        recorder.item(*item(3), 1.0)
        rig = Rig(safe=0, deadline=0.5)
        rig.clock.now = 99.0
        rig.acting.act(ConstantAgent(2), checked(), recorder)
        recorder.close()
        assert [each.is_late for each in read_session(tmp_path / "session")] == [True]  # type: ignore[union-attr]

    def test_a_deadline_needs_something_to_send(self) -> None:
        with pytest.raises(InvalidArgumentError, match="safe_action"):
            Rig(deadline=0.5)


def test_an_action_that_the_connection_loses_is_counted() -> None:
    class Lost(Acting):
        def apply(self, action: Any) -> None:
            raise OSError("connection reset")

    rig = Rig(Lost([], action_space=SPACE))
    assert rig.acting.act(ConstantAgent(2), checked(), None) == (2, False)
    assert rig.acting.counts() == {"safe_actions": 0, "unsent_actions": 1, "stale_decisions": 0}


class Ahead:
    """A feed whose source is ahead of the agent, or is not."""

    def __init__(self, is_ahead: bool = True, in_stream: bool | None = None) -> None:
        self.is_ahead = is_ahead
        self.is_ahead_in_stream = is_ahead if in_stream is None else in_stream


class TestPace:
    def decide(self, rig: Rig, *ahead: bool) -> None:
        for is_ahead in ahead:
            rig.acting.act(ConstantAgent(2), checked(), None, Ahead(is_ahead))  # type: ignore[arg-type]

    def test_a_decision_is_stale_where_the_source_has_gone_on(self) -> None:
        rig = Rig()
        self.decide(rig, True, False, True)
        assert rig.acting.counts()["stale_decisions"] == 2
        rig.acting.restart_counts()
        assert rig.acting.counts()["stale_decisions"] == 0

    def test_it_is_said_once_with_the_remedy(self, caplog: pytest.LogCaptureFixture) -> None:
        rig = Rig()
        for window in range(3):
            self.decide(rig, *[True] * 7, *[False] * 3)
            rig.acting.end_window(window)
        (record,) = caplog.records
        assert "In window 0, 7 of 10 decisions were stale: Acting had" in record.getMessage()
        assert "GeneratorSource(source)" in record.getMessage()

    def test_a_few_are_counted_and_not_spoken_of(self, caplog: pytest.LogCaptureFixture) -> None:
        rig = Rig()
        self.decide(rig, True, *[False] * 9)
        rig.acting.end_window(0)
        assert rig.acting.counts()["stale_decisions"] == 1
        assert not caplog.records

    def test_where_no_action_is_sent_no_decision_is_stale(self) -> None:
        class Mute(Acting):
            sends_actions = False

        for source in (Feed([]), Mute([])):
            rig = Rig(source)
            self.decide(rig, True)
            assert rig.acting.counts()["stale_decisions"] == 0

    def test_a_source_that_says_that_it_waits_and_does_not_is_refused(self) -> None:
        class Hasty(Acting):
            is_lockstep = True

        rig = Rig(Hasty([], action_space=SPACE))
        self.decide(rig, False)
        with pytest.raises(ContractError, match="Hasty says is_lockstep = True, but gave the next item before"):
            self.decide(rig, True)
        assert rig.source.applied == [2]

    @pytest.mark.parametrize(
        ("changes", "in_stream"), [({"terminated": True}, True), ({"truncated": True}, True), ({}, False)]
    )
    def test_what_comes_after_an_end_or_by_a_new_stream_was_not_to_wait(
        self, changes: dict[str, bool], in_stream: bool
    ) -> None:
        class Waiting(Acting):
            is_lockstep = True

        rig = Rig(Waiting([], action_space=SPACE))
        rig.acting.act(ConstantAgent(2), checked(**changes), None, Ahead(True, in_stream))  # type: ignore[arg-type]
        assert rig.source.applied == [2]
