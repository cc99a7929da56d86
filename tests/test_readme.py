import re
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import RLOptimizer
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything as printed, but two windows long and in a folder of its own."""
    init = RLOptimizer.__init__

    def short(self: RLOptimizer, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**kwargs, "max_episodes": 2})

    monkeypatch.setattr(RLOptimizer, "__init__", short)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("short_runs")
def test_all_python_in_the_readme_runs_in_its_order() -> None:
    assert len(BLOCKS) >= 5
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102 - our own text
        report = namespace.get("report")
        assert report is None or report.windows == 2


def test_the_table_of_hyper_parameters_is_the_real_one() -> None:
    assert PPO_HYPERPARAMS.describe() in README
