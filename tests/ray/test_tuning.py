"""Trials of Ray Tune: over a fake of it, and, in a tier of its own, with its PBT on a cluster."""

import dataclasses
import math
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix.adapters._agent import BuiltInAgent
from tensor_optix.errors import CheckpointCorruptError, HyperparamError, InvalidArgumentError, MissingDependencyError
from tensor_optix.policy import load_policy
from tensor_optix.ray import trainable
from tensor_optix.ray import tuning as module
from tensor_optix.ray.checkpoints import read_checkpoint
from tensor_optix.ray.tuning import Plan, Trial, configured, number_of
from tests.fakes.tiny_runs import TINY
from tests.fakes.tune import FakeTune

RUN = dataclasses.replace(TINY, val_episodes=2, normalize_observations=True, max_episodes=3)
PLAN = Plan(run=RUN, windows=1, checkpoint_every=1)
CONFIG = {"learning_rate": 0.01, "clip_ratio": 0.3}


def tried(tune: FakeTune, config: dict[str, Any] = CONFIG, **plan: Any) -> FakeTune:
    Trial(dataclasses.replace(PLAN, **plan), config, tune).train()
    return tune


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FakeTune:
    return tried(FakeTune(tmp_path_factory.mktemp("whole")))


def test_it_reports_until_its_bound_and_its_values_are_in_force(whole: FakeTune) -> None:
    assert [(one["steps"], one["windows"]) for one in whole.told] == [(32, 1), (64, 2), (96, 3)]
    assert all(one["effective"] == pytest.approx(CONFIG) for one in whole.told)
    assert all(math.isfinite(one["score"]) for one in whole.told)


def test_from_any_checkpoint_of_its_own_it_comes_to_the_same(whole: FakeTune, tmp_path: Path) -> None:
    resumed = tried(FakeTune(tmp_path, checkpoint=whole.checkpoints[0]))
    assert resumed.told == whole.told[1:]
    names = [path.relative_to(whole.checkpoints[-1]) for path in whole.checkpoints[-1].rglob("*.safetensors")]
    assert names
    for name in names:
        assert (resumed.checkpoints[-1] / name).read_bytes() == (whole.checkpoints[-1] / name).read_bytes()


def test_what_another_trials_checkpoint_brings_along_does_not_overwrite_the_values(
    whole: FakeTune, tmp_path: Path
) -> None:
    own = {"learning_rate": 0.002, "clip_ratio": 0.15}
    copied = tried(FakeTune(tmp_path, "a1b2c_00002", whole.checkpoints[1]), own)
    (told,) = copied.told
    assert told["effective"] == pytest.approx(own)
    assert told["steps"] == 96
    state = read_checkpoint(copied.checkpoints[0])
    assert (state.trial, state.number == 1) == ("a1b2c_00002", False)
    same_values = tried(FakeTune(tmp_path / "same", "a1b2c_00003", whole.checkpoints[1]))
    weights = [
        path.relative_to(same_values.checkpoints[0]) for path in same_values.checkpoints[0].rglob("*.safetensors")
    ]
    assert any(
        (same_values.checkpoints[0] / name).read_bytes() != (whole.checkpoints[2] / name).read_bytes()
        for name in weights
    )  # two of a kind explore otherwise


def test_the_policy_of_a_checkpoint_plays(whole: FakeTune) -> None:
    policy = load_policy(whole.checkpoints[-1])
    assert policy.snapshot is not None
    assert policy.snapshot.eval_metrics.primary_score == whole.told[-1]["score"]
    assert policy.predict([0.0, 0.0, 0.0, 0.0]) in (0, 1)


def test_a_damaged_checkpoint_is_refused(whole: FakeTune, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(whole.checkpoints[0], tmp_path / "damaged"))
    (file,) = damaged.glob("training_000000/agent*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointCorruptError, match="is damaged"):
        tried(FakeTune(tmp_path, checkpoint=damaged))


def test_checkpoints_are_as_rare_as_asked_and_there_is_one_at_the_end(tmp_path: Path) -> None:
    assert len(tried(FakeTune(tmp_path / "two"), checkpoint_every=2).checkpoints) == 2
    assert tried(FakeTune(tmp_path / "none"), checkpoint_every=0).checkpoints == []


def test_it_ends_at_its_target(tmp_path: Path) -> None:
    run = dataclasses.replace(RUN, target_score=1.0)
    tune = tried(FakeTune(tmp_path), run=run, checkpoint_every=2)
    assert (len(tune.told), len(tune.checkpoints)) == (1, 1)


def test_one_that_diverges_reports_minus_infinity_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BuiltInAgent, "first_non_finite", lambda self: "actor.0")
    (told,) = tried(FakeTune(tmp_path)).told
    assert told["score"] == -math.inf


def test_a_configuration_is_settings_and_hyperparameters() -> None:
    run, params = configured(RUN, {"net_arch": (16, 16), "seed": 7, "learning_rate": 0.1})
    assert (run.net_arch, run.seed, params) == ([16, 16], 7, {"learning_rate": 0.1})
    assert run.hyperparams == {"n_epochs": 1, "learning_rate": 0.1}
    with pytest.raises(HyperparamError, match=r"param_space: ppo has no .* 'lr'. Did you mean 'learning_rate'"):
        configured(RUN, {"lr": 0.1})
    with pytest.raises(HyperparamError, match="follows a schedule"):
        configured(RUN, {"learning_rate": "lin_3e-4"})
    with pytest.raises(InvalidArgumentError, match="n_envs cannot be 0"):
        configured(RUN, {"n_envs": 0})


def test_trials_have_numbers_of_their_own() -> None:
    assert number_of("a1b2c_00012") == 12
    assert number_of("mine") == number_of("mine") != number_of("yours")


def test_what_makes_no_run_is_refused_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "require", lambda *names: None)
    made = trainable("CartPole-v1", algorithm="ppo", framework="torch", max_steps=100)
    assert made.__name__ == "CartPole-v1-ppo"
    for wrong, kind in ({"windows": 0}, InvalidArgumentError), ({"step": 3}, InvalidArgumentError):
        with pytest.raises(kind, match=next(iter(wrong))):
            trainable("CartPole-v1", **wrong)
    with pytest.raises(HyperparamError, match="schedule"):
        trainable("CartPole-v1", framework="torch", max_steps=100, hyperparams={"learning_rate": "lin_3e-4"})


def test_what_is_missing_is_said_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"trainable needs ray.*tensor-optix-core\[ray\]"):
        trainable("CartPole-v1")

    def without_pandas(*names: str) -> Any:
        raise ImportError("Can't import ray.tune")

    monkeypatch.setattr(module, "require", without_pandas)
    with pytest.raises(MissingDependencyError, match=r"needs Ray Tune.*tensor-optix-core\[ray\]"):
        trainable("CartPole-v1")


@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.usefixtures("ray_cluster")
def test_tunes_own_pbt_copies_weights_and_each_trial_works_with_its_own_values(tmp_path: Path) -> None:
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    told = list[dict[str, Any]]()

    class Keeping(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            told.append(dict(result))

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - theirs
    space = {"learning_rate": tune.loguniform(1e-4, 1e-1), "clip_ratio": tune.uniform(0.1, 0.4)}
    small = {"window_size": 32, "n_envs": 1, "net_arch": [8], "hyperparams": {"n_epochs": 1}, "val_episodes": 2}
    schedule = PopulationBasedTraining(
        time_attr="training_iteration",  # else the interval is one of seconds
        perturbation_interval=4,
        hyperparam_mutations=dict(space),
        quantile_fraction=0.5,
    )
    trial = trainable("CartPole-v1", framework="torch", algorithm="ppo", windows=1, max_episodes=24, **small)

    def begun_together(config: dict[str, Any]) -> None:
        # One that has ended before the other begins would copy nothing, and be copied by nobody.
        (tmp_path / tune.get_context().get_trial_id()).touch()
        while len([*tmp_path.glob("*_0000?")]) < 2:
            time.sleep(0.05)
        trial(config)

    found = tune.Tuner(
        begun_together,
        param_space=dict(space),
        tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=2, scheduler=schedule, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "runs"), verbose=0, callbacks=[Keeping()]),
    ).fit()
    assert not found.errors
    for one in told:
        assert one["effective"] == pytest.approx(one["config"])
    values = {(one["trial_id"], one["effective"]["learning_rate"]) for one in told}
    assert len(values) > 2  # one has gone on with the weights of the other, and with other values than before
    best = found.get_best_result().checkpoint
    assert best is not None
    assert load_policy(best.path).predict([0.0, 0.0, 0.0, 0.0]) in (0, 1)
