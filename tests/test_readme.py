"""All Python in README.md and docs/ runs, in one process and in the order in which it is read."""

from typing import Any

import pytest

from tensor_optix.factory import hyperparam_table
from tests.fakes.documents import SHORT, TEXTS, blocks
from tests.fakes.documents import short_runs as short_runs  # the fixture

BLOCKS = blocks("python")


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("name", BLOCKS)
def test_all_python_in_the_documents_runs_in_its_order(name: str) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in BLOCKS[name]:
        exec(compile(block, name, "exec"), namespace)  # noqa: S102 - our own text
        report = namespace.get("report")
        assert report is None or report.windows == SHORT["max_windows"]


@pytest.mark.parametrize("algorithm", ["ppo", "recurrent_ppo", "dqn", "sac"])
def test_the_tables_of_hyper_parameters_are_the_real_ones(algorithm: str) -> None:
    assert hyperparam_table(algorithm).describe() in TEXTS["docs/algorithms.md"]
