"""Both frameworks, from equal weights, window and minibatch order, make the same update."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

from tensor_optix import BatchPipeline, EpisodeData, HyperparamSet, TFPPOAgent, TorchPPOAgent
from tensor_optix.adapters.saving.weights import translated
from tensor_optix.adapters.tensorflow._adam import PaperAdam
from tensor_optix.algorithms._distributions import MultiCategorical
from tests.fakes.weights import weights_of

torch.set_num_threads(1)


def torch_agent(n_observations: int, n_outputs: int, params: dict[str, Any], **kwargs: Any) -> TorchPPOAgent:
    torch.manual_seed(0)

    def network(size: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(n_observations, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, size)
        )

    actor, critic = network(n_outputs), network(1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], eps=1e-5)
    return TorchPPOAgent(actor, critic, optimizer, HyperparamSet(params), seed=5, compile=False, **kwargs)


def tf_agent(n_observations: int, n_outputs: int, params: dict[str, Any], **kwargs: Any) -> TFPPOAgent:
    def network(size: int) -> keras.Sequential:
        layers = keras.layers
        return keras.Sequential(
            [
                layers.Input((n_observations,)),
                layers.Dense(64, "tanh"),
                layers.Dense(64, "tanh"),
                layers.Dense(size),
            ]
        )

    kwargs.setdefault("compile", False)  # the plain graph makes the same steps, and is traced in less time
    optimizer = PaperAdam(epsilon=1e-5)
    return TFPPOAgent(network(n_outputs), network(1), optimizer, HyperparamSet(params), seed=5, **kwargs)


def differences(first: TorchPPOAgent, second: TFPPOAgent) -> float:
    theirs = weights_of(second)
    ours = translated(weights_of(first), list(weights_of(first)), theirs)
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs)


def window_on(env: str, agent: Any, size: int, seed: int) -> EpisodeData:
    if env in CHOICES:
        return random_window(agent, size, seed, with_masks="masks" in env)
    return next(iter(BatchPipeline(env, agent, window_size=size, seed=seed).episodes()))


def random_window(agent: Any, size: int, seed: int, with_masks: bool) -> EpisodeData:
    """Five logits, which are one choice of five or two of two and three: an action of each is always allowed."""
    rng = np.random.default_rng(seed)
    observations = rng.normal(size=(size, 4)).astype(np.float32)
    masks = rng.random((size, 5)) < 0.6
    masks[:, [0, 3]] = True
    return EpisodeData(
        observations=observations,
        actions=agent.act_masked(observations, masks) if with_masks else agent.act_batch(observations),
        rewards=rng.normal(size=size).astype(np.float32),
        terminated=rng.random(size) < 0.05,
        truncated=rng.random(size) < 0.05,
        next_observations=rng.normal(size=(size, 4)).astype(np.float32),
        action_masks=masks if with_masks else None,
    )


MULTI = MultiCategorical([2, 3])
ENVIRONMENTS = {
    "CartPole-v1": (4, 2, "categorical"),
    "Pendulum-v1": (3, 2, "gaussian"),
    "Taxi-v4": (500, 6, "categorical"),
}
CHOICES = {
    "several choices": (4, 5, MULTI),
    "masks": (4, 5, "categorical"),
    "several choices, masks": (4, 5, MULTI),
}
CASES = ENVIRONMENTS | CHOICES


def updated(
    env: str, tmp_path: Path, steps: int, seeds: range, clip_ratio: float = 0.2
) -> list[tuple[float, dict[str, float], dict[str, float]]]:
    """Make the same update of `steps` minibatches in both frameworks, from the same start, once per seed."""
    n_observations, n_outputs, distribution = CASES[env]
    epochs = 10 if steps > 1 else 1
    # On noise, where there is nothing to learn, the ratios would leave any bound at the default rate.
    rate = 1e-4 if env in CHOICES else 3e-4
    params = {
        "minibatch_size": 64, "n_epochs": epochs, "gamma": 0.9, "clip_ratio": clip_ratio, "learning_rate": rate,
    }  # fmt: skip
    actor = torch_agent(n_observations, n_outputs, params, distribution=distribution)
    first = torch_agent(n_observations, n_outputs, params, distribution=distribution)
    second = tf_agent(n_observations, n_outputs, params, distribution=distribution)
    first.save_weights(str(tmp_path / "weights"))
    second.load_weights(str(tmp_path / "weights"))
    first.save_training_state(str(tmp_path / "first"))
    second.save_training_state(str(tmp_path / "second"))
    results = []
    for seed in seeds:
        first.load_training_state(str(tmp_path / "first"))
        second.load_training_state(str(tmp_path / "second"))
        assert differences(first, second) == 0.0
        data = window_on(env, actor, 64 * steps // epochs, seed)
        for agent in (first, second):
            agent.seed(seed)
        ours, theirs = first.learn(data), second.learn(data)
        assert ours["n_updates"] == theirs["n_updates"] == steps
        results.append((differences(first, second), ours, theirs))
    return results


@pytest.mark.parametrize("env", CASES)
def test_a_single_minibatch_gives_the_same_weights_losses_and_gradient_norms(tmp_path: Path, env: str) -> None:
    for difference, ours, theirs in updated(env, tmp_path, 1, range(2)):
        assert difference <= 1e-6
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("env", [*ENVIRONMENTS, "several choices, masks"])
def test_320_minibatches_that_clip_nothing_give_the_same_weights(tmp_path: Path, env: str) -> None:
    for difference, ours, theirs in updated(env, tmp_path, 320, range(4), clip_ratio=1.0):
        assert difference <= 1e-4
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_320_minibatches_give_the_same_weights_but_for_samples_on_the_edge_of_clipping(
    tmp_path: Path, env: str
) -> None:
    """The clipped surrogate is not smooth: a ratio within a rounding error of 1 ± ε falls to either side of it.

    One such sample among the 20,480 of an update moves a weight by some 5e-4 in the end; updates without one agree to a
    few 1e-6.
    """
    results = updated(env, tmp_path, 320, range(5))
    assert min(difference for difference, _, _ in results) <= 1e-5
    assert max(difference for difference, _, _ in results) <= 5e-3
    for _, ours, theirs in results:
        for name in ("value_loss", "entropy", "grad_norm", "explained_var"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-2, abs=1e-3), name


def test_a_snapshot_of_one_framework_acts_the_same_in_the_other(tmp_path: Path) -> None:
    first, second = torch_agent(4, 2, {}), tf_agent(4, 2, {})
    observations = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    second.save_weights(str(tmp_path / "keras"))
    first.load_weights(str(tmp_path / "keras"))
    np.testing.assert_array_equal(
        first.act_batch(observations, deterministic=True), second.act_batch(observations, deterministic=True)
    )
    np.testing.assert_allclose(first.action_probs(observations), second.action_probs(observations), atol=1e-6)
