"""Where an agent computes: what the names stand for, and that nothing of it stays behind."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tensor_optix.adapters.pytorch._device_memory import TorchDeviceMemory
from tensor_optix.adapters.pytorch.backend import TorchBackend
from tensor_optix.algorithms import _devices
from tensor_optix.algorithms._description import AgentDescription
from tensor_optix.algorithms._devices import resolve_device
from tensor_optix.errors import DeviceError, InvalidArgumentError
from tensor_optix.factory import build_agent, make_agent
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tests.fakes.accelerator import DEVICE, pretended_accelerator

torch.set_num_threads(1)
both = pytest.mark.parametrize("framework", ["torch", "tf"])
FEW = {"n_epochs": 1, "minibatch_size": 8}
SMALL_REPLAY = {"learning_starts": 4, "batch_size": 4, "replay_capacity": 50}
ALGORITHMS = [
    ("ppo", "CartPole-v1", FEW),
    ("ppo", "Pendulum-v1", FEW),
    ("recurrent_ppo", "CartPole-v1", FEW),
    ("dqn", "CartPole-v1", SMALL_REPLAY),
    ("sac", "Pendulum-v1", SMALL_REPLAY),
]


@both
def test_auto_is_cuda_where_the_framework_finds_it(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(_devices, "finds_cuda", lambda _, there=there: there)
        assert resolve_device("auto", framework) == device
        assert resolve_device("cpu", framework) == "cpu"


def test_a_gpu_that_is_not_there_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_devices, "finds_cuda", lambda _: False)
    with pytest.raises(DeviceError, match=r"PyTorch finds no GPU here: give --device cpu"):
        make_agent("CartPole-v1", framework="torch", device="cuda")


def test_another_name_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"device must be 'auto' or one of .*, but got 'tpu'"):
        make_agent("CartPole-v1", framework="torch", device="tpu")


@both
def test_a_framework_is_asked(framework: str) -> None:
    assert _devices.finds_cuda(framework) in (True, False)


def test_what_the_pretended_accelerator_refuses() -> None:
    here, there = torch.zeros(2, 3), torch.zeros(3, 4, device=DEVICE)
    with pretended_accelerator():
        for mixed in (lambda: here @ there, lambda: torch.cat([here, there.T[:2, :3]]), there.numpy):
            with pytest.raises((RuntimeError, TypeError)):
                mixed()


@pytest.mark.parametrize(("algorithm", "env_id", "hyperparams"), ALGORITHMS)
def test_nothing_of_a_torch_agent_stays_behind(
    algorithm: str, env_id: str, hyperparams: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = TorchDeviceMemory(torch.device(DEVICE))
    monkeypatch.setattr(TorchBackend, "device_memory", lambda *_: memory)
    env = gym.make(env_id)
    described = AgentDescription(algorithm=algorithm, framework="torch", net_arch=(4, 4), hyperparams=hyperparams)
    with pretended_accelerator():
        agent: Any = build_agent(described, env.observation_space, env.action_space, 0, device=DEVICE)
        pipeline = BatchPipeline(env, agent, window_size=8)
        pipeline.setup()
        learned = agent.learn(next(iter(pipeline.episodes())))
        agent.restore(agent.snapshot())
        agent.perturb_weights(0.1, np.random.default_rng(0))
        agent.restart_optimizer()
        assert agent.first_non_finite() is None
        agent.save_training_state(str(tmp_path / "state"))
        agent.load_training_state(str(tmp_path / "state"))
        moved = agent.learn(next(iter(pipeline.episodes())))
    assert moved.keys() == learned.keys()
    assert {table.device.type for table in memory._tables.values()} == (
        {DEVICE} if algorithm in ("dqn", "sac") else set()
    )
    on_the_cpu: Any = build_agent(described, env.observation_space, env.action_space, 0)
    on_the_cpu.load_training_state(str(tmp_path / "state"))  # as a run made on a GPU is played on the CPU
    assert on_the_cpu.act(env.observation_space.sample()) is not None
