import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import RLOptimizer
from tensor_optix.factory import hyperparam_table

ROOT = Path(__file__).parent.parent
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
}
BLOCKS = {
    name: found
    for name, text in TEXTS.items()
    if (found := re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
}


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything as printed, but two windows long and in a separate folder."""
    init = RLOptimizer.__init__

    def short(self: RLOptimizer, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**kwargs, "max_windows": 2, "max_episodes": None})

    monkeypatch.setattr(RLOptimizer, "__init__", short)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which a document may add


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("name", BLOCKS)
def test_all_python_in_the_documents_runs_in_its_order(name: str) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in BLOCKS[name]:
        exec(compile(block, name, "exec"), namespace)  # noqa: S102 - our own text
        report = namespace.get("report")
        assert report is None or report.windows == 2


@pytest.mark.parametrize("algorithm", ["ppo", "recurrent_ppo", "dqn", "sac"])
def test_the_tables_of_hyper_parameters_are_the_real_ones(algorithm: str) -> None:
    assert hyperparam_table(algorithm).describe() in TEXTS["docs/algorithms.md"]
