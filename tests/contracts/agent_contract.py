"""What every agent must keep: inherit, and give a fixture `agent` and an attribute `env`."""

from collections.abc import Callable

import pytest

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.testing import AGENT_CHECKS, check_agent


class AgentContract:
    env = "CartPole-v1"

    @pytest.mark.usefixtures("plain_graphs")
    @pytest.mark.parametrize("check", AGENT_CHECKS, ids=lambda check: check.__name__)
    def test_keeps(self, check: Callable[..., None], agent: BaseAgent) -> None:
        check(agent, self.env)

    @pytest.mark.slow
    def test_passes_the_public_checker(self, agent: BaseAgent) -> None:
        check_agent(agent, self.env)
