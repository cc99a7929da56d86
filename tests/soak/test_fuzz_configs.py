"""Damaged and hostile `run.json` files: refused by type, and no module is imported for them."""

import json
import random
from pathlib import Path

import pytest

from tensor_optix.errors import InvalidArgumentError
from tensor_optix.runs import RunDescription
from tests.conftest import Goal
from tests.soak.mutations import mutated_json
from tests.soak.oracle import Fuzzed
from tests.soak.targets import RUN

SEED = 20_240_608
QUICK, FULL = 2_000, 100_000


def fuzz(folder: Path, count: int, seed: int) -> Fuzzed:
    """Read `count` mutants."""
    rng, text = random.Random(seed), json.dumps(RUN).encode()
    RunDescription.from_file(text, "run.json")
    done = Fuzzed(folder)
    for trial in range(count):
        data = mutated_json(text, rng)
        if done.takes(trial, lambda data=data: RunDescription.from_file(data, "run.json")):
            run = RunDescription.from_file(data, "run.json")
            assert ":" not in run.env
            assert 1 <= run.window_size <= 2**24
            assert type(run.async_envs) is bool
            assert type(run.seed) is int
    return done


@pytest.mark.parametrize("count", [QUICK, pytest.param(FULL, marks=[pytest.mark.slow])])
@pytest.mark.timeout(900)
def test_mutated_configs_are_refused_by_type_and_stay_within_bounds(tmp_path: Path, count: int, goal: Goal) -> None:
    done = fuzz(tmp_path, count, SEED)
    goal("G26 configs", f"0 outside effects, 0 untyped errors in {count:,}", done.summary(), not done.failures)
    assert done.refused > count // 3
    assert done.taken > 0


def test_an_environment_that_names_a_module_is_taken_only_if_the_module_is_listed() -> None:
    data = json.dumps(RUN | {"env": "my_envs:Env-v0"}).encode()
    with pytest.raises(InvalidArgumentError, match="'my_envs'"):
        RunDescription.from_file(data, "run.json")
    with pytest.raises(InvalidArgumentError, match="'my_envs'"):
        RunDescription.from_file(data, "run.json", ["my_env", "other"])
    assert RunDescription.from_file(data, "run.json", ["my_envs"]).env == "my_envs:Env-v0"


def test_what_would_not_be_read_is_not_written(tmp_path: Path) -> None:
    values = {name: value for name, value in RUN.items() if name not in ("format", "version")}
    with pytest.raises(InvalidArgumentError, match=r"\$\.seed"):
        RunDescription(**(values | {"seed": 2**70})).write(tmp_path)
    run = RunDescription(**values)
    run.write(tmp_path)
    assert RunDescription.read(tmp_path) == run
