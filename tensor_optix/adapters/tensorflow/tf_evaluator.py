"""The default evaluator under its TensorFlow name."""

from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator


class TFEvaluator(EpisodeReturnEvaluator):
    """`EpisodeReturnEvaluator`; scoring needs no framework, so this imports none."""
