"""Scoring a policy on held-out windows, one after the other."""

import itertools
from collections.abc import Iterator, Sequence

from tensor_optix.core.base_agent import BaseAgent, GreedyAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline, PlaysSeeds
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.errors import TensorOptixError


class Validation:
    """The validation pipeline of a run, asked for windows as they are needed.

    Args:
        pipeline: where the agent acts and does not learn; None = nothing is held out.
        evaluator: what scores the windows.
    """

    def __init__(self, pipeline: BasePipeline | None, evaluator: BaseEvaluator) -> None:
        self._pipeline = pipeline
        self._evaluator = evaluator
        self._windows: Iterator[EpisodeData] | None = None
        self._agent: BaseAgent | None = None
        """The agent that acts in them."""

    @property
    def is_there(self) -> bool:
        """True where something is held out."""
        return self._pipeline is not None

    @property
    def seeded(self) -> PlaysSeeds | None:
        """The pipeline, if its episodes are fixed by seeds: only then can policies be compared on the same ones."""
        return self._pipeline if isinstance(self._pipeline, PlaysSeeds) else None

    def score(self) -> EvalMetrics:
        """Score the next window; a pipeline that has run out starts over.

        Raises:
            TensorOptixError: it yields nothing.
        """
        assert self._pipeline is not None  # noqa: S101 - for the type checker; the caller has looked
        if self._pipeline.agent is not self._agent:  # an iterator may hold an agent that no longer acts
            self._windows, self._agent = None, self._pipeline.agent
        for _ in range(2):
            if self._windows is None:
                self._windows = iter(self._pipeline.episodes())
            for window in itertools.islice(self._windows, 1):
                return self._evaluator.score(window, {})
            self._windows = None
        raise TensorOptixError(
            f"{type(self._pipeline).__name__}.episodes() yields nothing; validation needs at least one window. "
            f"Give it data, or pass val_pipeline=None."
        )

    def scores_alone(self, agents: Sequence[BaseAgent]) -> list[EvalMetrics]:
        """Score each agent by itself, on the same fresh episodes; nothing where episodes are not fixed by seeds."""
        pipeline = self._pipeline
        if not isinstance(pipeline, PlaysSeeds):
            return []
        acting, seeds = pipeline.agent, pipeline.fresh_seeds()
        try:
            scores = []
            for agent in agents:
                pipeline.agent = GreedyAgent(agent)
                scores.append(self._evaluator.score(pipeline.play(seeds), {}))
            return scores
        finally:
            pipeline.agent = acting

    def close(self) -> None:
        """Close the pipeline; the next score opens a new iterator."""
        self._windows = None
        if self._pipeline is not None:
            self._pipeline.teardown()
