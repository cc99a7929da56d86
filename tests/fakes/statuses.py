"""Where a run stands, for those who show it."""

from tensor_optix.core.loop.parts import LoopStatus
from tensor_optix.core.types import LoopState

STATUS = LoopStatus(
    state=LoopState.COOLING,
    window_id=11,
    env_steps=12_000,
    seconds=4.0,
    metrics=None,
    best=None,
    probed_param=None,
    probed_value=None,
    windows_to_evaluation=3,
    no_improvement=5,
    dormant_threshold=20,
)
