import pytest

from tensor_optix.errors import BadDataError, InvalidArgumentError
from tensor_optix.executors import Payload
from tensor_optix.executors._jobs import failure_of, job_error, resolved, run
from tests.fakes import jobs


class Context:
    index, attempt, is_cancelled = 0, 1, False

    def tell(self, values: object) -> None: ...


def test_a_name_leads_to_its_function_also_inside_a_class() -> None:
    assert resolved(f"{jobs.NAME}:double") is jobs.double
    assert resolved(f"{__name__}:Context.tell") is Context.tell


def test_what_a_job_returns_is_checked_where_it_runs() -> None:
    assert run(f"{jobs.NAME}:plain", Payload(), Context()) == Payload({"plain": [1, 2]})
    with pytest.raises(BadDataError):
        run(f"{jobs.NAME}:no_payload", Payload(), Context())
    with pytest.raises(InvalidArgumentError, match="cannot import"):
        run("tests.nowhere:f", Payload(), Context())


def test_an_error_keeps_where_it_was_raised() -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        failure = failure_of(error)
    found = job_error("a:b", 2, Payload("item"), failure)
    assert str(found) == "Item 2 of a:b failed with KeyError: 'x'"
    assert (found.index, found.item) == (2, "item")
    assert 'raise KeyError("x")' in str(found.__cause__)
