"""What is left out of a run's settings is chosen, measured or drawn; what is given holds, the nearest first."""

from typing import Any

import pytest

from tensor_optix.cli.describing import described, with_measured_environments
from tensor_optix.cli.flags import Given
from tensor_optix.errors import HyperparamError, InvalidArgumentError
from tensor_optix.runs import RunDescription

BASE: Given = {"env": "CartPole-v1", "framework": "torch", "net_arch": [4]}


def run_of(flags: Given | None = None, file: Given | None = None, sets: Given | None = None) -> RunDescription:
    return described(BASE | (file or {}), flags or {}, sets or {})[0]


def test_what_nobody_gives_is_the_presets() -> None:
    run = run_of()
    assert (run.algorithm, run.window_size, run.base_interval, run.max_interval) == ("ppo", 2048, 1, 2)
    assert (run.scaled_patience, run.escape, run.tuning, run.validation_share) == (True, True, True, 0.15)
    assert 0 <= run.seed < 2**31
    dqn = run_of({"algorithm": "dqn"})
    assert (dqn.window_size, dqn.base_interval, dqn.max_interval) == (256, 8, 16)


def test_a_memory_sees_vectors_normalised_and_images_as_they_are() -> None:
    recurrent: Given = {"algorithm": "recurrent_ppo", "n_envs": 1}
    assert run_of(recurrent).normalize_observations
    assert not run_of(recurrent | {"normalize_observations": False}).normalize_observations
    images = run_of(recurrent | {"env": "tests/fakes/served.py:Picture", "net_arch": [4, 4]})
    assert (images.normalize_observations, images.normalize_rewards) == (False, True)


def test_flags_go_before_the_file_and_set_before_both() -> None:
    run = run_of({"seed": 2, "window_size": 64}, {"seed": 1, "window_size": 32, "threads": 1}, {"seed": 3})
    assert (run.seed, run.window_size, run.threads) == (3, 64, 1)


def test_a_section_holds_for_its_algorithm() -> None:
    file = {"ppo": {"gamma": 0.5}, "dqn": {"gamma": 0.6}}
    assert run_of({"algorithm": "dqn"}, file).hyperparams == {"gamma": 0.6}
    assert run_of({"hyperparams": {"gamma": 0.7}}, file).hyperparams == {"gamma": 0.7}
    with pytest.raises(InvalidArgumentError, match=r"--set dqn.gamma: this run trains ppo, not dqn"):
        run_of(sets={"dqn": {"gamma": 0.6}})


@pytest.mark.parametrize(
    ("given", "scaled"),
    [({}, True), ({"dormant_threshold": 20}, False), ({"max_interval": 2}, False), ({"plateau_threshold": 4}, True)],
)
def test_a_threshold_by_hand_is_the_rule_unless_the_file_says_otherwise(given: Given, scaled: bool) -> None:
    assert run_of(given).scaled_patience is scaled
    assert run_of(given | {"scaled_patience": True}).scaled_patience


def test_a_run_that_was_described_is_described_again() -> None:
    import dataclasses

    run = run_of({"seed": 5, "n_envs": 2, "normalize_observations": True, "validation_share": 1.0})
    assert run.validation_share is None
    again = described(dataclasses.asdict(run) | {"validation_share": 1.0}, {}, {})[0]
    assert again == run


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "--seed must not be negative"),
        ({"evolve": -1}, "--evolve must be a whole number"),
        ({"window_size": 0}, "window_size must be an integer"),
        ({"validation_share": 0.0}, "--validation-share must be above 0"),
        ({"hyperparams": {"lr": 1}}, "Did you mean 'learning_rate'"),
    ],
)
def test_what_no_run_can_have_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        run_of(given)


def test_without_an_environment_there_is_no_run() -> None:
    with pytest.raises(InvalidArgumentError, match="train needs an environment"):
        described({}, {}, {})


def test_a_number_of_environments_that_is_given_is_not_measured() -> None:
    run = run_of({"n_envs": 3, "async_envs": True})
    assert with_measured_environments(run, {"n_envs": 3}) == (run, "")
    with pytest.raises(InvalidArgumentError, match="--n-envs must be an integer of at least 1"):
        with_measured_environments(run_of({"n_envs": 0}), {"n_envs": 0})
    with pytest.raises(InvalidArgumentError, match="--async-envs needs --n-envs N"):
        with_measured_environments(run_of({"async_envs": True}), {"async_envs": True})


def test_an_algorithm_that_learns_from_each_step_has_one() -> None:
    run, said = with_measured_environments(run_of({"algorithm": "dqn"}), {})
    assert run.n_envs == 1
    assert "--n-envs N steps more at once" in said


def test_a_schedule_needs_the_length_of_the_run() -> None:
    scheduled = {"hyperparams": {"learning_rate": "lin_3e-4"}}
    assert run_of({"max_steps": 1000}, scheduled).hyperparams == {"learning_rate": "lin_3e-4"}
    with pytest.raises(HyperparamError, match="which has none: give --total-steps"):
        run_of(None, scheduled)


def test_the_memory_of_recurrent_ppo_is_chosen_and_no_other_algorithm_has_one() -> None:
    gru = run_of({"algorithm": "recurrent_ppo", "cell": "gru"})
    assert gru.agent().description.cell == "gru"  # type: ignore[attr-defined]
    assert run_of({"algorithm": "recurrent_ppo"}).cell == run_of({}, {"cell": "lstm"}).cell == "lstm"
    with pytest.raises(InvalidArgumentError, match=r"--cell gru is the memory of recurrent PPO, but .* ppo"):
        run_of({"cell": "gru"})


def test_one_environment_may_have_a_process_of_its_own_with_its_bounds() -> None:
    given = {"isolate": True, "step_timeout": 5.0, "max_worker_rss": 1 << 30}
    run, said = with_measured_environments(run_of(given), given)
    assert (run.n_envs, run.isolate, run.step_timeout, run.max_worker_rss) == (1, True, 5.0, 1 << 30)
    assert "a process of its own" in said
    given = {"n_envs": 2, "async_envs": True, "step_timeout": 5.0}
    assert with_measured_environments(run_of(given), given)[0].step_timeout == 5.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"isolate": True, "n_envs": 2}, r"--isolate is for one environment"),
        ({"isolate": True, "n_envs": 1, "async_envs": True}, r"--isolate is for one environment"),
        ({"step_timeout": 5.0}, r"--step-timeout needs .*--isolate"),
        ({"max_worker_rss": 5, "n_envs": 2}, r"--max-worker-rss needs .*--async-envs"),
    ],
)
def test_what_needs_a_process_of_its_own_says_so(given: Given, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        with_measured_environments(run_of(given), given)


def test_whether_updates_are_beside_collecting_is_said_by_on_or_off() -> None:
    assert [run_of({"algorithm": "dqn", "learn_beside": said}).learn_beside for said in ("auto", "off", "on")] == [
        "off",
        "off",
        "on",
    ]
    with pytest.raises(InvalidArgumentError, match=r"--learn-beside on needs DQN or SAC on the CPU"):
        run_of({"learn_beside": "on"})


def test_a_run_builds_agents_that_learn_beside_where_they_can() -> None:
    run = run_of({"algorithm": "dqn", "learn_beside": "on"})
    agents: list[Any] = [run.agent(), run.agent(1)]
    assert all(agent._beside is not None for agent in agents)
    assert not hasattr(run.agent(algorithm="ppo"), "_beside")
