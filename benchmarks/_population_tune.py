"""Ray Tune's PBT over the same agent: `python -m benchmarks._population_tune SETTINGS`, JSON in, JSON out.

The values that it moves, and where from and to, are those of our population, as are the windows between two decisions;
the rules are Tune's. It leaves the checkpoint of the best result in a folder.
"""

import json
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Run it, and print `seconds` and `steps`."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # or its workers starve beside other work, as the others' do not
    begun = time.perf_counter()
    import ray
    from ray import tune

    random.seed(given["seed"])
    np.random.seed(given["seed"])  # noqa: NPY002 - theirs
    ray.init(num_cpus=given["workers"], include_dashboard=False, object_store_memory=1 << 28, log_to_driver=False)
    found = _tuner(given, tune).fit()
    seconds, best = time.perf_counter() - begun, found.get_best_result(scope="all")
    checkpoint = max(best.best_checkpoints, key=lambda one: one[1]["score"])[0]
    shutil.copytree(checkpoint.path, given["best"])
    steps = sum(result.metrics["steps"] for result in found if result.metrics)
    ray.shutdown()
    print(json.dumps({"seconds": seconds, "steps": steps, "failed": len(found.errors)}))


def _tuner(given: dict[str, Any], tune: Any) -> Any:
    from ray.tune.schedulers import PopulationBasedTraining

    from tensor_optix._hyperparam_names import hyperparam_table
    from tensor_optix.ray import trainable

    space = {
        name: (tune.loguniform if param.scale == "log" else tune.uniform)(param.low, param.high)
        for name, param in hyperparam_table("ppo").tunable.items()
    }
    schedule = PopulationBasedTraining(
        time_attr="training_iteration", perturbation_interval=1, hyperparam_mutations=dict(space), synch=True
    )
    settings = {"algorithm": "ppo", "framework": "torch", "n_envs": given["n_envs"], "max_steps": given["steps"]}
    return tune.Tuner(
        trainable(given["env"], windows=given["windows"], seed=given["seed"], **settings),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=given["members"], scheduler=schedule, reuse_actors=True
        ),
        run_config=tune.RunConfig(storage_path=str(Path(given["folder"]).resolve()), verbose=0),
    )


if __name__ == "__main__":
    main()
