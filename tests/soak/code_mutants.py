"""Mutants of a module: the same code with one small change each, of the kinds that programmers make by mistake.

Left alone is what changes nothing that a user is promised: texts, annotations, log lines below a warning, assertions
for the type checker, and what a message is made of.
"""

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
QUIET = ("debug", "info")


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Args:
        module: its path, from the root of the repository.
        number: which of the module's changes it is.
        line: where.
        within: the function or class that it is in; empty for the module itself.
        change: what it does to the code.
    """

    module: str
    number: int
    line: int = 0
    within: str = ""
    change: str = ""

    @property
    def name(self) -> str:
        """What it is called: the same when lines are added above it."""
        return f"{self.module} {self.within}: {self.change}"

    def __str__(self) -> str:
        return f"{self.name} (line {self.line})"


@dataclass(frozen=True)
class _Change:
    line: int
    text: str
    apply: Callable[[], None]


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Return all changes of a module, in the order of its lines."""
    return [
        Mutant(module, number, change.line, within, change.text)
        for number, (within, change) in enumerate(_changes(ast.parse(source)))
    ]


def compiled(mutant: Mutant, source: str, path: str) -> CodeType:
    """Return the code of a module with the change made."""
    tree = ast.parse(source)
    _, change = _changes(tree)[mutant.number]
    change.apply()
    return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def sample(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Return some of them: the same for a seed, and as many of each module as are its share."""
    order = random.Random(seed)
    by_module: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_module.setdefault(mutant.module, []).append(mutant)
    shuffled = [order.sample(found, len(found)) for _, found in sorted(by_module.items())]
    # The i-th of n stands at (i + 1/2) / n: the first ones of all modules together are a fair share of each.
    placed = [((i + 0.5) / len(found), one) for found in shuffled for i, one in enumerate(found)]
    return [one for _, one in sorted(placed, key=lambda pair: (pair[0], pair[1].module))][:count]


def _changes(tree: ast.Module) -> list[tuple[str, _Change]]:
    found = [(within, change) for node, within in _mutated(tree) for change in _changes_of(node)]
    return sorted(found, key=lambda pair: pair[1].line)


def _mutated(node: ast.AST, within: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Yield a node and those below it, but what is left alone, each with the function or class that it is in."""
    if isinstance(node, ast.JoinedStr | ast.Assert) or _is_quiet(node) or _is_for_types(node):
        return
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.JoinedStr):
        return  # how much of a message is said
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        within = f"{within}.{node.name}".removeprefix(".")
    yield node, within
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and _is_of_logger(node)):
            continue  # its message
        if isinstance(node, ast.Call) and name == "args" and _named(node.func) == "isinstance":
            value = value[:1]
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _mutated(child, within)


def _changes_of(node: ast.AST) -> Iterator[_Change]:
    for kind in (_of_values, _of_conditions, _of_statements):
        yield from kind(node)


def _of_values(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _set(node, "value", not node.value, node.lineno, f"{node.value} becomes {not node.value}")
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        for other in (node.value + 1, node.value - 1):
            yield _set(node, "value", other, node.lineno, f"{node.value} becomes {other}")
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COMPUTED and not _has_text(node):
        other = COMPUTED[type(node.op)]
        yield _set(node, "op", other(), node.lineno, f"{type(node.op).__name__} becomes {other.__name__} {_at(node)}")


def _of_conditions(node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            other = COMPARED[type(operator)]
            said = f"{type(operator).__name__} becomes {other.__name__} {_at(node)}"
            yield _put(node.ops, i, other(), node.lineno, said)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield _set(node, "op", other(), node.lineno, f"{type(node.op).__name__} becomes {other.__name__} {_at(node)}")
    tested = getattr(node, "test", None)
    if isinstance(node, ast.If | ast.While | ast.IfExp) and isinstance(tested, ast.expr) and not _is_negated(tested):
        negated = (
            tested.operand
            if isinstance(tested, ast.UnaryOp) and isinstance(tested.op, ast.Not)
            else ast.UnaryOp(ast.Not(), tested)
        )
        yield _set(node, "test", negated, node.lineno, f"the condition is negated {_at(tested)}")


def _of_statements(node: ast.AST) -> Iterator[_Change]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        for i, statement in enumerate(block):
            if _is_for_types(statement) or _is_quiet(statement):
                continue
            if _does_something(statement):
                yield _put(block, i, ast.Pass(), statement.lineno, f"left out: {ast.unparse(statement)[:80]}")
            elif isinstance(statement, ast.Break | ast.Continue):
                other = ast.Continue() if isinstance(statement, ast.Break) else ast.Break()
                said = f"{type(statement).__name__} becomes {type(other).__name__}"
                yield _put(block, i, other, statement.lineno, said)
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        none = ast.Constant(None)
        yield _set(node, "value", none, node.lineno, f"None is returned in place of {ast.unparse(node.value)[:80]}")


def _is_negated(tested: ast.expr) -> bool:
    """Whether another comparison is the negation already."""
    opposed = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    return isinstance(tested, ast.Compare) and len(tested.ops) == 1 and isinstance(tested.ops[0], opposed)


def _does_something(statement: ast.stmt) -> bool:
    """Whether a statement may be left out and the code still be run: it calls, raises, or changes what is there."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call | ast.Yield | ast.YieldFrom)
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, ast.Attribute | ast.Subscript) for target in statement.targets)
    return isinstance(statement, ast.Raise | ast.AugAssign | ast.Delete)


def _is_quiet(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else node
    return isinstance(call, ast.Call) and _is_of_logger(call) and getattr(call.func, "attr", "") in QUIET


def _is_of_logger(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and _named(call.func.value) == "logger"


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _named(node.test) == "TYPE_CHECKING"


def _named(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _has_text(node: ast.BinOp | ast.AugAssign) -> bool:
    """Whether text is put together, which would only raise a `TypeError`."""
    return any(
        isinstance(below, ast.JoinedStr) or (isinstance(below, ast.Constant) and isinstance(below.value, str | bytes))
        for below in ast.iter_child_nodes(node)
    )


def _at(node: ast.AST) -> str:
    return f"in {ast.unparse(node)[:80]}"


def _set(node: ast.AST, name: str, value: object, line: int, text: str) -> _Change:
    return _Change(line, text, lambda: setattr(node, name, value))


def _put(among: list, i: int, value: object, line: int, text: str) -> _Change:
    return _Change(line, text, lambda: among.__setitem__(i, value))
