"""A run that is over in a moment, as the command line describes it."""

from tensor_optix.runs import RunDescription

TINY = RunDescription(
    env="CartPole-v1",
    algorithm="ppo",
    framework="torch",
    seed=3,
    net_arch=[8],
    window_size=32,
    hyperparams={"n_epochs": 1},
)
