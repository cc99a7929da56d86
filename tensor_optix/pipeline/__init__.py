"""Pipelines turn an environment or a feed into windows of experience."""

from typing import TYPE_CHECKING

from tensor_optix.support.lazy import exported

if TYPE_CHECKING:
    from tensor_optix.pipeline.batch_pipeline import BatchPipeline as BatchPipeline
    from tensor_optix.pipeline.live_pipeline import LivePipeline as LivePipeline
    from tensor_optix.pipeline.sources.environment_source import EnvironmentSource as EnvironmentSource
    from tensor_optix.pipeline.sources.generator_source import GeneratorSource as GeneratorSource
    from tensor_optix.pipeline.sources.replay_source import ReplaySource as ReplaySource
    from tensor_optix.pipeline.sources.websocket_source import WebSocketSource as WebSocketSource
    from tensor_optix.pipeline.validation_pipeline import ValidationPipeline as ValidationPipeline
    from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline as VectorBatchPipeline

_HOMES = {
    "BatchPipeline": "pipeline.batch_pipeline",
    "EnvironmentSource": "pipeline.sources.environment_source",
    "GeneratorSource": "pipeline.sources.generator_source",
    "LivePipeline": "pipeline.live_pipeline",
    "ReplaySource": "pipeline.sources.replay_source",
    "ValidationPipeline": "pipeline.validation_pipeline",
    "VectorBatchPipeline": "pipeline.vector_pipeline",
    "WebSocketSource": "pipeline.sources.websocket_source",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
