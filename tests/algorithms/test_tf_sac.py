"""What is Keras' own in SAC; `test_sac.py` tests the recipe on both frameworks."""

import keras
import pytest

from tensor_optix import HyperparamSet, TFSACAgent
from tensor_optix.errors import (
    ContractError,
)
from tests.algorithms.off_policy import (
    keras_net,
)


def test_a_keras_optimizer_that_is_taken() -> None:
    adam = keras.optimizers.Adam
    taken = adam()
    taken.build(keras_net(3, 1).trainable_variables)
    nets = [keras_net(3, 4), keras_net(5, 1), keras_net(5, 1)]
    with pytest.raises(ContractError, match="alpha_optimizer is already bound"):
        TFSACAgent(*nets, 2, adam(), adam(), taken, HyperparamSet({}))
