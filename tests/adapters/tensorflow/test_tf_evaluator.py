"""The default evaluator under its TensorFlow name: the same score, and no framework."""

import subprocess
import sys

from tensor_optix.adapters.tensorflow.tf_evaluator import TFEvaluator
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tests.helpers import window_of


def test_it_scores_as_the_default_evaluator_does() -> None:
    window = window_of(3.0, 4)
    ours, default = TFEvaluator().score(window, {}), EpisodeReturnEvaluator().score(window, {})
    assert (ours.primary_score, ours.episode_id, ours.metrics.keys()) == (3.0, 4, default.metrics.keys())


def test_scoring_imports_no_framework() -> None:
    code = (
        "import sys, tensor_optix.adapters.tensorflow.tf_evaluator; "
        "sys.exit('torch' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 - our own code
