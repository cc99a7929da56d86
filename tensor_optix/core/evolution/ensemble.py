"""The members of an ensemble: their weights, their scores, and what they do together."""

# pyright: reportUnnecessaryIsInstance=false
# (What users hand in is checked for those who run no type checker.)

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.evolution.action_mixing import act_together
from tensor_optix.core.evolution.member_forms import MemberForms
from tensor_optix.core.types import Action, EvalMetrics, Observation
from tensor_optix.errors import ContractError, EvolutionError, InvalidArgumentError
from tensor_optix.support.arguments import check_amount, check_count, check_seed, is_real, is_whole
from tensor_optix.support.arrays import generator_state, restore_generator
from tensor_optix.support.plain import SavedState
from tensor_optix.support.trees import is_tree, rows, stacked

_FLOOR = 0.1
"""Weight of the worst of several scores that are not all positive, as a share of the largest of their sizes."""
_LEAST_SHARE = 1e-6
"""Of the heaviest: what is left of a member whose score is next to nothing beside the best one's."""


@dataclass
class _Member:
    name: str
    """Of the order of joining, so that a snapshot finds its members again."""
    agent: BaseAgent
    weight: float
    scores: deque[float]

    @property
    def mean_score(self) -> float:
        """Mean of the recent scores; NaN before there is one."""
        return float(np.mean(self.scores)) if self.scores else math.nan


class Ensemble:
    """Agents that act together, each with a weight and its recent scores.

    Args:
        score_window: how many of a member's newest scores count.
        seed: where drawn actions come from; None takes one from the system.

    Raises:
        InvalidArgumentError: a window below 1, or a negative seed.
    """

    def __init__(self, score_window: int = 10, *, seed: int | None = None) -> None:
        check_count("score_window", score_window, 1)
        check_seed(seed)
        self._score_window = int(score_window)
        self._rng = np.random.default_rng(seed)
        self._members: list[_Member] = []
        self._sign = 1.0
        """-1 where the evaluator prefers lower scores."""
        self._n_joined = 0
        self.forms = MemberForms(lambda: self.agents)
        """In which the members see and act."""

    def add_agent(self, agent: BaseAgent, weight: float = 1.0) -> None:
        """Add a member.

        Raises:
            ContractError: it is no agent, or is a member already.
            InvalidArgumentError: a weight that is negative or no finite number.
        """
        if not isinstance(agent, BaseAgent):
            raise ContractError(f"A member must be a BaseAgent, but got {type(agent).__name__}.")
        if any(member.agent is agent for member in self._members):
            raise ContractError(f"This {type(agent).__name__} is a member already; build another one.")
        check_amount("weight", weight)
        self._members.append(_Member(str(self._n_joined), agent, float(weight), deque(maxlen=self._score_window)))
        self._n_joined += 1

    @property
    def agents(self) -> tuple[BaseAgent, ...]:
        """The members, in the order of joining."""
        return tuple(member.agent for member in self._members)

    @property
    def weights(self) -> tuple[float, ...]:
        """Their weights, in the same order."""
        return tuple(member.weight for member in self._members)

    @property
    def members_by_name(self) -> dict[str, BaseAgent]:
        """The members by their names, which say how many had joined before: no name is given twice."""
        return {member.name: member.agent for member in self._members}

    def set_mixture(self, weights: Mapping[str, float]) -> None:
        """Set the weights by name; members that are not named weigh nothing."""
        for name, weight in weights.items():
            check_amount(f"The weight of member {name!r}", weight)
        for member in self._members:
            member.weight = float(weights.get(member.name, 0.0))

    @property
    def ensemble_size(self) -> int:
        """Number of members."""
        return len(self._members)

    def ensemble_action(self, obs: Observation) -> Action:
        """Return the action that the members agree on for one observation; see `act_together`.

        Raises:
            EvolutionError: there is no member.
            SpaceError: their actions are not of one kind and shape.
        """
        self.check_not_empty()
        if len(self._members) == 1:
            return self._members[0].agent.act(obs)
        action = rows(act_together(self.agents, self.weights, stacked([obs]), self._rng, forms=self.forms))[0]
        return action.item() if np.ndim(action) == 0 and not is_tree(action) else action

    def check_not_empty(self) -> None:
        """Raise `EvolutionError` if there is no member."""
        if not self._members:
            raise EvolutionError("The ensemble has no members. Add some: pm.add_agent(agent).")

    def update_weights(self, scores: Mapping[int, float]) -> None:
        """Share out the weight of some members anew, in proportion to their scores.

            wᵢ = W·uᵢ/Σ uⱼ,   uᵢ = scoreᵢ where all are positive, else (scoreᵢ − min) + max|score|/10

        Where the evaluator of the run prefers lower scores (`record_evaluation`), their negatives count.

        W is what they weighed together (their number, if that was nothing), so that they count for as much as before
        beside the members without a score. The shift keeps small differences small: −85.0 and −85.1 weigh alike, as
        85.1 and 85.0 do. All weights are positive.

        Args:
            scores: score by index of the member.

        Raises:
            InvalidArgumentError: no mapping, an index that no member has, or a score that is no finite number.
        """
        if not isinstance(scores, Mapping):
            raise InvalidArgumentError(f"scores must be a mapping from index to score, but got {scores!r}.")
        for index, score in scores.items():
            self._member(index)
            if not is_real(score):
                raise InvalidArgumentError(f"The score of member {index} must be a finite number, but got {score!r}.")
        if not scores:
            return
        total = sum(self._members[index].weight for index in scores) or float(len(scores))
        utilities = self._sign * np.array([*scores.values()], np.float64)
        for index, share in zip(scores, _shares(utilities), strict=True):
            self._members[index].weight = float(total * share)

    def record_agent_score(self, index: int, score: float) -> None:
        """Note a score of a member; those that are no finite numbers are left out."""
        member = self._member(index)
        if is_real(score):
            member.scores.append(float(score))

    def record_evaluation(self, index: int, metrics: EvalMetrics) -> None:
        """Note an evaluation of a member, and whether lower scores are better by it."""
        self._sign = metrics.sign
        self.record_agent_score(index, metrics.primary_score if metrics.grade is None else metrics.grade)

    def auto_update_weights(self) -> None:
        """Set the weights in proportion to the mean of the recorded scores, where there are any."""
        self.update_weights({i: m.mean_score for i, m in enumerate(self._members) if m.scores})

    def boost(self, agent: BaseAgent, factor: float = 2.0) -> None:
        """Multiply a member's weight.

        Raises:
            ContractError: it is no member.
            InvalidArgumentError: a factor that is negative or no finite number.
        """
        check_amount("factor", factor)
        self._members[self.index_of(agent)].weight *= factor

    def index_of(self, agent: BaseAgent) -> int:
        """Return the index of a member, or raise `ContractError`."""
        for index, member in enumerate(self._members):
            if member.agent is agent:
                return index
        raise ContractError(f"This {type(agent).__name__} is no member of the ensemble. Add it: pm.add_agent(agent).")

    def prune(self, bottom_k: int = 1, *, keep: Sequence[BaseAgent] = ()) -> list[BaseAgent]:
        """Remove the weakest members and return them; one always stays.

        The weakest have the worst mean score; of those without any, the lowest weight, and they go last.

        Args:
            bottom_k: how many.
            keep: members that stay, however weak.

        Raises:
            InvalidArgumentError: `bottom_k` is no whole number of at least 1.
        """
        check_count("bottom_k", bottom_k, 1)
        ranked = sorted(
            self._members, key=lambda m: (not m.scores, self._sign * m.mean_score if m.scores else m.weight)
        )
        removable = [member for member in ranked if all(member.agent is not agent for agent in keep)]
        removed = removable[: max(min(bottom_k, len(ranked) - 1), 0)]
        gone = {id(member) for member in removed}
        self._members = [member for member in self._members if id(member) not in gone]
        return [member.agent for member in removed]

    def discard(self, agent: BaseAgent) -> None:
        """Remove a member that has not held; it does not count as pruned. Somebody who is none is no error."""
        self._members = [member for member in self._members if member.agent is not agent]

    def members_state(self, name_of: Callable[[BaseAgent], str]) -> dict[str, object]:
        """Return the members by name, with weights and scores, and the generator, as plain JSON values."""
        members = [
            {"name": m.name, "agent": name_of(m.agent), "weight": m.weight, "scores": list(m.scores)}
            for m in self._members
        ]
        generator = generator_state(self._rng)
        return {"members": members, "n_joined": self._n_joined, "generator": generator, "sign": self._sign}

    def restore_members(self, state: SavedState, agent_of: Callable[[str], BaseAgent]) -> None:
        """Go on from `members_state`."""
        self._members = [
            _Member(
                str(saved["name"]),
                agent_of(saved["agent"]),
                float(saved["weight"]),
                deque(saved["scores"], maxlen=self._score_window),
            )
            for saved in state["members"]
        ]
        self._n_joined, self._sign = int(state["n_joined"]), float(state.get("sign", 1.0))
        restore_generator(self._rng, state["generator"])

    def _member(self, index: int) -> _Member:
        if not (is_whole(index) and 0 <= index < len(self._members)):
            raise InvalidArgumentError(f"There is no member {index!r}; the ensemble has {len(self._members)}.")
        return self._members[index]


def _shares(scores: np.ndarray) -> np.ndarray:
    """Return the (n,) positive shares of 1 that scores (n,) come to."""
    largest = float(np.abs(scores).max()) or 1.0
    scaled = scores / largest
    shifted = scaled if scores.min() > 0.0 else scaled - scaled.min() + _FLOOR
    positive = np.maximum(shifted, _LEAST_SHARE)
    return positive / positive.sum()
