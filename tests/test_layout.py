"""The rooms have walls: what stands where, how long it is, how deep the core's imports are, and where it is tested."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensor_optix

PACKAGE = Path(tensor_optix.__file__).parent
CORE = PACKAGE / "core"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = Path(__file__).parent
TEST_FILES = sorted(TESTS.rglob("*.py"))

DOORS = {
    "types",
    "agent_memory",
    "agents_by_algorithm",
    "base_agent",
    "capabilities",
    "base_evaluator",
    "eval_metrics",  # what decisions compare; with the other values in `types` it would be too long
    "base_optimizer",
    "base_pipeline",
    "loop_controller",
    "backoff_scheduler",
    "checkpoint_registry",
    "normalizers",
    "trajectory_buffer",
    "policy_manager",
    "ensemble_agent",
    "regime_detector",
    "meta_controller",
    "search_space",
    "episode_evaluator",
    "loop_callback",
    "training_report",
    "hyperparams",
    "faults",
    "run_state",  # the documented path of `read_history`
    "stop_reason",  # a report holds what decisions compute, and both name the reason of an end
}
ROOMS = {"decisions", "storage", "loop", "evolution"}

LONGEST_FILE = 300
LONGEST_FUNCTION = 40
LONGEST_TEST_FILE = 600
DEEPEST = 8
TESTED_ELSEWHERE = {
    "_printed_block.py": "test_training_report.py prints each of its rows",
    "adapters/pytorch/_torch.py": "imports PyTorch or says how to install it: test_init.py blocks the import",
    "cli/__main__.py": "test_main.py and test_training.py run it as a process",
}
"""Modules without a test file of their name, and why."""
LONG_FUNCTIONS = {
    "optimizer.py:__init__": "hands each of its 25 arguments, one a line, to where it belongs",
}
"""Functions that may be longer, and why."""
MOST_ANY = 328
"""How often the package may say `Any`. Where it says it less often by now, lower this number."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_the_core_is_its_doors_and_its_rooms() -> None:
    doors = {path.stem for path in CORE.glob("*.py")} - {"__init__"}
    rooms = {path.name for path in CORE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert (doors, rooms) == (DOORS, ROOMS)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_says_what_lives_there_and_what_never_comes_in(room: str) -> None:
    docstring = ast.get_docstring(ast.parse((CORE / room / "__init__.py").read_text())) or ""
    assert len(docstring.splitlines()) >= 3


def test_a_long_file_says_why() -> None:
    long = [path for path in MODULES if len(path.read_text().splitlines()) > LONGEST_FILE]
    reasons = {name_of(path): ast.get_docstring(parsed(path)) or "" for path in long}
    assert [name for name, text in reasons.items() if f"Longer than {LONGEST_FILE} lines: " not in text] == []


def long_functions() -> Iterator[str]:
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_length(node) > LONGEST_FUNCTION:
                yield f"{name_of(path)}:{node.name}"


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_are_short_but_for_those_with_a_reason() -> None:
    assert set(long_functions()) <= LONG_FUNCTIONS.keys()


def test_any_becomes_rarer() -> None:
    found = sum(isinstance(node, ast.Name) and node.id == "Any" for path in MODULES for node in ast.walk(parsed(path)))
    assert found <= MOST_ANY, (
        "Name the type: one of core/types.py or support/ (Observation, Action, Json, SavedState, Tree), a dataclass, a "
        "TypedDict or a Protocol; or `object`, where a value is only passed on or its type is checked"
    )


def imports_of(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of the core that a module of it needs when it is imported."""
    found: set[str] = set()
    for node in at_import(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found & modules.keys()


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements that run on import: neither those of functions nor those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not is_for_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_import(node)


def place_of(module: str) -> str:
    """The door, or the room with all that it holds, that a module of the core belongs to."""
    return module.split(".")[2]


def test_doors_and_rooms_are_few_floors_above_each_other_and_have_no_circle() -> None:
    modules = {
        ".".join(("tensor_optix", *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in CORE.rglob("*.py")
        if path.name != "__init__.py"
    }
    needs: dict[str, set[str]] = {place_of(name): set() for name in modules}
    for name, path in modules.items():
        needs[place_of(name)] |= {place_of(needed) for needed in imports_of(path, modules)} - {place_of(name)}
    below: list[str] = []

    @functools.cache
    def chain(place: str) -> tuple[str, ...]:
        """The longest chain of imports that ends at a place; its length is the floor that the place is on."""
        assert place not in below, f"a circle: {[*below, place]}"
        below.append(place)
        longest = max((chain(needed) for needed in sorted(needs[place])), key=len, default=())
        below.pop()
        return (*longest, place)

    deepest = max(map(chain, sorted(needs)), key=len)
    assert len(deepest) <= DEEPEST, f"{len(deepest)} floors: {' < '.join(deepest)}"


def test_each_module_has_the_test_file_of_its_name() -> None:
    """`tensor_optix/a/_b.py` is tested by `tests/a/test_b.py`."""
    without = set[str]()
    for module in MODULES:
        place = module.relative_to(PACKAGE)
        test_file = TESTS / place.with_name(f"test_{place.stem.removeprefix('_')}.py")
        if place.stem != "__init__" and not test_file.exists():
            without.add(place.as_posix())
    assert without == TESTED_ELSEWHERE.keys()


def test_no_test_file_is_too_long() -> None:
    lengths = {path.relative_to(TESTS).as_posix(): len(path.read_text().splitlines()) for path in TEST_FILES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_TEST_FILE} == {}


def test_tests_borrow_from_helpers_only() -> None:
    borrowed = {
        path.relative_to(TESTS).as_posix(): module
        for path in TEST_FILES
        if "tests" in (source := path.read_text())
        for node in ast.walk(ast.parse(source))
        for module in modules_named_by(node)
        if module.split(".")[0] == "tests" and any(part.startswith("test_") for part in module.split("."))
    }
    assert borrowed == {}, "put what several tests need into tests/fakes"


def modules_named_by(node: ast.AST) -> list[str]:
    """The modules that an import may name, those that come `from` a package included."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []
