"""AgileRL's tournament over its own PPO: `python -m benchmarks._population_agilerl SETTINGS`, JSON in, JSON out.

The values, the ranges, the network, the mutations and the steps between two tournaments are those of its own manifest,
`configs/training/ppo/ppo.yaml`; the environment, the members and their steps are ours. The best of all tournaments
plays greedily, where AgileRL's own `get_action` draws.
"""

import json
import sys
import time
import warnings
from typing import Any

import numpy as np

from benchmarks._runs import true_returns
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import Action, Diagnostics, EpisodeData, HyperparamSet, Observation

MANIFEST: dict[str, Any] = {
    "algorithm": {
        "name": "PPO",
        "batch_size": 128,
        "lr": 0.001,
        "learn_step": 2048,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "action_std_init": 0.6,
        "clip_coef": 0.2,
        "ent_coef": 0.01,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "update_epochs": 4,
        "share_encoders": True,
    },
    "mutation": {
        "probabilities": {
            "no_mut": 0.4,
            "arch_mut": 0.2,
            "new_layer": 0.2,
            "params_mut": 0.2,
            "act_mut": 0.0,
            "rl_hp_mut": 0.2,
        },
        "rl_hp_selection": {
            "lr": {"min": 0.0001, "max": 0.01},
            "batch_size": {"min": 8, "max": 1024},
            "learn_step": {"min": 256, "max": 8192},
            "ent_coef": {"min": 0.001, "max": 0.1},
            "update_epochs": {"min": 1, "max": 10},
        },
        "mutation_sd": 0.1,
    },
    "network": {
        "latent_dim": 64,
        "encoder_config": {
            "hidden_size": [64],
            "activation": "ReLU",
            "min_mlp_nodes": 64,
            "max_mlp_nodes": 500,
            "layer_norm": True,
        },
        "head_config": {
            "hidden_size": [64],
            "activation": "ReLU",
            "min_hidden_layers": 1,
            "max_hidden_layers": 3,
            "min_mlp_nodes": 64,
            "max_mlp_nodes": 500,
            "output_vanish": True,
            "layer_norm": True,
        },
    },
    "selection_strategy": {"tournament_size": 2, "elitism": True},
    "training": {"evo_steps": 10_240, "eval_loop": 1},
}
N_ENVS = 16
"""As there, but in one process: in processes of their own, its default, steps of CartPole took half as long again."""


def main() -> None:
    """Run it, and print `seconds`, `steps`, and the `mean` of the episodes that its best has played."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    sys.modules["tensorflow"] = None  # type: ignore[assignment] - it has no use for it, and would wait for its import
    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    tournaments = _trained(given)
    seconds = time.perf_counter() - begun
    played = true_returns(given["env"], _Greedy(tournaments.best), given["episodes"], given["episode_seed"])
    print(json.dumps({"seconds": seconds, "steps": tournaments.steps, "failed": 0, "mean": float(np.mean(played))}))


class _Tournaments:
    """AgileRL's selection, of which the best is kept before it is mutated, and the steps of all members counted."""

    def __init__(self, selection: Any) -> None:
        self._selection, self._begun = selection, 0
        self.best: Any = None
        self.score, self.steps = -np.inf, 0

    def select(self, population: list[Any]) -> Any:
        self.steps += _steps(population) - self._begun
        fittest = max(population, key=lambda agent: agent.fitness[-1])
        if fittest.fitness[-1] >= self.score:
            self.score, self.best = fittest.fitness[-1], fittest.clone()
        chosen = self._selection.select(population)
        self._begun = _steps(chosen[1])
        return chosen


def _steps(population: list[Any]) -> int:
    return sum(agent.metrics.steps for agent in population)


def _trained(given: dict[str, Any]) -> _Tournaments:
    import torch
    from agilerl import LocalTrainer  # pyright: ignore[reportMissingImports] - no dependency of ours
    from agilerl.utils.mutation_utils import set_global_seed  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    set_global_seed(given["seed"])
    training = {**MANIFEST["training"], "pop_size": given["members"], "max_steps": given["steps"]}
    trainer = LocalTrainer.from_manifest(
        {
            **MANIFEST,
            "environment": {"name": given["env"], "num_envs": N_ENVS, "sync": True},
            "mutation": {**MANIFEST["mutation"], "rand_seed": given["seed"]},
            "training": training,
        }
    )
    trainer.env.reset(seed=given["seed"])
    trainer.selection_strategy = tournaments = _Tournaments(trainer.selection_strategy)
    trainer.train(verbose=False)
    return tournaments


class _Greedy(BaseAgent):
    """The likeliest action of one of its agents."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        agent.set_training_mode(False)

    def act(self, observation: Observation, *, deterministic: bool = True) -> Action:
        return self.act_batch(np.asarray(observation)[None])[0]

    def act_batch(self, observations: Observation, *, deterministic: bool = True) -> Action:
        import torch

        actor = self._agent.actor
        with torch.no_grad():
            features = actor.extract_features(self._agent.preprocess_observation(observations))
            return actor.head_net.wrapped(features).argmax(-1).numpy()

    def learn(self, episode_data: EpisodeData) -> Diagnostics:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({})

    def set_hyperparams(self, hp: HyperparamSet) -> None: ...

    def save_weights(self, path: str) -> None: ...

    def load_weights(self, path: str) -> None: ...


if __name__ == "__main__":
    main()
