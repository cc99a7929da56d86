"""What is PyTorch's own in DQN; `test_dqn.py` tests the recipe on both frameworks."""

import numpy as np
import pytest

from tests.algorithms.off_policy import (
    dqn,
    window,
)
from tests.fakes.weights import weights_of


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_steps_equal_eager_ones() -> None:
    agents = [dqn("torch", target_update_freq=3, updates_per_step=1.0, compile=c) for c in (False, True)]
    for i in range(2):
        found = [agent.learn(window(12, seed=i)) for agent in agents]
        assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-5)
    assert next(iter(agents[1]._updaters.values())).is_compiled
    ours, theirs = map(weights_of, agents)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
