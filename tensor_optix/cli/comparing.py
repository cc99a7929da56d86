"""`tensor-optix compare`: its arguments, and what it does."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tensor_optix.cli import exit_codes
from tensor_optix.support.terminal import say

if TYPE_CHECKING:
    from tensor_optix.report.comparison import Comparison

_SEED = 0
"""Of the bootstrap: the same runs give the same numbers."""


def add_compare(compare: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare`."""
    compare.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR", help="a run, or a folder that holds some")
    compare.add_argument(
        "--group-by",
        action="append",
        default=None,
        metavar="SETTING",
        help="tell groups apart by a setting, such as learning_rate, n_envs or folder; repeatable (default: algorithm)",
    )
    compare.add_argument("--output", type=Path, metavar="FILE", help="where to write the page (default: compare.html)")
    compare.add_argument("--json", action="store_true", help="print the numbers as JSON; a page only with --output")


def compare(args: argparse.Namespace) -> int:
    """Write the page of a comparison, or print its numbers; return the exit code."""
    # What draws and computes is loaded where somebody compares.
    from tensor_optix.report.comparison_page import PAGE, write_comparison
    from tensor_optix.report.comparison_results import Results

    comparison = _read(args.run_dirs, args.group_by)
    if args.json:
        found = {
            **Results.of(comparison, np.random.default_rng(_SEED)).to_dict(),
            "runs": [run.to_dict() for run in comparison.runs],
            "differences": {one.name: dict(one.values) for one in comparison.differences()},
            "refused": dict(comparison.refused),
        }
        print(json.dumps(found))
    if args.output is not None or not args.json:
        path = write_comparison(comparison, args.output or Path(PAGE), np.random.default_rng(_SEED))
        if not args.json:
            say(path)
    return exit_codes.DONE


def page_of(run_dirs: Sequence[Path], path: Path) -> Path:
    """Write the page that compares some runs, and return where it is.

    Args:
        run_dirs: runs, or folders that hold some.
        path: where to write it.
    """
    from tensor_optix.report.comparison_page import write_comparison

    return write_comparison(_read(run_dirs), path, np.random.default_rng(_SEED))


def _read(run_dirs: Sequence[Path], group_by: Sequence[str] | None = None) -> "Comparison":
    """Read runs, and say which of them cannot be compared."""
    from tensor_optix.report.comparison import DEFAULT_GROUP_BY, Comparison

    comparison = Comparison.read(run_dirs, tuple(group_by or DEFAULT_GROUP_BY))
    for reason in comparison.refused.values():
        say(f"tensor-optix: {reason}", file=sys.stderr)
    return comparison
