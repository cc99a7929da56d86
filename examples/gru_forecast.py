"""A GRU of one's own forecasts a live feed that only a memory can: `python -m examples.gru_forecast`."""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tensor_optix import (
    BaseAgent,
    BaseEvaluator,
    EpisodeData,
    EvalMetrics,
    HyperparamSet,
    LivePipeline,
    RLOptimizer,
    TrainingReport,
)

NEVER = 10**9
"""Evaluations without improvement: more than there will be."""


class Echo:
    """A feed in which each value echoes the one three ticks before: xₜ₊₁ = 0.9·xₜ₋₂ + ε, ε ~ N(0, 0.19).

    Neighbours are not correlated, so that the last value alone says nothing of the next one. Who remembers three ticks
    and knows the law has a skill of 0.81.

    Args:
        ticks: how many there are.
        seed: of the noise.
    """

    is_finite = True

    def __init__(self, ticks: int, seed: int = 0) -> None:
        self.ticks, self.seed = ticks, seed

    def stream(self) -> Iterator[tuple[Any, float, bool, bool, dict[str, Any]]]:
        """Yield items as an environment's steps return them; there is no reward, and no end of an episode."""
        rng = np.random.default_rng(self.seed)
        newest = list(rng.normal(size=3))
        for _ in itertools.repeat(None, self.ticks):
            newest = [*newest[1:], 0.9 * newest[0] + rng.normal(scale=0.19**0.5)]
            yield np.array([newest[-1]], np.float32), 0.0, False, False, {}


class GRUForecaster(BaseAgent):
    """Forecasts the next value by a GRU. What it remembers of the feed is handed in and out (`ActsRecurrently`).

    Args:
        size: of the memory.
        seed: of the first weights.
    """

    def __init__(self, size: int = 16, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.ModuleDict({"cell": nn.GRU(1, size, batch_first=True), "head": nn.Linear(size, 1)})
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.size = size

    def act_recurrent(
        self, observations: Any, memories: Sequence[Any], *, action_masks: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return a forecast per row, and what is to be remembered after it."""
        with torch.no_grad():
            forecasts, after = self._forward(np.asarray(observations, np.float32)[:, None], memories)
        return forecasts[:, 0].numpy(), list(after[0].numpy())

    def act(self, observation: Any) -> float:
        """Return the forecast of one who has seen nothing else; the loop calls `act_recurrent`."""
        return float(self.act_recurrent([observation], [None])[0][0])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Make gradient steps on the window, gone through again from what was remembered at its beginning."""
        seen = np.asarray(episode_data.observations, np.float32)
        came = torch.from_numpy(np.asarray(episode_data.next_observations, np.float32)[:, 0])
        ends = np.flatnonzero(episode_data.segment_ends())
        loss = torch.zeros(())
        for _ in range(5):
            errors, start, memory = [], 0, (episode_data.memories or [None])[0]
            for end in ends:  # of a feed without breaks there is one segment
                rows = slice(start, int(end) + 1)
                errors.append((self._forward(seen[None, rows], [memory])[0][0] - came[rows]) ** 2)
                start, memory = int(end) + 1, None
            loss = torch.cat(errors).mean()
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return {"loss": float(loss.detach())}

    def _forward(self, sequences: np.ndarray, memories: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        zeros = np.zeros(self.size, np.float32)
        first = np.stack([zeros if memory is None else memory for memory in memories])
        given, after = self.model["cell"](torch.from_numpy(sequences), torch.from_numpy(first)[None])
        return self.model["head"](given)[..., 0], after

    def get_hyperparams(self) -> HyperparamSet:
        """Return the learning rate."""
        return HyperparamSet({"learning_rate": self.optimizer.param_groups[0]["lr"]})

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        """Put it in force."""
        self.optimizer.param_groups[0]["lr"] = hp.params["learning_rate"]

    def save_weights(self, path: str) -> None:
        """Write the network."""
        np.savez(f"{path}.npz", **{name: tensor.numpy() for name, tensor in self.model.state_dict().items()})

    def load_weights(self, path: str) -> None:
        """Read the network."""
        with np.load(f"{path}.npz") as saved:
            self.model.load_state_dict({name: torch.from_numpy(saved[name]) for name in saved.files})


class SkillEvaluator(BaseEvaluator):
    """Scores the forecasts of a window: 1 - Σ(x - x̂)²/Σx². Who says 0, which is the mean, has a skill of 0."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
        """Return the skill; every forecast was made before the model learned from the window."""
        came = np.asarray(episode_data.next_observations, float)[:, 0]
        skill = 1 - float(np.mean((came - episode_data.actions) ** 2) / np.mean(came**2))
        return EvalMetrics(skill, {"skill": skill}, episode_data.episode_id)


class Outcome(NamedTuple):
    """What came of a run."""

    agent: GRUForecaster
    report: TrainingReport


def forecast(
    *, windows: int = 60, window_size: int = 100, seed: int = 0, checkpoint_dir: str | Path = "runs/gru_forecast"
) -> Outcome:
    """Forecast the feed, and learn from each window.

    Args:
        windows: to forecast and learn from.
        window_size: ticks in a window.
        seed: of the feed and the network.
        checkpoint_dir: of the run.
    """
    agent = GRUForecaster(seed=seed)
    report = RLOptimizer(
        agent,
        LivePipeline(Echo(windows * window_size + 1, seed), agent, LivePipeline.every_n_steps(window_size)),
        evaluator=SkillEvaluator(),
        checkpoint_dir=checkpoint_dir,
        max_episodes=windows,
        max_interval_episodes=1,  # every window is scored
        dormant_threshold=NEVER,  # it is to learn, not to watch
        restore_best=False,  # of a model that goes on learning, the last weights are the ones to keep
        seed=seed,
    ).run()
    return Outcome(agent, report)


def main(argv: Sequence[str] | None = None) -> None:
    """Forecast, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m examples.gru_forecast", description=__doc__)
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--window-size", type=int, default=100, help="ticks in a window: so often the model learns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-dir", default="runs/gru_forecast")
    print(forecast(**vars(parser.parse_args(argv))).report)


if __name__ == "__main__":
    main()
