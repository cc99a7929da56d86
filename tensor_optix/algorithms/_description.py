"""What a built-in agent is built from, besides the spaces of its environment."""

from dataclasses import dataclass

from tensor_optix.core.types import Params

ALGORITHMS = ("ppo", "recurrent_ppo", "dqn", "sac")
FRAMEWORKS = ("tf", "torch")
CELLS = ("lstm", "gru")


@dataclass(frozen=True, kw_only=True)
class AgentDescription:
    """What `make_agent` builds an agent from: saved with its policy, which so needs no code."""

    algorithm: str
    """One of `ALGORITHMS`."""
    framework: str
    """One of `FRAMEWORKS`."""
    net_arch: tuple[int, ...]
    """Hidden layers."""
    hyperparams: Params
    """Overrides of the algorithm's table."""
    exploration_noise: str = "white"
    """SAC only."""
    cell: str = "lstm"
    """Recurrent PPO only."""
