"""Following the steps of docs/architecture.md gives parts that keep every contract; the records and the index hold."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import keras
import pytest
import torch

from tensor_optix import BaseAgent, BaseOptimizer, BasePipeline
from tensor_optix.cli.config import read_config
from tensor_optix.core.decisions.patience_verdict import PatienceVerdict, Phase
from tensor_optix.report.run_data import RunData
from tests.contracts.agent_contract import AgentContract
from tests.contracts.optimizer_contract import OptimizerContract
from tests.contracts.pipeline_contract import PipelineContract
from tests.fakes.run_folders import write_run
from tests.helpers import NumpyAgent

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
RECORDS = sorted((ROOT / "docs/decisions").glob("*.md"))


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A module of all that the steps define; the last block, a whole run, is left to the test of all documents."""
    path = tmp_path_factory.mktemp("toys") / "toys.py"
    path.write_text("\n".join(BLOCKS[:-1]), encoding="utf-8")
    return _module(path)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestTheToyAlgorithmOnPyTorch(AgentContract):
    @pytest.fixture
    def agent(self, toys: ModuleType) -> BaseAgent:
        torch.manual_seed(0)
        return toys.torch_agent()


class TestTheToyAlgorithmOnTensorFlow(AgentContract):
    @pytest.fixture
    def agent(self, toys: ModuleType) -> BaseAgent:
        keras.utils.set_random_seed(0)
        return toys.tf_agent()


class TestTheToyPipeline(PipelineContract):
    @pytest.fixture
    def pipeline(self, toys: ModuleType) -> BasePipeline:
        return toys.Countdown(NumpyAgent())


class TestTheToyOptimizer(OptimizerContract):
    @pytest.fixture(autouse=True)
    def toy(self, toys: ModuleType) -> None:
        self.toys = toys

    def make_optimizer(self, *args: Any, **kwargs: Any) -> BaseOptimizer:  # type: ignore[override]
        return self.toys.RandomSearch(*args, **{"seed": 0, **kwargs})


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_has_its_number_and_three_parts_on_one_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {RECORDS.index(path) + 1}. ")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(text.splitlines()) <= 50


@pytest.mark.parametrize("document", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", prose):
        assert target.startswith("http") or (document.parent / target).exists(), target


def test_the_rooms_are_those_that_exist() -> None:
    named = set(re.findall(r"^\| `([\w/]+)/` \|", ARCHITECTURE, re.MULTILINE))
    package = ROOT / "tensor_optix"
    top = {path.parent.name for path in package.glob("*/__init__.py")}
    core = {f"core/{path.parent.name}" for path in package.glob("core/*/__init__.py")}
    assert named == top | core


def test_modules_that_the_steps_name_exist() -> None:
    for name in re.findall(r"`((?:algorithms|core|pipeline|optimizers|tests)/[\w/]+\.py)`", ARCHITECTURE):
        assert (ROOT / name).exists() or (ROOT / "tensor_optix" / name).exists(), name


def test_readme_is_a_landing_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("name", ["report.webp", "terminal.svg"])
def test_its_pictures_are_small(name: str) -> None:
    assert 0 < (ROOT / "docs/pictures" / name).stat().st_size < 150_000


def test_the_pictures_of_a_decided_run_have_what_was_decided(tmp_path: Path) -> None:
    decided, run_dir = _module(ROOT / "docs/decided.py"), write_run(tmp_path / "run")
    data = RunData.read(run_dir)
    verdict = PatienceVerdict(
        phase=Phase.SATURATING,
        quiet_steps=300,
        quiet_evaluations=3,
        allowed_steps=400,
        allowed_evaluations=6,
        chance_of_rise=0.5,
        reason="saturating",
    )
    patience = [(record.env_steps, verdict) for record in data.history]
    run = decided.Decided(
        report=data.report, history=data.history, windows=data.windows, events=data.events, patience=patience
    )
    decided.draw(run, tmp_path)
    curve, tests = (tmp_path / name for name in ("decided.svg", "tested.svg"))
    assert decided.used(verdict) == 0.5  # of the evaluations
    assert {"active", "becomes the best", "waits for 400 steps: saturating"} <= _texts(curve)
    assert {"window 3", "becomes the best", "4", "7", "stays", "out", "7 again", "confirmed"} <= _texts(tests)


def _texts(picture: Path) -> set[str]:
    return {node.text or "" for node in ElementTree.parse(picture).iter() if node.tag.endswith("text")}  # noqa: S314


def test_the_picture_of_the_states_is_that_of_the_code() -> None:
    states = _module(ROOT / "docs/states.py")
    assert states.PICTURE.read_text(encoding="utf-8") == states.picture(), "run: python docs/states.py"


GLOSSARY = re.findall(r"^\*\*(.+?)\*\*: ", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_glossary_is_sorted_and_defines_each_term_once() -> None:
    assert [term.lower() for term in GLOSSARY] == sorted({term.lower() for term in GLOSSARY})


def test_each_term_of_the_glossary_is_used() -> None:
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tensor_optix/**/*.py")]
    used = " ".join(path.read_text(encoding="utf-8") for path in texts if path.name != "glossary.md")
    used = re.sub(r"[\s_-]+", " ", used.lower())
    for term in GLOSSARY:
        assert re.search(rf"\b{re.sub('[ -]', ' ', term.lower())}", used), term


def test_the_tables_of_the_command_line_are_those_of_its_parser() -> None:
    made = _module(ROOT / "docs/command_line.py")
    text = made.SHOWN_IN.read_text(encoding="utf-8")
    assert made.write(text) == text, "run: python docs/command_line.py"
    assert all(f"<!-- {name} -->" in text for name in made.tables())


def test_the_file_of_settings_that_is_shown_is_read(tmp_path: Path) -> None:
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "run.yaml").write_text(shown)
    assert read_config(tmp_path / "run.yaml")["ppo"] == {"learning_rate": 0.001, "n_epochs": 5}
