"""Which updaters compile before there is anything to learn from."""

from tensor_optix.adapters._ahead import CompilesAhead
from tensor_optix.adapters.pytorch._updater import TorchUpdater
from tensor_optix.adapters.tensorflow._updater import TFUpdater


def test_the_one_that_cannot_do_without() -> None:
    assert issubclass(TFUpdater, CompilesAhead)
    assert not issubclass(TorchUpdater, CompilesAhead)
