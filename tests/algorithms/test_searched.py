import pytest

from tensor_optix._hyperparam_names import hyperparam_table
from tensor_optix.algorithms._description import ALGORITHMS
from tensor_optix.algorithms._searched import SEARCHED
from tests.fakes.documents import TEXTS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_value_is_accepted_and_none_has_a_range_already(algorithm: str) -> None:
    table = hyperparam_table(algorithm)
    for name, values in SEARCHED[algorithm].items():
        assert table[name].tune is None
        assert [table[name].check(name, value, algorithm) for value in values] == sorted(set(values))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_page_shows_what_is_searched(algorithm: str) -> None:
    rows = [f"| `{name}` | {', '.join(f'{one:g}' for one in values)} |" for name, values in SEARCHED[algorithm].items()]
    assert all(row in TEXTS["docs/many-cores.md"] for row in rows), rows
