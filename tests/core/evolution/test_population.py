"""Agents by name: who keeps its name, who is forgotten, and how a resumed run finds each of them again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tensor_optix.core.evolution.population import FIRST, Population
from tensor_optix.errors import CheckpointMismatchError
from tests.fakes.agents import RememberingAgent


def rates(*values: float) -> Callable[[], RememberingAgent]:
    """A factory of agents with these learning rates, one after the other."""
    remaining = iter(values)
    return lambda: RememberingAgent(learning_rate=next(remaining))


def test_names_are_those_of_the_order_of_coming() -> None:
    first, member = RememberingAgent(), RememberingAgent()
    population = Population(first, rates(0.1, 0.2))
    population.admit([first, member])  # the first may be a member, too, and keeps its name
    made = [population.make(), population.make()]
    assert [population.name_of(agent) for agent in (first, member, *made)] == [FIRST, "member1", "variant1", "variant2"]
    assert [population[name] for name in (FIRST, "member1", "variant1", "variant2")] == [first, member, *made]


def test_a_member_that_is_admitted_again_keeps_its_name() -> None:
    first, member = RememberingAgent(), RememberingAgent()
    population = Population(first, None)
    population.admit([member])
    population.admit([first, member])
    assert population.name_of(member) == "member0"


def test_only_variants_are_forgotten_and_their_names_are_not_given_again() -> None:
    population = Population(RememberingAgent(), rates(0.1, 0.2, 0.3))
    population.admit([RememberingAgent()])
    _, kept = population.make(), population.make()
    population.keep_only([kept])
    assert list(population.hyperparams()) == [FIRST, "member0", "variant2"]
    assert population.name_of(population.make()) == "variant3"


def test_a_name_that_is_not_there_says_what_to_resume_with() -> None:
    with pytest.raises(CheckpointMismatchError, match=r"has an agent 'member4'.*agent_factory and the members"):
        Population(RememberingAgent(), None)["member4"]


def test_what_was_saved_is_found_again_by_whoever_has_the_name(tmp_path: Path) -> None:
    population = Population(RememberingAgent(), rates(0.1, 0.2))
    learner, kept = population.make(), population.make()
    assert isinstance(kept, RememberingAgent)
    kept.weight, kept.params = 7.0, {"learning_rate": 0.9}
    population.save(tmp_path, but=learner)
    assert sorted(path.name for path in tmp_path.iterdir()) == [FIRST, "variant2"]  # the learner's is saved elsewhere
    again = Population(RememberingAgent(), rates(0.1, 0.2))
    again.remake(2, population.hyperparams())
    again.load(tmp_path, population.hyperparams(), but=again["variant1"])
    found = again["variant2"]
    assert isinstance(found, RememberingAgent)
    assert (found.weight, found.params) == (7.0, {"learning_rate": 0.9})


class TestRemaking:
    def test_the_factory_is_called_as_often_as_before_and_only_who_was_kept_stays(self) -> None:
        population = Population(RememberingAgent(), rates(0.1, 0.2, 0.3))
        population.remake(3, [FIRST, "variant2"])
        assert (population.n_made, list(population.hyperparams())) == (3, [FIRST, "variant2"])
        assert population["variant2"].get_hyperparams().params == {"learning_rate": 0.2}

    def test_without_the_factory_it_says_so(self) -> None:
        with pytest.raises(CheckpointMismatchError, match="has made 2 variants: resume it with its agent_factory"):
            Population(RememberingAgent(), None).remake(2, [FIRST])
        Population(RememberingAgent(), None).remake(0, [FIRST])  # nothing was made

    @pytest.mark.parametrize("is_needed", [True, False])
    def test_a_call_that_failed_before_may_fail_again_and_no_other(self, is_needed: bool) -> None:
        def fail_first() -> RememberingAgent:
            if population.n_made == 1:
                raise OSError("no memory")
            return RememberingAgent()

        population = Population(RememberingAgent(), fail_first)
        if is_needed:
            with pytest.raises(OSError, match="no memory"):
                population.remake(2, ["variant1"])
        else:
            population.remake(2, ["variant2"])
            assert list(population.hyperparams()) == [FIRST, "variant2"]
