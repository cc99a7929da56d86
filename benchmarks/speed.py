"""PPO on CartPole-v1, one environment, one thread: Stable-Baselines3 and this library in turn, at the same settings.

`python -m benchmarks.speed --measure VARIANT` measures one variant in this process and prints JSON.

A window is 2,048 steps of experience and the update from them. Every variant is timed over the same windows of its
training, as evaluation takes longer the better the policy balances. Neither start-up nor this library's last
evaluation of the best policies is in the time; its checkpoints are, while the peer's evaluation saves nothing.
"""

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks._results import Row, Spread, table
from benchmarks._suite import Measurement, MeasurementError, Options, run_python

TITLE = "Speed"
ENV = "CartPole-v1"
WINDOW, WARM_UP, WINDOWS = 2048, 2, 10
"""Steps per window; windows before the measured ones, in which things are compiled; windows measured."""
VAL_EPISODES = 5
ORDER = ("sb3_eval", "torch_eager", "tf", "sb3", "torch_compiled")
"""Peer and ours in turn; every other round goes backwards, so that a drift of the machine favours neither."""
SETTINGS = (
    ("learning_rate", "learning_rate", 3e-4),
    ("clip_ratio", "clip_range", 0.2),
    ("entropy_coef", "ent_coef", 0.01),
    ("vf_coef", "vf_coef", 0.5),
    ("gamma", "gamma", 0.99),
    ("gae_lambda", "gae_lambda", 0.95),
    ("n_epochs", "n_epochs", 10),
    ("minibatch_size", "batch_size", 64),
    ("max_grad_norm", "max_grad_norm", 0.5),
)
"""Hyper-parameters: this library's name, the peer's name, the value of both."""
RATIOS = tuple((ours, peer) for peer in ("sb3_eval", "sb3") for ours in ("torch_eager", "torch_compiled", "tf"))
LABELS = {
    "sb3": "Stable-Baselines3, no evaluation",
    "sb3_eval": "Stable-Baselines3, `EvalCallback`",
    "torch_eager": "tensor-optix, PyTorch eager",
    "torch_compiled": "tensor-optix, PyTorch compiled",
    "tf": "tensor-optix, TensorFlow (XLA)",
}


@dataclass
class Trace:
    """What one training leaves behind."""

    times: list[float] = field(default_factory=list)
    """Clock at the start and at the end of each window, seconds."""
    scores: list[float] = field(default_factory=list)
    """Mean return of each evaluation; on CartPole also its mean length, so what the evaluation had to do."""


def plan(options: Options) -> Iterator[Measurement]:
    """Return every variant in every round."""
    windows = options.windows or WINDOWS
    for round_ in range(options.rounds):
        for variant in ORDER[:: -1 if round_ % 2 else 1]:
            key = f"round{round_}/{variant}/windows{windows}"
            yield Measurement(key, partial(_measure_apart, variant, windows, round_))


def _measure_apart(variant: str, windows: int, round_: int) -> dict[str, Any]:
    arguments = ("--measure", variant, "--windows", str(windows), "--seed", str(round_))
    # A compiler cache of its own, or only the first round would pay for compiling.
    with tempfile.TemporaryDirectory() as folder:
        variables = {"TMPDIR": folder, "TORCHINDUCTOR_CACHE_DIR": f"{folder}/compiled"}
        found = json.loads(run_python("-m", "benchmarks.speed", *arguments, **variables))
    return {"variant": variant, "round": round_, "windows": windows, **found}


def measure(variant: str, windows: int, seed: int) -> dict[str, Any]:
    """Train one variant in this process and return its speed in steps per second of the measured windows.

    Raises:
        MeasurementError: it did not do what it should have, and so did not measure it.
    """
    trace = _VARIANTS[variant](WARM_UP + windows, seed)
    if len(trace.times) != WARM_UP + windows + 1:
        raise MeasurementError(f"{variant} ran {len(trace.times) - 1} windows, not {WARM_UP + windows}.")
    scores = trace.scores[WARM_UP:]
    return {
        "steps_per_second": windows * WINDOW / (trace.times[-1] - trace.times[WARM_UP]),
        "first_window_seconds": trace.times[1] - trace.times[0],
        "warm_up_seconds": trace.times[WARM_UP] - trace.times[0],
        "evaluations": len(scores),
        "mean_evaluation": sum(scores) / len(scores) if scores else None,
    }


def _run_sb3(windows: int, seed: int, *, evaluates: bool) -> Trace:
    import gymnasium as gym
    import torch
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports] - it comes with the extra "bench"
    from stable_baselines3.common.callbacks import (  # pyright: ignore[reportMissingImports]
        BaseCallback,
        EvalCallback,
    )
    from stable_baselines3.common.monitor import Monitor  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    trace = Trace()
    evaluation = EvalCallback(
        Monitor(gym.make(ENV)), n_eval_episodes=VAL_EPISODES, eval_freq=WINDOW, deterministic=True, verbose=0
    )

    class Clock(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            trace.times.append(time.perf_counter())

        def _on_rollout_end(self) -> None:
            if evaluates:
                trace.scores.append(float(evaluation.last_mean_reward))

        def _on_training_end(self) -> None:
            trace.times.append(time.perf_counter())

    # Not named here, because they are its defaults: 64-64 tanh, separate and orthogonal; Adam with ε = 1e-5.
    settings: dict[str, Any] = {name: value for _, name, value in SETTINGS}
    model = PPO("MlpPolicy", gym.make(ENV), n_steps=WINDOW, seed=seed, device="cpu", **settings)
    model.learn(windows * WINDOW, callback=[evaluation, Clock()] if evaluates else [Clock()])
    return trace


def _run_ours(windows: int, seed: int, *, build: Callable[[int], Any]) -> Trace:
    import gymnasium as gym

    from tensor_optix import BackoffOptimizer, BatchPipeline, EvalMetrics, LoopCallback, RLOptimizer

    trace, complaints = Trace(), _Complaints()
    logging.getLogger("tensor_optix").addHandler(complaints)

    class Clock(LoopCallback):
        def on_loop_start(self) -> None:
            trace.times.append(time.perf_counter())

        def on_episode_end(self, window_id: int, eval_metrics: EvalMetrics | None) -> None:
            trace.times.append(time.perf_counter())
            if eval_metrics is not None:
                trace.scores.append(eval_metrics.metrics["val_score"])

    with tempfile.TemporaryDirectory() as folder:
        RLOptimizer(
            agent=build(seed),
            pipeline=BatchPipeline(gym.make(ENV), window_size=WINDOW),
            val_pipeline="auto",
            optimizer=BackoffOptimizer({}),  # the peer does not tune either
            checkpoint_dir=folder,
            max_episodes=windows,
            max_interval_episodes=1,  # evaluated after every window, as the peer is
            dormant_threshold=windows + 100,
            val_episodes=VAL_EPISODES,
            callbacks=[Clock()],
            seed=seed,
        ).run()
    if complaints.messages:  # an update that could not be compiled, or a callback that failed
        raise MeasurementError("; ".join(complaints.messages))
    return trace


def _torch_ppo(seed: int, *, compiles: bool) -> Any:
    """Return the PyTorch agent at the peer's settings."""
    import torch

    from tensor_optix import HyperparamSet, TorchPPOAgent

    torch.set_num_threads(1)
    torch.manual_seed(seed)

    def network(output_size: int, head_gain: float) -> torch.nn.Sequential:
        layers = [torch.nn.Linear(4, 64), torch.nn.Linear(64, 64), torch.nn.Linear(64, output_size)]
        for layer, gain in zip(layers, (2**0.5, 2**0.5, head_gain), strict=True):
            torch.nn.init.orthogonal_(layer.weight, gain)
            torch.nn.init.zeros_(layer.bias)
        return torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])

    actor, critic = network(2, 0.01), network(1, 1.0)
    hyperparams = HyperparamSet({name: value for name, _, value in SETTINGS})
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4, eps=1e-5)
    return TorchPPOAgent(actor, critic, optimizer, hyperparams, seed=seed, compile=compiles)


def _tf_ppo(seed: int) -> Any:
    """Return the TensorFlow agent at the peer's settings."""
    from tensor_optix import make_agent
    from tensor_optix.factory import set_threads

    set_threads("tf", 1)
    # The factory builds 64-64 tanh, separate and orthogonal, Adam with ε = 1e-5.
    return make_agent(ENV, framework="tf", hyperparams={name: value for name, _, value in SETTINGS}, seed=seed)


class _Complaints(logging.Handler):
    """Collects what the library warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


_VARIANTS: dict[str, Callable[[int, int], Trace]] = {
    "sb3": partial(_run_sb3, evaluates=False),
    "sb3_eval": partial(_run_sb3, evaluates=True),
    "torch_eager": partial(_run_ours, build=partial(_torch_ppo, compiles=False)),
    "torch_compiled": partial(_run_ours, build=partial(_torch_ppo, compiles=True)),
    "tf": partial(_run_ours, build=_tf_ppo),
}


def render(rows: Sequence[Row]) -> list[str]:
    """Return the speeds, and their ratios within the rounds."""
    lines = [
        f"PPO on {ENV}, one environment, one thread, 64-64 tanh, {WINDOW:,} steps per window, 10 epochs of minibatches "
        f"of 64. Evaluation: {VAL_EPISODES} greedy episodes per window. Variants run in turn, each in a process of its "
        f"own, and are compared within a round, after {WARM_UP} windows of warm-up, which include compiling with an "
        "empty cache. Medians with [min, max].",
        "",
    ]
    for windows in sorted({row["windows"] for row in rows}):
        lines += _compared(windows, [row for row in rows if row["windows"] == windows])
    return lines


def _compared(windows: int, rows: Sequence[Row]) -> list[str]:
    by_variant = {v: {row["round"]: row for row in rows if row["variant"] == v} for v in LABELS}
    speeds = [
        (
            LABELS[variant],
            Spread.of(row["steps_per_second"] for row in found.values()).with_iqr(),
            Spread.of(row["first_window_seconds"] for row in found.values()).text(1),
            _mean_evaluation(list(found.values())),
        )
        for variant, found in by_variant.items()
        if found
    ]
    ratios = []
    for ours, peer in RATIOS:
        rounds = by_variant[ours].keys() & by_variant[peer].keys()
        if rounds:
            ratio = Spread.of(_ratio(by_variant[ours][r], by_variant[peer][r]) for r in rounds)
            ratios.append((f"{LABELS[ours]} / {LABELS[peer]}", ratio.text(2), str(len(rounds))))
    return [
        *table((f"Over {windows} windows", "Steps/s", "First window, s", "Steps per evaluation episode"), speeds),
        *table(("Ratio of speeds within a round", "Median [min, max]", "Rounds"), ratios),
    ]


def _ratio(ours: Row, peer: Row) -> float:
    return ours["steps_per_second"] / peer["steps_per_second"]


def _mean_evaluation(rows: Sequence[Row]) -> str:
    lengths = [row["mean_evaluation"] for row in rows if row["mean_evaluation"] is not None]
    return Spread.of(lengths).text() if lengths else "-"


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Measure one variant.")
    parser.add_argument("--measure", required=True, choices=sorted(_VARIANTS), metavar="VARIANT")
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(measure(args.measure, args.windows, args.seed)))


if __name__ == "__main__":
    _main()
