"""`python -m benchmarks determinism --record FILE`, then `--compare FILE`: do runs with fixed seeds stay the same?

Each workload runs uninterrupted, and once more killed by SIGKILL and resumed, in processes of their own. Recorded are
the SHA-256 of the history, of the decisions in it, and of the final weights. A redesign that changes no behaviour
changes no hash. Hashes depend on the processor and on the versions of the frameworks: compare where it was recorded.
"""

import argparse
import hashlib
import json
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tensor_optix
from benchmarks._determinism_runs import WORKLOADS
from benchmarks._suite import ROOT, MeasurementError, environment

PACKAGES = ("numpy", "gymnasium", "torch", "tensorflow")
HASHES = ("history", "decisions", "weights")
DECIDED = ("window_id", "env_steps", "verdict", "state", "interval", "best_score")
"""Fields of a line of the history that are decisions, whatever else its format holds."""
_EXIT_DIFFERENT, _EXIT_USAGE = 1, 2
_DETERMINISTIC = {
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_DETERMINISTIC_OPS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}

Record = dict[str, Any]
"""Of one workload: `whole` and `resumed`, each with its hashes and a hash per line of the history."""


def main(argv: Sequence[str] | None = None) -> int:
    """Record or compare; return 0 where all is the same, 1 where something differs or failed, 2 for a bad file."""
    args = _parser().parse_args(argv)
    names = args.only or list(WORKLOADS)
    print(f"The code: {Path(tensor_optix.__file__).parent}", flush=True)
    try:
        if args.record:
            return record(args.record, names, measure)
        return compare(args.compare, names, measure)
    except RecordError as error:
        print(f"determinism: {error}", file=sys.stderr)
        return _EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks determinism", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", type=Path, metavar="FILE", help="write the hashes; go on where it stopped")
    what.add_argument("--compare", type=Path, metavar="FILE", help="say which hashes differ, and from which window on")
    parser.add_argument("--only", action="append", default=[], choices=list(WORKLOADS), help="repeatable")
    return parser


class RecordError(Exception):
    """A file of hashes that cannot be used."""


def record(file: Path, names: Iterable[str], measured: Callable[[str], Record]) -> int:
    """Write the hashes of each workload to `file` as they come; what it holds already is not measured again.

    Raises:
        RecordError: it was begun with other code, on another processor or with other versions.
    """
    known = _read(file) if file.exists() else {"machine": machine(), "code": code(), "workloads": {}}
    if known["machine"] != machine() or known["code"] != code():
        raise RecordError(f"{file} was begun with other code or on another machine. Record to another file.")
    failed = False
    for name in names:
        if name in known["workloads"]:
            print(f"{name}: already recorded")
            continue
        try:
            found = measured(name)
        except MeasurementError as error:
            failed = True
            print(f"{name}: FAILED: {error}", file=sys.stderr)
            continue
        known["workloads"][name] = found
        partial = file.with_name(file.name + ".partial")
        partial.write_text(json.dumps(known, indent=1) + "\n")
        partial.replace(file)
        failed |= _tell(name, interruption(found))
    return _EXIT_DIFFERENT if failed else 0


def compare(file: Path, names: Iterable[str], measured: Callable[[str], Record]) -> int:
    """Say what differs from the hashes in `file`; a workload that it lacks counts as different.

    Raises:
        RecordError: it cannot be read.
    """
    known = _read(file)
    if known["machine"] != machine():
        print(f"Hashes may differ: {file} was recorded with {known['machine']}, this is {machine()}.", file=sys.stderr)
    failed = False
    for name in names:
        if name not in known["workloads"]:
            failed |= _tell(name, [f"{file} holds no record of it"])
            continue
        try:
            found = measured(name)
        except MeasurementError as error:
            failed |= _tell(name, [f"FAILED: {error}"])
            continue
        failed |= _tell(name, [*differences(known["workloads"][name], found), *interruption(found)])
    return _EXIT_DIFFERENT if failed else 0


def _read(file: Path) -> dict[str, Any]:
    try:
        known = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(f"{file} is no record of hashes ({error}). Write one with --record.") from error
    if not isinstance(known, dict) or not {"machine", "code", "workloads"} <= known.keys():
        raise RecordError(f"{file} is no record of hashes. Write one with --record.")
    return known


def _tell(name: str, problems: Sequence[str]) -> bool:
    print(f"{name}: {'; '.join(problems) or 'the same'}", flush=True)
    return bool(problems)


# --- what is compared ---


def fingerprint(history: Sequence[str], weights: str) -> Record:
    """Return the hashes of a run.

    Args:
        history: the lines of its `history.jsonl`.
        weights: SHA-256 of its final weights.
    """
    lines = [[json.loads(line)["window_id"], _short(line), _short(decision(line))] for line in history]
    return {
        "history": _sha256("".join(history)),
        "decisions": _sha256("".join(decision(line) for line in history)),
        "weights": weights,
        "lines": lines,
    }


def decision(line: str) -> str:
    """Return what a line of a history decided, and what for, in a form that no format of it changes."""
    parsed = json.loads(line)
    picked = {name: parsed[name] for name in DECIDED}
    picked["hyperparams"] = parsed["hyperparams"]["params"]
    picked["score"] = parsed["eval_metrics"]["primary_score"]
    return json.dumps(picked, sort_keys=True) + "\n"


def differences(recorded: Record, found: Record) -> list[str]:
    """Return which hashes of a workload differ, and from which window on."""
    return [f"{run}: {problem}" for run in ("whole", "resumed") for problem in _between(recorded[run], found[run])]


def interruption(found: Record) -> list[str]:
    """Return in what the run that was killed and resumed differs from the one that was not."""
    return [f"resumed is not as whole: {problem}" for problem in _between(found["whole"], found["resumed"])]


def _between(old: Record, new: Record) -> list[str]:
    return [f"{kind} differ{_since(kind, old, new)}" for kind in HASHES if old[kind] != new[kind]]


def _since(kind: str, old: Record, new: Record) -> str:
    if kind == "weights":
        return ""
    column = HASHES.index(kind) + 1
    for before, after in zip(old["lines"], new["lines"], strict=False):
        if before[0] != after[0] or before[column] != after[column]:
            return f" from window {before[0]} on"
    shorter = min(old["lines"], new["lines"], key=len)
    return f" after window {shorter[-1][0]}, where one of them ends" if shorter else ", as one of them is empty"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _short(text: str) -> str:
    return _sha256(text)[:12]


# --- measuring ---


def measure(name: str) -> Record:
    """Run a workload uninterrupted, and killed and resumed.

    Raises:
        MeasurementError: a run failed, was not killed, was not resumed, or did not show what it is for.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = _finished(name, Path(folder, "whole"))
        status = _run(name, Path(folder, "cut"), "--kill").returncode
        if status != -signal.SIGKILL:
            raise MeasurementError(f"it was to be killed, but ended with {status}")
        resumed = _finished(name, Path(folder, "cut"), "--resume")
    if not resumed["began_with"]:
        raise MeasurementError("it was killed before anything was saved, so nothing was resumed")
    if not (whole["has_shown"] and resumed["has_shown"]):
        raise MeasurementError(f"it must show that {WORKLOADS[name].shows}, but it did not")
    runs = {"whole": whole, "resumed": resumed}
    return {run: fingerprint(result["history"], result["weights"]) for run, result in runs.items()}


def _finished(name: str, folder: Path, *flags: str) -> dict[str, Any]:
    done = _run(name, folder, *flags)
    if done.returncode:
        raise MeasurementError(f"it ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _run(name: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks._determinism_runs", name, str(folder), *flags]
    return subprocess.run(command, cwd=ROOT, env=environment(**_DETERMINISTIC), capture_output=True, text=True)


def machine() -> dict[str, str]:
    """Return what hashes depend on beside the code."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "processor": _processor(), **versions}


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def code() -> str:
    """Return the SHA-256 of the library's source, by which a record that is continued knows that it is the same."""
    root = Path(tensor_optix.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
