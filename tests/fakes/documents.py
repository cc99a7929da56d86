"""The blocks of code in README.md and docs/, and how a test runs them: as printed, but short.

The one mechanism: `SHORT` overrides the arguments of every `RLOptimizer`, windows have at most `MOST_STEPS` steps,
`SHORT_FLAGS` follow every `tensor-optix train`, the tests before and after are short, too, and what names no framework
uses PyTorch, which compiles nothing in so few steps. A page that is about TensorFlow names it.
"""

import functools
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tensor_optix.factory
from tensor_optix import BatchPipeline, LivePipeline, RLOptimizer, VectorBatchPipeline
from tensor_optix.pipeline import validation_pipeline

with warnings.catch_warnings():  # SWIG's types warn while they are made, which as an error would end the process
    warnings.simplefilter("ignore")
    import Box2D  # noqa: F401

ROOT = Path(__file__).parent.parent.parent
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
}
MOST_STEPS = 128
"""Of an environment in a window."""
MOST_VALIDATION_STEPS = 60
"""Of a held-out episode: some environments have a thousand."""
SHORT = {"max_windows": 2, "max_episodes": None, "val_episodes": 1}
SHORT_FLAGS = ("--max-windows", "2", "--window-size", "64", "--val-episodes", "1")


def blocks(language: str) -> dict[str, list[str]]:
    """The blocks of a language in each document that has any, in their order."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return {name: found for name, text in TEXTS.items() if (found := fence.findall(text))}


def _overriding(init: Callable[..., None], overrides: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A constructor whose keyword arguments are overridden."""

    @functools.wraps(init)
    def short(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**kwargs, **overrides(kwargs)})

    return short


def _short_window(given: dict[str, Any]) -> dict[str, Any]:
    return {"window_size": min(given["window_size"], MOST_STEPS)} if "window_size" in given else {}


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plain_graphs: None, short_last_tests: None) -> None:
    """Everything as printed, but two windows long and in a separate folder."""
    monkeypatch.setattr(RLOptimizer, "__init__", _overriding(RLOptimizer.__init__, lambda given: SHORT))
    for pipeline in (BatchPipeline, VectorBatchPipeline):
        monkeypatch.setattr(pipeline, "__init__", _overriding(pipeline.__init__, _short_window))
    every = LivePipeline.every_n_steps
    monkeypatch.setattr(LivePipeline, "every_n_steps", staticmethod(lambda steps: every(min(steps, MOST_STEPS))))
    monkeypatch.setattr(validation_pipeline, "LONGEST_LIMIT", MOST_VALIDATION_STEPS)
    monkeypatch.setattr(validation_pipeline, "LONGEST_UNCUT", 0)
    monkeypatch.setattr(tensor_optix.factory, "FRAMEWORKS", ("torch", "tf"))  # "auto" is the first that is installed
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which a document may add
