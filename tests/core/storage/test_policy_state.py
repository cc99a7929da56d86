"""What is saved and restored with a policy besides its weights."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.storage.policy_state import Stateful
from tensor_optix.core.types import EvalMetrics, PolicySnapshot
from tensor_optix.errors import BadDataError, CheckpointCorruptError, CheckpointMismatchError, ContractError
from tests.helpers import NumpyAgent, ScriptedPipeline


class Counter:
    def __init__(self, n: Any = 0, refuses: bool = False) -> None:
        self.n, self.refuses = n, refuses

    def state_dict(self) -> dict[str, Any]:
        return {} if self.n is None else {"n": self.n}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.refuses and state["n"] == 1:
            raise CheckpointMismatchError("not mine")
        self.n = state["n"]


@pytest.fixture
def registry(tmp_path: Path) -> CheckpointRegistry:
    return CheckpointRegistry(tmp_path)


def saved(registry: CheckpointRegistry, agent: NumpyAgent, score: float = 1.0) -> PolicySnapshot:
    return registry.save(agent, EvalMetrics(score))


def test_attached_parts_are_saved_and_restored_with_the_policy(registry: CheckpointRegistry) -> None:
    agent, first, second = NumpyAgent(), Counter(1), Counter(10)
    registry.attach("first", first)
    registry.attach("second", second)
    snapshot = saved(registry, agent)
    content = json.loads((registry.path_of(snapshot) / "companions.json").read_text())
    assert content == {"first": {"n": 1}, "second": {"n": 10}}
    agent.weight, first.n, second.n = 5.0, 2, 20
    assert registry.load_best(agent) == snapshot
    assert (agent.weight, first.n, second.n) == (0.0, 1, 10)


def test_parts_without_a_state_leave_snapshots_as_they_are(registry: CheckpointRegistry) -> None:
    registry.attach("pipeline", ScriptedPipeline([]))
    registry.attach("nothing", Counter(None))
    snapshot = saved(registry, NumpyAgent())
    assert not (registry.path_of(snapshot) / "companions.json").exists()
    registry.load(snapshot, NumpyAgent())


def test_a_changed_file_is_found_out_before_anything_is_touched(registry: CheckpointRegistry) -> None:
    agent, part = NumpyAgent(), Counter(1)
    registry.attach("part", part)
    snapshot = saved(registry, agent)
    (registry.path_of(snapshot) / "companions.json").write_text('{"part": {"n": 7}}\n')
    agent.weight, part.n = 5.0, 2
    with pytest.raises(CheckpointCorruptError, match=r"companions\.json"):
        registry.load(snapshot, agent)
    assert (agent.weight, part.n) == (5.0, 2)


def test_a_part_that_refuses_leaves_all_parts_and_the_agent_untouched(registry: CheckpointRegistry) -> None:
    agent, good, bad = NumpyAgent(), Counter(3), Counter(1, refuses=True)
    registry.attach("good", good)
    registry.attach("bad", bad)
    snapshot = saved(registry, agent)
    agent.weight, good.n, bad.n = 5.0, 30, 2
    with pytest.raises(CheckpointMismatchError, match="not mine"):
        registry.load(snapshot, agent)
    assert (agent.weight, good.n, bad.n) == (5.0, 30, 2)


def test_weights_that_do_not_load_leave_the_parts_untouched(registry: CheckpointRegistry) -> None:
    class Failing(NumpyAgent):
        def load_weights(self, path: str) -> None:
            raise CheckpointMismatchError("other tensors")

    part = Counter(1)
    registry.attach("part", part)
    snapshot = saved(registry, NumpyAgent())
    part.n = 2
    with pytest.raises(CheckpointMismatchError, match="other tensors"):
        registry.load(snapshot, Failing())
    assert part.n == 2


def test_a_snapshot_without_the_state_that_is_needed_is_refused(registry: CheckpointRegistry) -> None:
    snapshot = saved(registry, NumpyAgent())
    registry.attach("pipeline", Counter(1))
    agent = NumpyAgent()
    agent.weight = 5.0
    with pytest.raises(CheckpointMismatchError, match="no state of pipeline"):
        registry.load(snapshot, agent)
    assert agent.weight == 5.0


def test_a_state_that_is_not_attached_is_logged(registry: CheckpointRegistry, caplog: pytest.LogCaptureFixture) -> None:
    registry.attach("pipeline", Counter(1))
    snapshot = saved(registry, NumpyAgent())
    with caplog.at_level(logging.WARNING):
        CheckpointRegistry(registry.directory).load(snapshot, NumpyAgent())
    assert "pipeline, which is not attached here" in caplog.text


def test_a_state_that_is_no_json_is_refused_and_leaves_nothing_behind(registry: CheckpointRegistry) -> None:
    registry.attach("part", Counter(object()))
    with pytest.raises(BadDataError, match="cannot be saved as JSON"):
        saved(registry, NumpyAgent())
    assert registry.snapshots() == []
    assert not list(registry.directory.glob(".tmp-*"))


def test_only_what_has_a_state_can_be_attached(registry: CheckpointRegistry) -> None:
    with pytest.raises(ContractError, match="'part' needs state_dict"):
        registry.attach("part", object())  # type: ignore[arg-type]
    assert isinstance(Counter(), Stateful)
