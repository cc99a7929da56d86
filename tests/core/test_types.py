import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.types import (
    EpisodeData,
    EpisodeSummary,
    EvalMetrics,
    HyperparamSet,
    PolicySnapshot,
    success_in,
)
from tensor_optix.errors import BadDataError, CheckpointCorruptError


def window(rewards: Any, terminated: Any, truncated: Any, **fields: Any) -> EpisodeData:
    steps = len(rewards)
    return EpisodeData(np.arange(steps), np.zeros(steps), rewards, terminated, truncated, **fields)


def through_json(plain: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(plain, allow_nan=False))


# --- EpisodeData ---


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_flags_and_sums_are_the_same_for_lists_and_arrays(kind: Any) -> None:
    data = window(kind([1.0, 2.0, 3.5]), kind([False, True, False]), kind([True, False, False]))
    assert data.dones.tolist() == [True, True, False]
    assert data.total_reward == 6.5
    assert data.length == 3
    assert data.segment_ends().tolist() == [True, True, True]
    assert data.completed_episodes() == (EpisodeSummary(1.0, 1), EpisodeSummary(2.0, 1))


def test_flags_given_as_numbers_are_flags_too() -> None:
    assert window([0, 0], np.array([0, 1], np.uint8), [0.0, 0.0]).dones.tolist() == [False, True]


def test_the_reward_is_summed_in_double_precision() -> None:
    rewards = np.full(10_000, 0.1, np.float32)
    assert window(rewards, [False] * 10_000, [False] * 10_000).total_reward == pytest.approx(
        10_000 * float(np.float32(0.1)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("dones", "n_envs", "ends"),
    [
        ([0, 0, 0, 0], 1, [0, 0, 0, 1]),  # the window's last row
        ([0, 1, 0, 0], 1, [0, 1, 0, 1]),  # an episode's end
        ([0, 0, 0, 0], 2, [0, 1, 0, 1]),  # the last row of each environment
        ([1, 0, 0, 0], 2, [1, 1, 0, 1]),
        ([0, 0, 0, 0], 4, [1, 1, 1, 1]),
        ([0, 0, 0, 0, 1, 0], 2, [0, 0, 1, 0, 1, 1]),
        ([0], 1, [1]),
    ],
)
@pytest.mark.parametrize("ended_by", ["terminated", "truncated"])
def test_a_segment_ends_with_its_episode_its_environment_or_the_window(
    dones: list[int], n_envs: int, ends: list[int], ended_by: str
) -> None:
    nothing = [0] * len(dones)
    flags = (dones, nothing) if ended_by == "terminated" else (nothing, dones)
    data = window([0.0] * len(dones), *flags, n_envs=n_envs)
    assert data.segment_ends().tolist() == [bool(end) for end in ends]
    assert data.dones.tolist() == [bool(done) for done in dones]  # and asking changes nothing


@pytest.mark.parametrize(("steps", "n_envs"), [(5, 2), (2, 3), (4, 0), (4, -1)])
def test_steps_that_are_no_equal_shares_of_the_environments_are_refused(steps: int, n_envs: int) -> None:
    nothing = [0] * steps
    with pytest.raises(BadDataError, match=f"{steps} steps cannot be equal shares of n_envs={n_envs}"):
        window(nothing, nothing, nothing, n_envs=n_envs)


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_completed_episodes_are_derived_from_the_flags_and_unfinished_ones_left_out(kind: Any) -> None:
    data = window(kind([1.0, 2.0, 4.0, 8.0, 16.0]), kind([0, 1, 0, 0, 0]), kind([0, 0, 0, 1, 0]))
    assert data.completed_episodes() == (EpisodeSummary(3.0, 2), EpisodeSummary(12.0, 2))


def test_derived_episodes_do_not_reach_across_environments() -> None:
    data = window([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [0, 1, 0, 0, 1, 0], [0] * 6, n_envs=2)
    assert data.completed_episodes() == (EpisodeSummary(3.0, 2), EpisodeSummary(24.0, 2))


def test_what_the_pipeline_knows_of_completed_episodes_wins_over_the_flags() -> None:
    longer = (EpisodeSummary(100.0, 50),)  # most of it was collected in earlier windows
    assert window([1.0], [True], [False], completed=longer).completed_episodes() == longer
    assert window([1.0], [True], [False], completed=()).completed_episodes() == ()


def test_concatenate_keeps_every_row_in_order_and_every_episode() -> None:
    first = window(
        [1.0, 2.0], [0, 1], [0, 0], episode_id=7, infos=[{"a": 1}, {}], log_probs=[-1.0, -2.0], metadata={"seed": 3}
    )
    second = window([4.0], [0], [1], episode_id=8, infos=[{"b": 2}], log_probs=[-3.0])
    joined = EpisodeData.concatenate([first, second])
    assert joined.rewards.tolist() == [1.0, 2.0, 4.0]
    assert joined.observations.tolist() == [0, 1, 0]
    assert joined.terminated.tolist() == [0, 1, 0]
    assert joined.truncated.tolist() == [0, 0, 1]
    assert joined.log_probs.tolist() == [-1.0, -2.0, -3.0]
    assert list(joined.infos) == [{"a": 1}, {}, {"b": 2}]
    assert joined.completed_episodes() == (EpisodeSummary(3.0, 2), EpisodeSummary(4.0, 1))
    assert (joined.episode_id, joined.metadata, joined.length) == (7, {"seed": 3}, 3)


def test_concatenate_leaves_out_what_one_window_does_not_know() -> None:
    known = window([1.0], [1], [0], values=[0.5], next_observations=[1])
    unknown = window([1.0], [1], [0], next_observations=[2])
    joined = EpisodeData.concatenate([known, unknown])
    assert joined.values is None
    assert joined.next_observations.tolist() == [1, 2]


def test_concatenate_keeps_the_masks_of_every_row() -> None:
    masks = [np.array([[True, False]]), np.array([[False, True]])]
    windows = [window([1.0], [1], [0], action_masks=m, next_action_masks=~m) for m in masks]
    joined = EpisodeData.concatenate(windows)
    assert joined.action_masks.tolist() == [[True, False], [False, True]]
    assert joined.next_action_masks.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("lacking", [0, 1])
def test_concatenate_has_no_infos_rather_than_those_of_other_steps(lacking: int) -> None:
    windows = [window([1.0], [1], [0], infos=() if n == lacking else [{"step": n}]) for n in range(2)]
    assert len(EpisodeData.concatenate(windows).infos) == 0


@pytest.mark.parametrize("windows", [[], [window([1.0, 1.0], [1, 1], [0, 0], n_envs=2)]])
def test_concatenate_refuses_what_cannot_stay_env_major(windows: list[EpisodeData]) -> None:
    with pytest.raises(ValueError, match="at least one window, each of a single environment"):
        EpisodeData.concatenate(windows)


# --- HyperparamSet ---


def test_a_copy_of_hyperparams_can_be_changed_alone() -> None:
    original = HyperparamSet({"lr": 0.1}, episode_id=4)
    copy = original.copy()
    assert copy == original
    copy.params["lr"] = 0.2
    copy.params["new"] = 1
    assert original.params == {"lr": 0.1}


def test_a_copy_of_hyperparams_shares_no_value_that_can_be_changed() -> None:
    original = HyperparamSet({"arch": [64, 64], "nested": {"betas": np.ones(2)}})
    copy = original.copy()
    copy.params["arch"].append(1)
    copy.params["nested"]["betas"][:] = 0.0
    assert original.params["arch"] == [64, 64]
    assert original.params["nested"]["betas"].tolist() == [1.0, 1.0]


def test_hyperparams_round_trip_through_json_with_any_keys_and_kinds() -> None:
    params = {"lr": np.float32(0.5), "n": np.int64(3), "name": "adam", "flag": True, "none": None}
    rebuilt = HyperparamSet.from_dict(through_json(HyperparamSet(params, 2).to_dict()))
    assert rebuilt == HyperparamSet({"lr": 0.5, "n": 3, "name": "adam", "flag": True, "none": None}, 2)
    assert type(rebuilt.params["n"]) is int


# --- EvalMetrics ---


@pytest.mark.parametrize(
    ("score", "has_evidence", "usable"),
    [
        (1.0, True, True),
        (-1e9, True, True),
        (0.0, True, True),
        (math.nan, True, False),
        (math.inf, True, False),
        (-math.inf, True, False),
        (1.0, False, False),
        (math.nan, False, False),
    ],
)
def test_a_score_is_usable_only_with_evidence_and_as_a_finite_number(
    score: float, has_evidence: bool, usable: bool
) -> None:
    assert EvalMetrics(score, has_evidence=has_evidence).is_usable is usable


def test_std_err_and_gap_come_from_the_metrics_and_are_nan_where_unknown() -> None:
    metrics = EvalMetrics(1.0, {"score_std_err": 0.25, "generalization_gap": -3.0})
    assert (metrics.std_err, metrics.generalization_gap) == (0.25, -3.0)
    assert math.isnan(EvalMetrics(1.0).std_err)
    assert math.isnan(EvalMetrics(1.0).generalization_gap)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(score=finite, metrics=st.dictionaries(st.text(max_size=5), finite, max_size=4), evidence=st.booleans())
def test_eval_metrics_round_trip_through_json(score: float, metrics: dict[str, float], evidence: bool) -> None:
    original = EvalMetrics(score, metrics, 12, evidence)
    assert EvalMetrics.from_dict(through_json(original.to_dict())) == original


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_finite_becomes_null_and_comes_back_as_nan(value: float) -> None:
    plain = EvalMetrics(value, {"loss": value, "steps": np.int64(3)}, 5, has_evidence=False).to_dict()
    assert plain["primary_score"] is None
    assert plain["metrics"] == {"loss": None, "steps": 3}
    rebuilt = EvalMetrics.from_dict(through_json(plain))
    assert math.isnan(rebuilt.primary_score)
    assert math.isnan(rebuilt.metrics["loss"])
    assert (rebuilt.episode_id, rebuilt.has_evidence) == (5, False)


def test_eval_metrics_cannot_be_changed_after_the_fact() -> None:
    with pytest.raises(AttributeError):
        EvalMetrics(1.0).primary_score = 2.0  # type: ignore[misc]


# --- PolicySnapshot ---


def test_a_snapshot_round_trips_through_json() -> None:
    snapshot = PolicySnapshot(
        snapshot_id="000003",
        sequence=3,
        window_id=9,
        eval_metrics=EvalMetrics(1.5, {"episodes": 2.0}, 9),
        hyperparams=HyperparamSet({"lr": 0.1}, 8),
        created_at="2024-01-01T00:00:00+00:00",
    )
    assert PolicySnapshot.from_dict(through_json(snapshot.to_dict())) == snapshot


@pytest.mark.parametrize("missing", ["snapshot_id", "sequence", "window_id", "eval_metrics", "hyperparams"])
def test_a_snapshot_is_not_rebuilt_from_half_its_fields(missing: str) -> None:
    plain = PolicySnapshot(
        snapshot_id="0",
        sequence=0,
        window_id=0,
        eval_metrics=EvalMetrics(1.0),
        hyperparams=HyperparamSet({}),
        created_at="",
    ).to_dict()
    del plain[missing]
    with pytest.raises(CheckpointCorruptError, match=missing):
        PolicySnapshot.from_dict(plain)


# --- success ---


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, None),
        ({"is_success": True}, True),
        ({"is_success": np.float32(0.0)}, False),
        ({"success": 1.0}, True),
        ({"success": np.array([False])}, False),
        ({"is_success": None, "success": np.bool_(True)}, True),
        ({"is_success": math.nan}, None),
        ({"success": "yes"}, None),
        ({"success": np.array([1.0, 0.0])}, None),
    ],
)
def test_an_info_tells_of_success(info: dict[str, Any], expected: bool | None) -> None:
    assert success_in(info) is expected


def test_episodes_that_are_derived_from_flags_have_their_success() -> None:
    infos = [{}, {"is_success": True}, {"success": False}]
    data = window([1.0, 1.0, 1.0], [False, True, True], [False, False, False], infos=infos)
    assert [episode.success for episode in data.completed_episodes()] == [True, False]
