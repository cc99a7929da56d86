"""What every agent must keep: inherit, and give a fixture `agent` and an attribute `env`."""

from collections.abc import Callable

import pytest

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.testing import AGENT_CHECKS, check_agent


class AgentContract:
    env = "CartPole-v1"
    in_the_soak: tuple[Callable[..., None], ...] = ()
    """Checks of what another class shows of the same code in the quick tier, where a framework takes long for them."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "check" in metafunc.fixturenames:
            marks = [pytest.mark.slow if check in self.in_the_soak else () for check in AGENT_CHECKS]
            checks = [
                pytest.param(check, id=check.__name__, marks=mark)
                for check, mark in zip(AGENT_CHECKS, marks, strict=True)
            ]
            metafunc.parametrize("check", checks)

    @pytest.mark.usefixtures("plain_graphs")
    def test_keeps(self, check: Callable[..., None], agent: BaseAgent) -> None:
        check(agent, self.env)

    @pytest.mark.slow
    def test_passes_the_public_checker(self, agent: BaseAgent) -> None:
        check_agent(agent, self.env)
