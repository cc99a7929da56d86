"""How the facade brings its parts together: two names of one thing, what tunes, seeds, and validation that explores."""

import logging
import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import (
    BackoffOptimizer,
    BaseAgent,
    BaseEvaluator,
    BaseOptimizer,
    BasePipeline,
    BatchPipeline,
    EpisodeReturnEvaluator,
    PBTOptimizer,
    RLOptimizer,
)
from tensor_optix._wiring import (
    check_contracts,
    child_seeds,
    most_windows,
    patience_of,
    refuse_schedules,
    seed_process,
    tuner,
)
from tensor_optix.core.decisions.schedules import LinearSchedule
from tensor_optix.errors import ContractError, HyperparamError, InvalidArgumentError
from tensor_optix.support.arguments import Default
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline


@pytest.mark.parametrize(
    ("given", "most"), [((None, None), None), ((3, None), 3), ((None, 3), 3), ((3, 3), 3), ((np.int64(3), 3), 3)]
)
def test_a_bound_on_windows_has_two_names(given: tuple[int | None, int | None], most: int | None) -> None:
    assert most_windows(*given) == most


@pytest.mark.parametrize(
    ("given", "message"),
    [((0, None), "max_windows must be"), ((None, True), "max_episodes must be"), ((2, 3), "two names of one bound")],
)
def test_a_bound_that_is_none_is_named(given: tuple[int | None, int | None], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        most_windows(*given)


def test_what_tunes_is_the_users_own_or_the_usual_or_nothing() -> None:
    own = PBTOptimizer({"learning_rate": (0.1, 0.2)})
    assert tuner(own, is_wanted=True, seed=0) is own
    assert isinstance(tuner(None, is_wanted=True, seed=0), BackoffOptimizer)
    assert list(tuner(None, is_wanted=False, seed=0).search_space or {}) == []
    with pytest.raises(InvalidArgumentError, match="optimizer=PBTOptimizer tunes them"):
        tuner(own, is_wanted=False, seed=0)


def test_seeds_follow_from_one_and_differ() -> None:
    assert child_seeds(3, 5) == child_seeds(3, 5)
    assert len({*child_seeds(3, 5)}) == 5
    assert child_seeds(None, 2) == [None, None]


def test_the_patience_grows_where_no_threshold_was_set_and_knows_a_target_in_returns_only() -> None:
    pipeline = ScriptedPipeline([])
    pipeline.reward_threshold = 475.0
    by_default = patience_of((Default(20), Default(100)), pipeline, EpisodeReturnEvaluator(), 5)
    assert (by_default.is_scaled, by_default.reward_threshold) == (True, 475.0)
    assert not patience_of((20, Default(100)), pipeline, EpisodeReturnEvaluator(), 5).is_scaled
    assert patience_of((Default(20), Default(100)), pipeline, ScoreEvaluator(), 5).reward_threshold is None


def test_validation_asks_an_own_agent_for_greedy_actions_where_it_takes_deterministic(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []  # not the agent's: validation leaves that as it is

    class Asked(NumpyAgent):
        def act(self, observation: Any, deterministic: bool = False) -> int:
            asked.append(deterministic)
            return super().act(observation)

    pipeline = BatchPipeline("CartPole-v1", window_size=20)
    RLOptimizer(Asked(), pipeline, checkpoint_dir=tmp_path, max_episodes=1, val_episodes=1, seed=0).run()
    assert asked.count(False) == 20
    assert asked.count(True) > 20
    assert "exploration" not in caplog.text


@pytest.mark.parametrize("is_own", [False, True])
def test_validation_that_explores_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, is_own: bool) -> None:
    caplog.set_level(logging.WARNING)
    held_out = ScriptedPipeline([1.0] * 3) if is_own else "auto"
    pipeline = ScriptedPipeline([1.0] * 3) if is_own else BatchPipeline("CartPole-v1", window_size=20)
    RLOptimizer(
        NumpyAgent(),
        pipeline,
        held_out,
        checkpoint_dir=tmp_path,
        max_episodes=2,
        val_episodes=1,  # type: ignore[arg-type]
    ).run()
    said = [r.getMessage() for r in caplog.records if "its exploration included" in r.getMessage()]
    assert len(said) == 1
    assert "neither act nor act_batch of NumpyAgent takes deterministic" in said[0]


def test_nothing_is_said_where_nothing_is_held_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0]), None, checkpoint_dir=tmp_path)
    assert "exploration" not in caplog.text


def test_a_role_is_refused_to_a_class_and_to_what_does_not_keep_its_contract(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="agent must be a BaseAgent, but got the class NumpyAgent itself"):
        RLOptimizer(NumpyAgent, ScriptedPipeline([1.0]), checkpoint_dir=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="evaluator must be a BaseEvaluator, but got int"):
        RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0]), evaluator=3, checkpoint_dir=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("returned", [None, {"lr": 0.1}])
def test_hyperparams_are_no_bare_dict(tmp_path: Path, returned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumpyAgent, "get_hyperparams", lambda self: returned)
    with pytest.raises(ContractError, match=r"NumpyAgent\.get_hyperparams must return a HyperparamSet, but returned"):
        RLOptimizer(NumpyAgent(), ScriptedPipeline([1.0]), checkpoint_dir=tmp_path)


def test_a_vector_is_told_of_the_pipeline_that_takes_it() -> None:
    vector = gym.make_vec("CartPole-v1", 2)
    with pytest.raises(ContractError, match=r"got CartPoleVectorEnv\. Write VectorBatchPipeline\(env, agent\)"):
        check_contracts(pipeline=(vector, BasePipeline))
    vector.close()


def test_the_generators_that_an_environment_may_draw_on_repeat_with_the_seed() -> None:
    kept, kept_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        drawn = []
        for seed in (3, 3, 4):
            seed_process(seed)
            drawn.append((random.random(), np.random.random()))  # noqa: NPY002
        before = random.getstate()
        seed_process(None)
        assert random.getstate() == before
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)  # noqa: NPY002
    assert drawn[0] == drawn[1] != drawn[2]


class Following(NumpyAgent):
    schedules = {"learning_rate": LinearSchedule(3e-4)}


def test_a_schedule_needs_the_length_of_the_run_and_is_not_tuned() -> None:
    refuse_schedules(Following(), 10, None, ["gamma"])
    refuse_schedules(Following(), None, 1000)
    refuse_schedules(NumpyAgent(), None, None, ["learning_rate"])
    with pytest.raises(HyperparamError, match=r"learning_rate=lin_0.0003 falls to 0 .* give --total-steps"):
        refuse_schedules(Following(), None, None)
    with pytest.raises(HyperparamError, match="cannot be tuned: leave it out of param_bounds"):
        refuse_schedules(Following(), 10, None, ["learning_rate"])


def test_the_facade_refuses_a_schedule_without_a_length_and_one_that_would_be_tuned(tmp_path: Path) -> None:
    for more, message in (({}, "give --total-steps"), ({"max_windows": 2}, "cannot be tuned")):
        with pytest.raises(HyperparamError, match=message):
            RLOptimizer(
                Following(),
                ScriptedPipeline([]),
                val_pipeline=None,
                optimizer=BackoffOptimizer({"learning_rate": (0.1, 0.2)}),
                checkpoint_dir=tmp_path,
                **more,
            )


def positional(self: object, observation: object, /) -> int:
    return 0


@pytest.mark.parametrize(
    ("contract", "method", "own", "message"),
    [
        (
            BaseAgent,
            "begin_episode",
            lambda self, observation: None,
            r"is called as begin_episode\(\), but takes \(obs",
        ),
        (BaseAgent, "learn", lambda self: {}, r"is called as learn\(episode_data\), but takes \(\)"),
        (
            BaseAgent,
            "act_recurrent",
            lambda self, o, **k: (o, k),
            r"act_recurrent\(observations, memories, action_masks=,",
        ),
        (
            BaseEvaluator,
            "score",
            lambda self, data: None,
            r"score\(episode_data, train_diagnostics\), but takes \(data\)",
        ),
        (BaseEvaluator, "compare", lambda self, a: True, "any other argument a default"),
        (BaseOptimizer, "suggest", lambda self, hp, *, history: hp, r"takes \(hp, \*, history\)"),
        (BaseOptimizer, "on_improvement", lambda self: None, "on_improvement"),
    ],
)
def test_a_method_that_cannot_be_called_is_refused_before_the_run(
    contract: Any, method: str, own: Any, message: str
) -> None:
    part = {BaseAgent: NumpyAgent, BaseEvaluator: ScoreEvaluator, BaseOptimizer: BackoffOptimizer}[contract]
    with pytest.raises(ContractError, match=message):
        check_contracts(part=(type("Own", (part,), {method: own})(), contract))


@pytest.mark.parametrize("own", [positional, lambda self, *args: 0, lambda self, o, more=3, **rest: 0, print])
def test_odd_signatures_that_can_be_called_are_not_refused(own: Any) -> None:
    check_contracts(agent=(type("Own", (NumpyAgent,), {"act": own})(), BaseAgent))
