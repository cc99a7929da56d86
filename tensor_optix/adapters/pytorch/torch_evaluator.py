"""The default evaluator under its PyTorch name."""

from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator


class TorchEvaluator(EpisodeReturnEvaluator):
    """`EpisodeReturnEvaluator`; scoring needs no framework, so this imports none."""
