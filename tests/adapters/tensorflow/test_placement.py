"""Everything of an agent is computed where its weights are, whichever device TensorFlow would take by itself."""

import contextlib
import subprocess
import sys
import textwrap

import pytest

from tensor_optix.adapters.tensorflow._keras import keras, tf
from tensor_optix.adapters.tensorflow._placement import device_of, on


def test_on_the_only_device_nothing_is_placed() -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    assert device_of([model]) is None
    for device in (None, "cpu", "cuda"):
        assert isinstance(on(device), contextlib.nullcontext)


def test_of_several_the_one_of_the_weights_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda: ["CPU:0", "GPU:0"])
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    assert str(device_of([model])).endswith("device:CPU:0")
    with on("cpu"):
        assert tf.constant(1.0).device.endswith("device:CPU:0")
    assert device_of([]) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "env_id"),
    [("ppo", "CartPole-v1"), ("recurrent_ppo", "CartPole-v1"), ("dqn", "CartPole-v1"), ("sac", "Pendulum-v1")],
)
def test_on_the_second_of_two_devices_learning_is_the_same_and_nothing_is_on_the_first(
    algorithm: str, env_id: str
) -> None:
    program = f"""
        import gymnasium as gym, numpy as np
        from tensor_optix.adapters.tensorflow._keras import tf
        [cpu] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from tensor_optix.adapters.tensorflow._device_memory import TFDeviceMemory
        from tensor_optix.adapters.tensorflow._placement import device_of
        from tensor_optix.adapters.tensorflow.backend import TFBackend
        from tensor_optix.algorithms._description import AgentDescription
        from tensor_optix.factory import build_agent
        from tensor_optix.pipeline.batch_pipeline import BatchPipeline

        def on_the_second(backend, models):  # as on a GPU
            device = device_of(models)
            return TFDeviceMemory(device, spare_bytes=0) if "CPU:1" in device else None

        TFBackend.device_memory = on_the_second
        few = {{"learning_starts": 32, "batch_size": 16, "replay_capacity": 300}}
        hyperparams = few if {algorithm!r} in ("dqn", "sac") else {{}}
        described = AgentDescription(algorithm={algorithm!r}, framework="tf", net_arch=(8, 8), hyperparams=hyperparams)
        found = []
        for device in ("/CPU:0", "/CPU:1"):
            env = gym.make({env_id!r})
            agent = build_agent(described, env.observation_space, env.action_space, 0, device=device)
            pipeline = BatchPipeline(env, agent, window_size=64)
            pipeline.setup()
            pipeline.seed(0)
            for _, window in zip(range(2), pipeline.episodes()):
                learned = agent.learn(window)
            weights, moments = agent.snapshot()
            agent.restore((weights, moments))
            agent.restart_optimizer()
            found.append((learned, weights))
            places = {{
                getattr(v.value, "device", None) or v.device
                for model in agent._learned_models.values() for v in getattr(model, "weights", [])
            }} | {{v.value.device for one in agent._optimizers.values() for v in one.variables}}
            if {algorithm!r} in ("dqn", "sac") and device == "/CPU:1":
                places |= {{table.device for table in agent._off_policy.learner._mirror._tables._tables.values()}}
            assert all(place.endswith(device.strip("/")) for place in places), (device, places)
        (learned, weights), (learned_there, weights_there) = found
        assert learned == learned_there
        assert all(np.array_equal(weights[name], weights_there[name]) for name in weights)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)  # noqa: S603 - our own code
