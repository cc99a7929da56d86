"""What the speed suite compares: environments, settings and budgets, the same for this library and for the peers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

VAL_EPISODES = 5

Evaluates = Literal["never", "usually", "every window"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Who trains, and how often it evaluates."""

    label: str
    by: Literal["ours", "sb3", "sbx", "rlox", "limit"] = "ours"
    framework: Literal["torch", "tf"] = "torch"
    """Of ours."""
    evaluates: Evaluates = "never"
    """Usually: as often as `tensor-optix train` does."""

    @property
    def is_ours(self) -> bool:
        """Whether this library trains."""
        return self.by == "ours"


VARIANTS: Mapping[str, Variant] = {
    "sb3": Variant(label="Stable-Baselines3, no evaluation", by="sb3"),
    "sb3_eval": Variant(label="Stable-Baselines3, `EvalCallback`", by="sb3", evaluates="every window"),
    "sbx": Variant(label="SBX (JAX), no evaluation", by="sbx"),
    "rlox": Variant(label="rlox (Rust and PyTorch), no evaluation", by="rlox"),
    "limit": Variant(label="arithmetic limit", by="limit"),
    "torch_usual": Variant(label="ours, PyTorch, its own evaluation", evaluates="usually"),
    "tf_usual": Variant(label="ours, TensorFlow, its own evaluation", framework="tf", evaluates="usually"),
    "torch_eval": Variant(label="ours, PyTorch, evaluating as `EvalCallback`", evaluates="every window"),
    "tf_eval": Variant(
        label="ours, TensorFlow, evaluating as `EvalCallback`", framework="tf", evaluates="every window"
    ),
    "torch": Variant(label="ours, PyTorch, no evaluation"),
    "tf": Variant(label="ours, TensorFlow, no evaluation", framework="tf"),
}
"""By the name that `--measure` takes."""

_USUAL = ("sb3", "torch_usual", "tf_usual")
_CART_POLE = ("sb3_eval", "torch_eval", "torch_usual", "tf_usual", "tf_eval", "sb3", "limit")
_PEERS = ("sbx", "rlox")
_PLAIN = ("sb3", "tf", "torch")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One comparison."""

    about: str
    """What it is, for the page of results."""
    env: str
    algorithm: str
    window: int
    """Steps per window, in all environments together."""
    n_envs: int = 1
    by_functions: bool = False
    """Ours is given functions that make its environments, as a user's own are, not their id."""
    threads: int = 1
    warm_up: int
    """Windows before the measured ones, in which learning starts and things are compiled."""
    windows: int
    """Windows measured."""
    order: tuple[str, ...]
    """Variants in turn; every other round goes backwards, so that a drift of the machine favours none."""
    net_arch: tuple[int, ...] = (64, 64)
    shared: tuple[tuple[str, str, float], ...]
    """Hyper-parameters: this library's name, the peer's name, the value of both."""
    ours: Mapping[str, Any] = field(default_factory=dict)
    """What only this library has a name for."""
    peer: Mapping[str, Any] = field(default_factory=dict)
    """What only the peer has a name for."""

    @property
    def hyperparams(self) -> dict[str, Any]:
        """This library's settings."""
        return {name: value for name, _, value in self.shared} | dict(self.ours)

    @property
    def peer_settings(self) -> dict[str, Any]:
        """The peer's settings."""
        return {name: value for _, name, value in self.shared} | dict(self.peer)


_PPO = (
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

_ATARIS_OWN = ("learning_rate", "clip_ratio", "n_epochs", "minibatch_size")

_SAC = (
    ("learning_rate", "learning_rate", 3e-4),
    ("batch_size", "batch_size", 256),
    ("replay_capacity", "buffer_size", 1_000_000),
    ("learning_starts", "learning_starts", 1000),
    ("gamma", "gamma", 0.99),
    ("tau", "tau", 0.005),
)


def _ppo(env: str, about: str, order: tuple[str, ...] = _USUAL, *, n_envs: int = 8, by_functions: bool = True) -> Task:
    return Task(
        about=about,
        env=env,
        algorithm="ppo",
        window=2048,
        n_envs=n_envs,
        by_functions=by_functions,
        warm_up=2,
        windows=40,
        order=order,
        shared=_PPO,
        peer={"n_steps": 2048 // n_envs},
    )


def _sac(threads: int, order: tuple[str, ...]) -> Task:
    return Task(
        about=f"SAC on HalfCheetah-v5, {threads} thread{'s' * (threads > 1)}, 256-256 relu, one update of 256 "
        "transitions per step, timed after learning has started. Ours makes its updates every 64 steps, the peers "
        "after each. Nobody evaluates.",
        env="HalfCheetah-v5",
        algorithm="sac",
        window=64,
        threads=threads,
        warm_up=20,
        windows=32,
        order=order,
        net_arch=(256, 256),
        shared=_SAC,
        ours={"updates_per_step": 1},
        peer={"train_freq": 1, "gradient_steps": 1},
    )


_BY_FUNCTIONS = "PPO on {}, 8 environments made by functions, with the settings of CartPole-v1."

TASKS: Mapping[str, Task] = {
    "ppo": _ppo(
        "CartPole-v1",
        "PPO on CartPole-v1, one environment, 64-64 tanh, 2,048 steps per window, 10 epochs of minibatches of 64.",
        _CART_POLE,
        n_envs=1,
        by_functions=False,
    ),
    "ppo8": _ppo(
        "CartPole-v1",
        "PPO on CartPole-v1, 8 environments in one process (ours: Gymnasium's vectorised CartPole, which "
        "`VectorBatchPipeline` takes by itself; rlox: its own in Rust; the others: `DummyVecEnv`), 256 steps of each "
        "per window; the rest as with one environment.",
        (*_CART_POLE, *_PEERS),
        by_functions=False,
    ),
    "acrobot": _ppo("Acrobot-v1", _BY_FUNCTIONS.format("Acrobot-v1")),
    "lunarlander": _ppo("LunarLander-v3", _BY_FUNCTIONS.format("LunarLander-v3")),
    "halfcheetah": _ppo("HalfCheetah-v5", _BY_FUNCTIONS.format("HalfCheetah-v5"), (*_USUAL, *_PEERS)),
    "frozenlake": _ppo("FrozenLake-v1", _BY_FUNCTIONS.format("FrozenLake-v1")),
    "taxi": _ppo("Taxi-v4", _BY_FUNCTIONS.format("Taxi-v4")),
    "dqn": Task(
        about="DQN on CartPole-v1 at the settings of RL Baselines3 Zoo: 256-256 relu, 128 updates of 64 transitions "
        "after every 256 steps, no double Q, Huber loss. Nobody evaluates.",
        env="CartPole-v1",
        algorithm="dqn",
        window=256,
        warm_up=8,
        windows=40,
        order=(*_PLAIN, "limit"),
        net_arch=(256, 256),
        shared=(
            ("learning_rate", "learning_rate", 2.3e-3),
            ("batch_size", "batch_size", 64),
            ("replay_capacity", "buffer_size", 100_000),
            ("learning_starts", "learning_starts", 1000),
            ("gamma", "gamma", 0.99),
            ("epsilon_min", "exploration_final_eps", 0.04),
        ),
        # Both explore at the final rate when the measured windows begin.
        # The peer counts steps to the next copy of its target, and learns only every 256 of them.
        ours={
            "updates_per_step": 0.5,
            "target_update_freq": 128,
            "epsilon_decay": 0.5,
            "double_q": 0,
            "huber_delta": 1.0,
        },
        peer={
            "train_freq": 256,
            "gradient_steps": 128,
            "target_update_interval": 10,
            "exploration_fraction": 0.16,
        },
    ),
    "sac": _sac(1, (*_PLAIN, *_PEERS, "limit")),
    "sac2": _sac(2, (*_PLAIN, "limit")),
    "pong": Task(
        about="PPO on ALE/Pong-v5, 8 games, with the settings of RL Baselines3 Zoo for Atari: the Nature CNN on four "
        "grey frames, 128 steps of each game per window, 4 epochs of minibatches of 256. A step has four frames. Ours "
        "has ale-py's own vector, whose threads take the free cores. Nobody evaluates.",
        env="ALE/Pong-v5",
        algorithm="ppo",
        window=1024,
        n_envs=8,
        warm_up=1,
        windows=5,
        order=_PLAIN,
        net_arch=(),
        shared=(
            ("learning_rate", "learning_rate", 2.5e-4),
            ("clip_ratio", "clip_range", 0.1),
            *(each for each in _PPO if each[0] not in _ATARIS_OWN),
            ("n_epochs", "n_epochs", 4),
            ("minibatch_size", "batch_size", 256),
        ),
        peer={"n_steps": 128},
    ),
}
"""By the name that `--measure` takes."""


@dataclass
class Trace:
    """What one training leaves behind."""

    times: list[float] = field(default_factory=list)
    """Clock at the start and at the end of each window, seconds."""
    cpu_times: list[float] = field(default_factory=list)
    """Processor time of this process then, that of all its threads."""
    scores: list[float] = field(default_factory=list)
    """Mean return of each evaluation; on CartPole also its mean length, so what the evaluation had to do."""

    def note(self) -> None:
        """Take the time of a start, or of the end of a window."""
        self.times.append(time.perf_counter())
        self.cpu_times.append(time.process_time())
