from tensor_optix import BatchPipeline, VectorBatchPipeline
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.support.heartbeat import HEARTBEAT
from tests.fakes.vectors import ByStepAgent, CountingEnv, makers


def beats_of(pipeline: BasePipeline) -> int:
    before = HEARTBEAT.beats
    next(iter(pipeline.episodes()))
    return HEARTBEAT.beats - before


def test_whatever_plays_counts_its_steps() -> None:
    assert beats_of(BatchPipeline(lambda: CountingEnv(0), ByStepAgent(), window_size=9)) == 9
    assert beats_of(VectorBatchPipeline(makers(2), ByStepAgent(), window_size=9)) == 9
    assert beats_of(ValidationPipeline(makers(1), ByStepAgent(), seed=0)) == 3
