"""Every cell of the tables of models and optimizers in docs/what-works.md, and that the page says just that."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
import torch

from tensor_optix.errors import TensorOptixError
from tests.fakes.cycles import assert_goes_through, window
from tests.fakes.what_works import OPTIMIZERS, PAGE, TABLES, Cell, written

SLOW = pytest.mark.slow
QUICK_IN_KERAS = ("Dropout", "`mixed_float16`")
"""What tracing a graph for is worth in every run; the others are run by `make soak`."""


def cells() -> list[Any]:
    found = []
    for name, (_, rows) in TABLES.items():
        for row, (of_torch, of_keras) in rows.items():
            if of_torch is not None:
                found.append(pytest.param(of_torch, id=f"{name}-torch-{row}"))
            if of_keras is not None:
                marks = [] if row in QUICK_IN_KERAS or of_keras.refused else [SLOW]
                found.append(pytest.param(of_keras, id=f"{name}-keras-{row}", marks=marks))
    return found


@pytest.mark.parametrize("cell", cells())
def test_a_cell_is_as_the_page_says(cell: Cell, tmp_path: Path) -> None:
    assert_is_as_said(cell, tmp_path)


def assert_is_as_said(cell: Cell, path: Path) -> None:
    if cell.refused:
        with pytest.raises(TensorOptixError) as error:
            cell.make(0)
        assert cell.refused in str(error.value)
    else:
        windows = window(seed=0, **cell.window), window(seed=1, **cell.window)
        assert_goes_through(cell.make, path, windows)


def others() -> list[Any]:
    found = []
    for row, each in OPTIMIZERS.items():
        for framework, cell in zip(("torch", "keras"), each, strict=True):
            if cell is not None:
                assert cell.others is not None
                dqn, sac = cell.others
                found.append(pytest.param(replace(cell, make=dqn), id=f"dqn-{framework}-{row}"))
                found.append(
                    pytest.param(replace(cell, make=sac, window={"action_dim": 2}), id=f"sac-{framework}-{row}")
                )
    return found


@SLOW
@pytest.mark.parametrize("cell", others())
def test_an_optimizer_is_to_dqn_and_sac_what_it_is_to_ppo(cell: Cell, tmp_path: Path) -> None:
    assert_is_as_said(cell, tmp_path)


def test_the_page_has_the_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert written(text) == text, "run: python -m tests.fakes.what_works"


@pytest.mark.parametrize(("module", "column"), [(torch.optim, 0), (keras.optimizers, 1)])
def test_every_optimizer_that_a_framework_ships_is_in_the_table(module: Any, column: int) -> None:
    kinds = {name.lower() for name, kind in inspect.getmembers(module, inspect.isclass) if is_optimizer(kind, module)}
    named = {row.lower() for row, cells in OPTIMIZERS.items() if cells[column] is not None}
    assert kinds <= named


def is_optimizer(kind: type, module: Any) -> bool:
    return issubclass(kind, module.Optimizer) and kind is not module.Optimizer
