"""Own agents that learn, in whole runs: a table, a dict of parts and a controller, in every pipeline, resumed too."""

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix import BatchPipeline, EnvironmentSource, LivePipeline, RLOptimizer, VectorBatchPipeline
from tensor_optix.core.base_agent import BaseAgent
from tests.contracts.agent_contract import AgentContract
from tests.fakes.own_agents import QTable, Tank, TankKeeper, Torque

LAKE = partial(gym.make, "FrozenLake-v1", is_slippery=False)
AGENTS: dict[str, tuple[Any, Any]] = {
    "table": (QTable, LAKE),
    "dict": (TankKeeper, Tank),
    "continuous": (Torque, partial(gym.make, "Pendulum-v1", max_episode_steps=20)),
}


class TestTable(AgentContract):
    env = "FrozenLake-v1"

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return QTable()


class TestDict(AgentContract):
    env: Any = Tank()

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return TankKeeper()


class TestContinuous(AgentContract):
    env = "Pendulum-v1"

    @pytest.fixture
    def agent(self) -> BaseAgent:
        return Torque()


def single(make: Any) -> Any:
    return BatchPipeline(make(), window_size=60)


def several(make: Any, mode: AutoresetMode) -> Any:
    return VectorBatchPipeline(SyncVectorEnv([make] * 3, autoreset_mode=mode), window_size=40)


def live(make: Any) -> Any:
    return LivePipeline(EnvironmentSource(make()), episode_boundary_fn=LivePipeline.every_n_steps(60))


PIPELINES = {"single": single, "live": live, **{mode.name: partial(several, mode=mode) for mode in AutoresetMode}}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize(("agent", "make"), AGENTS.values(), ids=AGENTS)
def test_a_run_with_validation(agent: Any, make: Any, pipeline: Any, tmp_path: Path) -> None:
    held_out = BatchPipeline(make(), n_episodes=2)
    learner = agent()
    run = RLOptimizer(
        learner, pipeline(make), checkpoint_dir=tmp_path, val_pipeline=held_out, max_windows=4, seed=0, progress=False
    )
    report = run.run()
    assert report.windows == 4
    assert not report.health
    assert np.isfinite(report.best_score)


@pytest.mark.parametrize(("agent", "make"), AGENTS.values(), ids=AGENTS)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(agent: Any, make: Any, tmp_path: Path) -> None:
    def run(folder: str, windows: int, **how: Any) -> Any:
        return RLOptimizer(
            agent(),
            single(make),
            checkpoint_dir=tmp_path / folder,
            max_windows=windows,
            seed=0,
            val_pipeline=None,
            **how,
        ).run()

    whole = run("whole", 4)
    run("parts", 2)
    parts = run("parts", 4, resume=True)
    assert (parts.windows, parts.env_steps) == (whole.windows, whole.env_steps)


def test_a_table_learns_the_way_across_the_lake(tmp_path: Path) -> None:
    agent = QTable()
    pipeline = BatchPipeline(LAKE(), window_size=500)
    RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, max_windows=12, seed=0, progress=False).run()
    env = LAKE()
    observation, _ = env.reset()
    assert isinstance(observation, int)
    for _ in range(6):
        observation, reward, *_ = env.step(agent.act_batch(np.array([observation]), deterministic=True)[0])
    assert reward == 1.0
    assert all(isinstance(key, int | np.integer) for key in agent.q)


def test_a_keeper_of_named_parts_holds_its_tank(tmp_path: Path) -> None:
    agent = TankKeeper()
    pipeline = BatchPipeline(Tank(), window_size=200)
    report = RLOptimizer(
        agent, pipeline, checkpoint_dir=tmp_path, max_windows=20, seed=0, progress=False, val_pipeline=None
    ).run()
    assert report.best_score is not None
    assert report.best_score > -4.0  # 20 steps; without a gain it is about -10
