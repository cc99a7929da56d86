"""`python -m benchmarks [SUITE ...]`: measure what is not measured yet, and render the page of results."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import (
    calibration,
    collecting,
    curves,
    determinism,
    easy,
    ensemble,
    evolution,
    executors,
    field,
    honesty,
    imports,
    intervals,
    learning,
    memory,
    overhead,
    population,
    race,
    selection,
    speed,
    start,
    truth,
    tuning,
    validation,
    workers,
)
from benchmarks._results import Store, section, write_page
from benchmarks._suite import MeasurementError, Options, Suite

SUITES: Mapping[str, Suite] = {
    "imports": imports,
    "start": start,
    "calibration": calibration,
    "intervals": intervals,
    "curves": curves,
    "overhead": overhead,
    "collecting": collecting,
    "executors": executors,
    "workers": workers,
    "speed": speed,
    "race": race,
    "learning": learning,
    "memory": memory,
    "selection": selection,
    "validation": validation,
    "evolution": evolution,
    "ensemble": ensemble,
    "population": population,
    "tuning": tuning,
    "easy": easy,
    "truth": truth,
    "honesty": honesty,
    "field": field,
}
"""Shortest first."""
BY_ENVIRONMENT = (
    race,
    learning,
    memory,
    selection,
    evolution,
    population,
    tuning,
    field,
    honesty,
    truth,
    easy,
    validation,
)
"""Those of which `--only` chooses."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suites and return the exit code: 0 done, 1 if a measurement failed, 130 interrupted.

    `determinism` is no suite: it has arguments of its own.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["determinism"]:
        return determinism.main(given[1:])
    args = _parser().parse_args(argv)
    options = Options(
        seeds=tuple(args.seeds) if args.seeds else None,
        only=tuple(args.only),
        rounds=args.rounds,
        windows=args.windows,
        minutes=args.minutes,
        runs=args.runs,
        curves=args.curves,
    )
    stores = {name: Store(args.results / f"{name}.jsonl") for name in SUITES}
    try:
        failures = sum(_run(name, stores[name], options, args.fresh) for name in args.suites or SUITES)
    except KeyboardInterrupt:
        print("Interrupted: what is measured is kept, the same command goes on.", file=sys.stderr)
        return 130
    finally:
        _render(stores, args.results / "README.md")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    # `choices` would refuse an empty list of positionals.
    parser.add_argument("suites", nargs="*", type=_suite, metavar="SUITE", help=f"{', '.join(SUITES)} (default: all)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", metavar="N", help="seeds of all suites that train, and of calibration"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=sorted(
            {task.env for suite in BY_ENVIRONMENT for task in suite.TASKS}
            | set(collecting.ENVS)
            | set(speed.TASKS)
            | {world.name for world in selection.WORLDS}
        ),
        metavar="ENV",
        help="this environment, world of selection or task of speed, in the suites that have several; repeatable",
    )
    parser.add_argument(
        "--rounds", type=_positive, default=5, metavar="N", help="rounds of speed, collecting and workers (default: 5)"
    )
    parser.add_argument("--windows", type=_positive, metavar="N", help="windows per run of speed and overhead")
    parser.add_argument("--curves", type=Path, metavar="DIR", help="folder of the public learning curves of curves")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="cut each run of race, field, honesty, truth and easy then"
    )
    parser.add_argument(
        "--runs", type=Path, default=Options.runs, metavar="DIR", help="where those runs are kept, to go on with them"
    )
    parser.add_argument("--fresh", action="store_true", help="measure anew what is already measured")
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results", metavar="DIR", help="where results go"
    )
    return parser


def _suite(name: str) -> str:
    if name not in SUITES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SUITES)}")
    return name


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _run(name: str, store: Store, options: Options, fresh: bool) -> int:
    """Make the measurements of one suite that are missing, and return how many failed."""
    planned = list(SUITES[name].plan(options))
    if fresh:
        store.forget(measurement.key for measurement in planned)
        for measurement in planned:
            measurement.discard()
    known, failures = store.rows(), 0
    for measurement in planned:
        label = f"{name} {measurement.key}"
        if measurement.key in known and not measurement.goes_on(known[measurement.key]):
            print(f"{label}: already measured")
            continue
        start = time.perf_counter()
        try:
            store.append(measurement.key, measurement.measure())
        except MeasurementError as error:
            failures += 1
            print(f"{label}: FAILED: {error}", file=sys.stderr)
        else:
            print(f"{label}: {time.perf_counter() - start:.1f} s", flush=True)
    return failures


def _render(stores: Mapping[str, Store], path: Path) -> None:
    found = {name: list(store.rows().values()) for name, store in stores.items()}
    write_page(
        path, [section(SUITES[name].TITLE, rows, SUITES[name].render(rows)) for name, rows in found.items() if rows]
    )


if __name__ == "__main__":
    sys.exit(main())
