"""The arithmetic of updates, against numbers by hand."""

import pytest

from tensor_optix.algorithms._costs import multiplications
from tensor_optix.algorithms._ppo import PPO_HYPERPARAMS
from tensor_optix.algorithms._sac import SAC_HYPERPARAMS


def test_an_update_of_ppo_passes_each_step_through_two_networks_in_each_epoch() -> None:
    actor, critic = 4 * 8 + 8 * 2, 4 * 8 + 8 * 1
    found = multiplications("ppo", 4, 2, [8], {"n_epochs": 10, "minibatch_size": 50})
    assert found == 10 * (3 * (actor + critic) + 200_000)


def test_an_update_of_sac_passes_a_batch_through_an_actor_and_two_pairs_of_critics() -> None:
    actor, critic = 4 * 8 + 8 * 4, 6 * 8 + 8 * 1
    found = multiplications("sac", 4, 2, [8], {"updates_per_step": 0.5, "batch_size": 256})
    assert found == 128 * (4 * actor + 12 * critic)


def test_by_default_one_of_sac_is_a_hundred_of_ppos() -> None:
    ppo = multiplications("ppo", 4, 1, (64, 64), PPO_HYPERPARAMS.resolve({}))
    sac = multiplications("sac", 4, 1, (256, 256), SAC_HYPERPARAMS.resolve({}))
    assert sac == pytest.approx(2.8e8, rel=0.05)
    assert 100 < sac / ppo < 200


def test_an_update_of_dqn_passes_a_batch_through_one_network_and_its_target() -> None:
    params = {"updates_per_step": 0.5, "batch_size": 64, "double_q": 0}
    assert multiplications("dqn", 4, 3, [8], params) == 32 * 4 * (4 * 8 + 8 * 3)
    assert multiplications("dqn", 4, 3, [8], {**params, "double_q": 1}) == 32 * 5 * (4 * 8 + 8 * 3)
