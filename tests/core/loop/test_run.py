"""The holder of the state: it is replaced as a whole, never edited."""

from pathlib import Path

import pytest

from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop.history import History
from tensor_optix.core.loop.parts import LoopConfig, LoopParts
from tensor_optix.core.loop.run import new_run
from tests.fakes.agents import RememberingAgent
from tests.fakes.loops import FixedOptimizer
from tests.helpers import ScoreEvaluator, ScriptedPipeline


def test_a_change_replaces_the_state_and_leaves_the_one_that_others_hold(tmp_path: Path) -> None:
    agent = RememberingAgent()
    parts = LoopParts(
        agent=agent,
        pipeline=ScriptedPipeline([], agent),
        val_pipeline=None,
        evaluator=ScoreEvaluator(),
        optimizer=FixedOptimizer(),
        registry=CheckpointRegistry(tmp_path),
        history=History(tmp_path / "history.jsonl"),
    )
    run = new_run(parts, LoopConfig(), [], lambda: 0.0)
    run.change(env_steps=1000, event="drift")
    before = run.state
    run.change(event=None, env_steps=2000)
    assert (run.state.event, run.state.env_steps) == (None, 2000)
    assert (before.event, before.env_steps) == ("drift", 1000)
    with pytest.raises(TypeError, match="unheard"):
        run.change(unheard=1)
