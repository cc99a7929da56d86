"""One recipe per algorithm, over the `Backend` protocol, and its constructors per framework."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.algorithms._distributions import MultiCategorical as MultiCategorical
    from tensor_optix.algorithms.replay.replay_buffer import ReplayBuffer as ReplayBuffer
    from tensor_optix.algorithms.tf_dqn import TFDQNAgent as TFDQNAgent
    from tensor_optix.algorithms.tf_ppo import TFPPOAgent as TFPPOAgent
    from tensor_optix.algorithms.tf_recurrent_ppo import TFRecurrentPPOAgent as TFRecurrentPPOAgent
    from tensor_optix.algorithms.tf_sac import TFSACAgent as TFSACAgent
    from tensor_optix.algorithms.torch_dqn import TorchDQNAgent as TorchDQNAgent
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent as TorchPPOAgent
    from tensor_optix.algorithms.torch_recurrent_ppo import TorchRecurrentPPOAgent as TorchRecurrentPPOAgent
    from tensor_optix.algorithms.torch_sac import TorchSACAgent as TorchSACAgent

_HOMES = {
    "MultiCategorical": "algorithms._distributions",
    "ReplayBuffer": "algorithms.replay.replay_buffer",
    "TFDQNAgent": "algorithms.tf_dqn",
    "TFPPOAgent": "algorithms.tf_ppo",
    "TFRecurrentPPOAgent": "algorithms.tf_recurrent_ppo",
    "TFSACAgent": "algorithms.tf_sac",
    "TorchDQNAgent": "algorithms.torch_dqn",
    "TorchPPOAgent": "algorithms.torch_ppo",
    "TorchRecurrentPPOAgent": "algorithms.torch_recurrent_ppo",
    "TorchSACAgent": "algorithms.torch_sac",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
