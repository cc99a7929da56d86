"""Every typed error: caught by its root and by the built-in that fits, and told apart by its code."""

import inspect
import pickle

import pytest

from tensor_optix import errors
from tensor_optix.errors import (
    CheckpointError,
    CheckpointStorageError,
    CheckpointUnsafeError,
    FeedError,
    FeedOverflowError,
    HyperparamError,
    InvalidArgumentError,
    TensorOptixError,
    did_you_mean,
)

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TensorOptixError)]
BUILT_IN = {
    "invalid-argument": ValueError,
    "hyperparam": ValueError,
    "space": ValueError,
    "model-shape": ValueError,
    "environment-not-found": ValueError,
    "environment-failed": RuntimeError,
    "feed": RuntimeError,
    "feed-fatal": RuntimeError,
    "feed-overflow": RuntimeError,
    "bad-data": ValueError,
    "contract": TypeError,
    "device": RuntimeError,
    "evolution": RuntimeError,
    "executor": RuntimeError,
    "job": RuntimeError,
    "job-cancelled": RuntimeError,
    "missing-dependency": ImportError,
    "non-finite": ArithmeticError,
    "checkpoint": RuntimeError,
    "checkpoint-corrupt": RuntimeError,
    "checkpoint-interrupted": RuntimeError,
    "checkpoint-locked": RuntimeError,
    "checkpoint-mismatch": RuntimeError,
    "checkpoint-path": FileNotFoundError,
    "checkpoint-unsigned": RuntimeError,
    "checkpoint-storage": OSError,
    "checkpoint-unsafe": OSError,
}
"""The built-in by code; codes are stable across releases."""


def test_each_error_has_a_different_code_and_no_code_is_lost() -> None:
    codes = [kind.code for kind in ERRORS if kind is not TensorOptixError]
    assert sorted(codes) == sorted(BUILT_IN)


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind is not TensorOptixError], ids=lambda kind: kind.code)
def test_an_error_is_caught_by_the_root_and_by_the_built_in_that_fits(kind: type[TensorOptixError]) -> None:
    for caught_as in (TensorOptixError, BUILT_IN[kind.code]):
        with pytest.raises(caught_as, match="the reason"):
            raise kind("the reason")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_of_another_process_arrives_as_it_was(kind: type[TensorOptixError]) -> None:
    found = pickle.loads(pickle.dumps(kind("the reason")))  # noqa: S301 - our own, a moment ago
    assert (type(found), str(found), found.code) == (kind, "the reason", kind.code)


def test_a_family_is_caught_by_its_head() -> None:
    assert issubclass(HyperparamError, InvalidArgumentError)
    assert issubclass(FeedOverflowError, FeedError)
    assert issubclass(CheckpointUnsafeError, CheckpointStorageError)
    assert issubclass(CheckpointStorageError, CheckpointError)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("learning_rat", " Did you mean 'learning_rate'?"),
        ("gama", " Did you mean 'gamma'?"),
        ("nothing like it", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_suggested_where_one_is_near(name: str, advice: str) -> None:
    assert did_you_mean(name, iter(["gamma", "learning_rate"])) == advice


def test_how_near_is_near_can_be_chosen() -> None:
    assert did_you_mean("lr", ["learning_rate"]) == ""
    assert did_you_mean("lr", ["learning_rate"], cutoff=0.1) == " Did you mean 'learning_rate'?"
    assert did_you_mean("gamma", []) == ""
