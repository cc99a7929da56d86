from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import BatchPipeline, HyperparamSet, TorchDQNAgent, make_agent
from tensor_optix.adapters.saving.tensorfile import load_tensors, save_tensors
from tensor_optix.errors import CheckpointMismatchError, TensorOptixError
from tests.fakes.built_in import both_frameworks, torch_now_keras_in_the_soak
from tests.fakes.pictures import agent_of_pictures, agent_of_two_networks, window_of_pictures
from tests.fakes.weights import assert_equal_weights, weights_of

pytestmark = pytest.mark.usefixtures("plain_graphs")


def trained(framework: str) -> Any:
    agent = make_agent("CartPole-v1", framework=framework, seed=0)
    agent.learn(next(iter(BatchPipeline("CartPole-v1", agent, window_size=64, seed=0).episodes())))
    return agent


def state_of(agent: Any, folder: Path) -> dict[str, np.ndarray]:
    agent.save_training_state(str(folder / "look"))
    return load_tensors(str(folder / "look"))[0]


@torch_now_keras_in_the_soak
@pytest.mark.parametrize("damage", ["moment", "weight", "optimizers", "hyperparams", "nan"])
def test_a_training_state_that_does_not_fit_changes_nothing(tmp_path: Path, framework: str, damage: str) -> None:
    agent = trained(framework)
    agent.save_training_state(str(tmp_path / "good"))
    tensors, meta = load_tensors(str(tmp_path / "good"))
    tensors = {name: array + 1 if array.ndim else array for name, array in tensors.items()}
    moment = next(name for name, array in tensors.items() if name.startswith("optimizer.") and array.ndim == 2)
    weight = next(name for name, array in tensors.items() if name.startswith("critic") and array.ndim == 2)
    if damage == "moment":
        tensors[moment] = np.zeros((3, 3), np.float32)
    elif damage == "weight":
        tensors[weight] = np.zeros((3, 3), np.float32)
    elif damage != "nan":
        del meta[damage]
    save_tensors(str(tmp_path / "bad"), tensors, meta)
    before = state_of(agent, tmp_path)
    if damage == "nan":
        (tmp_path / "bad.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(TensorOptixError):
        agent.load_training_state(str(tmp_path / "bad"))
    after = state_of(agent, tmp_path)
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)


def test_weights_go_to_a_path_object_and_come_from_one(tmp_path: Path) -> None:
    agent, other = trained("torch"), make_agent("CartPole-v1", framework="torch", seed=1)
    agent.save_weights(tmp_path / "weights")  # type: ignore[arg-type]
    other.load_weights(tmp_path / "weights")  # type: ignore[arg-type]
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        agent.act_batch(observations, deterministic=True), other.act_batch(observations, deterministic=True)
    )


def test_a_training_state_does_not_move_between_frameworks_but_its_weights_do(tmp_path: Path) -> None:
    source, target = trained("tf"), make_agent("CartPole-v1", framework="torch", seed=1)
    source.save_training_state(str(tmp_path / "state"))
    with pytest.raises(CheckpointMismatchError, match="moments do not move"):
        target.load_training_state(str(tmp_path / "state"))
    target.load_weights(str(tmp_path / "state"))
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        source.act_batch(observations, deterministic=True), target.act_batch(observations, deterministic=True)
    )


def test_which_programs_are_compiled_is_part_of_the_training_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    agents: list[Any] = [
        TorchDQNAgent(
            network := torch.nn.Linear(4, 2),
            2,
            torch.optim.Adam(network.parameters()),
            HyperparamSet({"learning_starts": 64, "updates_per_step": 0.25}),
            seed=0,
            compile=True,
        )
        for _ in range(2)
    ]
    trained, resumed = agents
    trained.learn(next(iter(BatchPipeline("CartPole-v1", trained, window_size=64, seed=0).episodes())))
    trained.save_training_state(str(tmp_path / "state"))
    meta = load_tensors(str(tmp_path / "state"))[1]
    assert [key for key, layout in meta["programs"].items() if "observations" in layout] == ["update(False, False)"]
    resumed.load_training_state(str(tmp_path / "state"))
    resumed.save_training_state(str(tmp_path / "again"))
    assert load_tensors(str(tmp_path / "again"))[1]["programs"] == meta["programs"]


def everything_of(agent: Any, folder: Path) -> tuple[bytes, dict[str, Any]]:
    """What an agent is: arrays, moments and replay memory as bytes; generators, settings and hyper-parameters."""
    agent.save_training_state(str(folder / "all"))
    tensors, meta = load_tensors(str(folder / "all"))
    return b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors)), meta


def damage_file(meta: dict[str, Any], tensors: dict[str, np.ndarray], damage: str) -> None:
    optimizer = next(iter(meta["optimizers"].values()))
    if damage == "generator":
        next(iter(meta["generators"].values()))["state"] = {"state": -1, "inc": "x"}
    elif damage == "hyperparams":
        meta["hyperparams"]["params"]["learning_rate"] = 1e9
    elif damage == "settings":
        optimizer["groups" if "groups" in optimizer else "kind"] = [{"lr": "fast", "params": [99]}]
    elif damage == "extra":
        meta["extra"]["learner"] = {"memory": {"capacity": 10**15}, "gradient_steps": 1, "owed": 0.0}
    elif damage == "unknown":
        tensors["optimizer.nobody.0"] = np.zeros(3, np.float32)
    else:
        name = next(name for name, array in tensors.items() if array.dtype == np.float32 and array.ndim == 2)
        tensors[name] = tensors[name].astype(np.float64)


@pytest.mark.parametrize(("framework", "algorithm"), [("torch", "ppo"), ("torch", "dqn"), ("tf", "dqn")])
def test_a_load_that_fails_leaves_every_part_of_the_agent_bit_identical(
    tmp_path: Path, framework: str, algorithm: str
) -> None:
    params = {"learning_starts": 64, "updates_per_step": 0.1, "replay_capacity": 200} if algorithm == "dqn" else {}
    agents: list[Any] = []
    for seed in (0, 1):
        agent: Any = make_agent(
            "CartPole-v1", algorithm, framework, seed=seed, net_arch=(8,), hyperparams={"learning_rate": 1e-3, **params}
        )
        windows = BatchPipeline("CartPole-v1", agent, window_size=64, seed=seed).episodes()
        for _ in range(2):
            agent.learn(next(windows))
        agents.append(agent)
    agent, other = agents
    other.save_training_state(str(tmp_path / "good"))
    before = everything_of(agent, tmp_path)
    for damage in ("generator", "hyperparams", "settings", "extra", "unknown", "dtype"):
        tensors, meta = load_tensors(str(tmp_path / "good"))
        damage_file(meta, tensors, damage)
        save_tensors(str(tmp_path / "bad"), tensors, meta)
        with pytest.raises(TensorOptixError):
            agent.load_training_state(str(tmp_path / "bad"))
        assert everything_of(agent, tmp_path) == before, damage
    agent.load_training_state(str(tmp_path / "good"))
    assert everything_of(agent, tmp_path) == everything_of(other, tmp_path) != before


@both_frameworks
def test_what_an_agent_of_two_networks_saved_is_refused_by_one_of_a_trunk(tmp_path: Path, framework: str) -> None:
    former, agent = agent_of_two_networks(framework), agent_of_pictures(framework, seed=1)
    former.learn(window_of_pictures(former))
    former.save_weights(str(tmp_path / "weights"))
    former.save_training_state(str(tmp_path / "state"))
    before = weights_of(agent)
    for load, name in (
        (agent.load_weights, "weights"),
        (agent.load_weights, "state"),
        (agent.load_training_state, "state"),
    ):
        with pytest.raises(
            CheckpointMismatchError, match=r"one weight in the model, but differ.*two separate networks"
        ):
            load(str(tmp_path / name))
    assert_equal_weights(weights_of(agent), before)
    agent.save_weights(str(tmp_path / "weights"))
    former.load_weights(str(tmp_path / "weights"))  # the other way round nothing is lost
    assert_equal_weights(weights_of(former), before)
