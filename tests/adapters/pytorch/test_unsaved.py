"""What training changes outside of a `state_dict` is said, once."""

import pytest
import torch
from torch import nn

from tests.fakes import torch_models as t
from tests.fakes.cycles import window


class Averaging(t.Aside):
    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.register_buffer("mean", torch.zeros(4), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return super().forward(x - self.mean)


class Remembering(t.Aside):
    """Keeps what it has computed, to be looked at."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = super().forward(x)
        return self.last


@pytest.mark.parametrize(("model", "name"), [(t.Counting, "calls"), (Averaging, "mean")])
def test_what_is_not_saved_is_named_once(model: type[nn.Module], name: str, caplog: pytest.LogCaptureFixture) -> None:
    agent = t.dqn(model)(0)
    for seed in range(2):
        agent.learn(window(seed=seed))
    (said,) = [record.getMessage() for record in caplog.records if "state_dict" in record.getMessage()]
    assert said.startswith(f"{model.__name__} changes {name} while it learns")
    assert f"self.register_buffer({name!r}, torch.tensor(...))" in said


@pytest.mark.parametrize(
    "model", [Remembering, t.pruned, t.normed(nn.utils.parametrizations.spectral_norm), t.InPlace, t.recurrent]
)
def test_what_is_saved_or_made_anew_is_not(model: type[nn.Module], caplog: pytest.LogCaptureFixture) -> None:
    agent = t.ppo(model)(0)
    agent.learn(window(seed=0))
    agent.learn(window(seed=1))
    assert not any("state_dict" in record.getMessage() for record in caplog.records)
