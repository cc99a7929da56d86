"""G31: the unit tests of the registry, of resuming, feeds and guards run all of it, and notice a change of it."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Goal
from tests.soak.code_mutants import Mutant, compiled, mutants_of, sample
from tests.soak.equivalent_mutants import EQUIVALENT
from tests.soak.measured_code import FEED, GUARDS, MEASURED, MUTATED, REGISTRY, RESUME, ROOT, TESTS
from tests.soak.measured_run import Measured, measure
from tests.soak.mutant_runner import HUNG, KILLED, SURVIVED, MutantRunner

pytestmark = pytest.mark.xdist_group("measured code")

LEAST_SHARE, LEAST_SCORE = 98.0, 90.0
SAMPLED = 160
SECONDS_OF_TESTS, LIMIT = 20.0, 300.0
"""Of the tests that run a line, so many are tried, the quickest first; and so long they may take."""
ROOMS = {"registry": REGISTRY, "resume": RESUME, "feed": FEED, "guards": GUARDS}


def all_mutants() -> list[Mutant]:
    return [one for module in MUTATED for one in mutants_of(module, (ROOT / module).read_text())]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(TESTS, tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def runner() -> Iterator[MutantRunner]:
    with MutantRunner() as runner:
        yield runner


# --- coverage ---


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_unit_tests_run_the_code(measured: Measured, tmp_path: Path, goal: Goal) -> None:
    assert measured.failed == []
    print(*measured.missing(MEASURED), sep="\n")
    share, branches = measured.share(MEASURED), measured.share_of_branches(MEASURED)
    # The control: with the tests of one module only, most of the code is not run.
    assert measure(["tests/core/storage/test_signing.py"], tmp_path).share(MEASURED) < 90
    each = ", ".join(f"{name} {measured.share(modules):.1f}" for name, modules in ROOMS.items())
    goal(
        "G31 coverage",
        f">= {LEAST_SHARE:.0f} % of lines and branches of registry, resume, feed and guards",
        f"{share:.1f} %, of branches alone {branches:.1f} % ({each})",
        min(share, branches) >= LEAST_SHARE,
    )


# --- mutants ---


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_change_of_the_code_is_noticed(measured: Measured, runner: MutantRunner, goal: Goal, fault_seed: int) -> None:
    found: Counter[str] = Counter()
    tried = [one for one in all_mutants() if one.name not in EQUIVALENT]
    for mutant in sample(tried, SAMPLED, fault_seed):
        tests = measured.tests_of(mutant.module, mutant.line, SECONDS_OF_TESTS)
        what = runner.run(mutant, tests, LIMIT)
        found[what] += 1
        if what != KILLED:
            print(f"{what}: {mutant}")
    score = 100 * (found[KILLED] + found[HUNG]) / SAMPLED
    goal(
        "G31 mutants",
        f">= {LEAST_SCORE:.0f} % of mutants of registry and guards killed",
        f"{score:.1f} % of {SAMPLED} ({found[HUNG]} by not ending) out of {len(tried)}; {len(EQUIVALENT)} equivalent",
        score >= LEAST_SCORE,
    )


@pytest.mark.soak
def test_a_mutant_is_killed_by_its_test_and_by_no_other(runner: MutantRunner) -> None:
    module = "tensor_optix/core/storage/signing.py"
    own, other = ["tests/core/storage/test_signing.py"], ["tests/core/test_faults.py"]
    mutant = next(one for one in mutants_of(module, (ROOT / module).read_text()) if "left out: raise" in one.change)
    assert runner.run(None, own, LIMIT) == SURVIVED
    assert runner.run(mutant, own, LIMIT) == KILLED
    assert runner.run(mutant, other, LIMIT) == SURVIVED
    assert runner.run(None, own, seconds=0.0) == HUNG


def test_mutants_that_are_said_to_be_equivalent_are_there() -> None:
    assert set(EQUIVALENT) - {one.name for one in all_mutants()} == set()


# --- the mutants themselves ---


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a == 1", ["Eq becomes NotEq in a == 1", "1 becomes 2", "1 becomes 0"]),
        ("a < b", ["Lt becomes LtE in a < b"]),
        ("a is b", ["Is becomes IsNot in a is b"]),
        ("a and b or c", ["Or becomes And in a and b or c", "And becomes Or in a and b"]),
        ("a + b", ["Add becomes Sub in a + b"]),
        ("a + 'text'", []),
        ("True", ["True becomes False"]),
        ("f'{a + 1}'", []),
        ("isinstance(a, int | str)", ["left out: isinstance(a, int | str)"]),
        ("logger.info(a + 1)", []),
        ("logger.warning(a + 1)", ["left out: logger.warning(a + 1)"]),
        ("raise ValueError(a + 1)", ["left out: raise ValueError(a + 1)"]),
        ("assert a", []),
        ("self.a = b", ["left out: self.a = b"]),
        ("a = b", []),
        ("if a is None: b", ["Is becomes IsNot in a is None"]),
        ("if a < b: c", ["the condition is negated in a < b", "Lt becomes LtE in a < b"]),
        ("while not a: b()", ["the condition is negated in not a", "left out: b()"]),
        ("for a in b: break", ["Break becomes Continue"]),
        ("def a() -> int | None: return b", ["None is returned in place of b"]),
        ("def a(): return None", []),
    ],
)
def test_what_is_changed(source: str, changes: list[str]) -> None:
    assert [mutant.change for mutant in mutants_of("m.py", source)] == changes


def test_a_mutant_is_the_code_with_that_one_change() -> None:
    source = textwrap.dedent("""
        class A:
            def is_more(self, a, b):
                return a > b

        found = [A().is_more(1, 1), A().is_more(2, 1)]
    """)
    (mutant,) = [one for one in mutants_of("m.py", source) if "GtE" in one.change]
    assert str(mutant) == "m.py A.is_more: Gt becomes GtE in a > b (line 4)"
    for code, found in (
        (compile(source, "m.py", "exec"), [False, True]),
        (compiled(mutant, source, "m.py"), [True, True]),
    ):
        names: dict[str, object] = {}
        exec(code, names)  # noqa: S102 - our own
        assert names["found"] == found


def test_a_sample_is_that_of_its_seed_and_takes_a_share_of_each_module() -> None:
    mutants = [Mutant("a.py", n) for n in range(30)] + [Mutant("b.py", n) for n in range(10)]
    chosen = sample(mutants, 8, 1)
    assert chosen == sample(mutants, 8, 1) != sample(mutants, 8, 2)
    assert Counter(one.module for one in chosen) == {"a.py": 6, "b.py": 2}
