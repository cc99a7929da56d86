"""Train an environment until it is trained: `python -m examples.train_environment LunarLander-v3`.

What you get: the best policy on disk, a report of why the run ended, and a page to look at.
"""

import argparse
from collections.abc import Sequence

from tensor_optix import RLOptimizer, TrainingReport, VectorBatchPipeline, make_agent


def train(env: str, *, n_envs: int = 8, seed: int = 0, windows: int | None = None) -> TrainingReport:
    """Train an environment of Gymnasium, and return what the run came to.

    Args:
        env: its id.
        n_envs: how many are stepped at once.
        seed: the run repeats exactly.
        windows: at most; None = until it is trained.
    """
    agent = make_agent(env, "ppo", seed=seed)
    pipeline = VectorBatchPipeline((env, n_envs), window_size=256, normalize_rewards=True)
    return RLOptimizer(
        agent, pipeline, checkpoint_dir=f"runs/{env}", seed=seed, max_windows=windows, progress=True
    ).run()


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and say where everything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("env", nargs="?", default="CartPole-v1")
    parser.add_argument("--windows", type=int)
    args = parser.parse_args(argv)
    print(train(args.env, windows=args.windows))
    print(f"Look at it with: tensor-optix report runs/{args.env}")
    print(f"Use it with: python -m examples.use_policy runs/{args.env} {args.env}")


if __name__ == "__main__":
    main()
