"""All Python in README.md and docs/ runs, in one process and in the order in which it is read.

What needs a cluster runs on one, in a tier of its own.
"""

from pathlib import Path
from typing import Any

import pytest

from tensor_optix.factory import hyperparam_table
from tests.fakes.documents import SHORT, TEXTS, blocks
from tests.fakes.documents import short_runs as short_runs  # the fixture

BLOCKS, ON_A_CLUSTER = blocks("python"), blocks("py")


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("name", BLOCKS)
def test_all_python_in_the_documents_runs_in_its_order(name: str) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in BLOCKS[name]:
        exec(compile(block, name, "exec"), namespace)  # noqa: S102 - our own text
        report = namespace.get("report")
        assert report is None or report.windows == SHORT["max_windows"]


SHORTER = {
    "max_steps=100_000": "windows=1, max_steps=1, window_size=32, val_episodes=1",
    "num_samples=8": "num_samples=2",
}


@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", ON_A_CLUSTER)
def test_python_that_needs_a_cluster_runs_on_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in ON_A_CLUSTER[name]:
        for long, short in SHORTER.items():
            block = block.replace(long, short)
        exec(compile(block, name, "exec"), namespace)  # noqa: S102 - our own text


@pytest.mark.parametrize("algorithm", ["ppo", "recurrent_ppo", "dqn", "sac"])
def test_the_tables_of_hyper_parameters_are_the_real_ones(algorithm: str) -> None:
    assert hyperparam_table(algorithm).describe() in TEXTS["docs/algorithms.md"]
