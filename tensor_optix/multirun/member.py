"""A member of a population, wherever it learns: all that it is comes with its item, and goes with its result."""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tensor_optix._policy_file import policy_file_of
from tensor_optix._wiring import prepare, seed_process
from tensor_optix.core.base_agent import BaseAgent, GreedyAgent, ReportsNonFinite, Seedable, can_be_greedy
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.episode_evaluator import EpisodeReturnEvaluator
from tensor_optix.core.hyperparams import effective_params, read_back
from tensor_optix.core.loop.final_evaluation import LEADER_STEPS
from tensor_optix.core.loop.selection import play
from tensor_optix.core.loop.tested import Tested
from tensor_optix.core.types import EvalMetrics, HyperparamSet, Params, PlayedWindow, PolicySnapshot
from tensor_optix.errors import InvalidArgumentError, NonFiniteError
from tensor_optix.executors import Context, Payload
from tensor_optix.factory import set_threads
from tensor_optix.multirun.files import files_in, write_files
from tensor_optix.multirun.final_test import FinalTest
from tensor_optix.multirun.jobs import played
from tensor_optix.pipeline.validation_pipeline import ValidationPipeline
from tensor_optix.runs import RunDescription
from tensor_optix.support.plain import Json, SavedState, jsonable

LEARN, PLAY = "tensor_optix.multirun.member:learn", "tensor_optix.multirun.member:play_windows"


@dataclasses.dataclass
class Member:
    """An agent in its environments.

    Args:
        run: what it is made of.
        number: of the member; it has random numbers of its own.

    Raises:
        InvalidArgumentError: its environment cannot be made anew, so that it has no scores.
    """

    run: RunDescription
    number: int

    def __post_init__(self) -> None:
        set_threads(self.run.framework, self.run.threads)
        self.agent: BaseAgent = self.run.agent(self.number)
        self.pipeline = self.run.pipeline()
        prepare(self.agent, self.pipeline, self.seed("agent"), self.seed("pipeline"))
        self._validation = self._made_validation()  # now: later the environments are in the middle of episodes

    def seed(self, of: str, *more: int) -> int:
        """Return the seed of one of its generators."""
        root = [self.run.seed, self.number, _GENERATORS.index(of), *more]
        return int(np.random.SeedSequence(root).generate_state(1)[0])

    def restore(self, state: Payload) -> None:
        """Go on from what `state` returned, of this member or of another one; the place in its stream is its own."""
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), state.tensors)
            self.load(Path(folder), state.values)

    def state(self) -> Payload:
        """Return the statistics of its pipeline, and all that learning needs as safetensors files."""
        with tempfile.TemporaryDirectory() as folder:
            statistics = self.save(Path(folder))
            return Payload(statistics, files_in(Path(folder)))

    def load(self, folder: Path, statistics: SavedState) -> None:
        """Go on from what `save` wrote and returned."""
        self.pipeline.load_state_dict(statistics)
        self.agent.load_training_state(str(folder / "agent"))

    def save(self, folder: Path) -> Json:
        """Write all that learning needs into a folder, and return the statistics of the pipeline."""
        self.agent.save_training_state(str(folder / "agent"))
        return jsonable(self.pipeline.state_dict())

    def put_in_force(self, params: Params) -> dict[str, object]:
        """Put values in force, and return what the agent works with.

        Raises:
            HyperparamError: it works with something else than it was asked to.
        """
        if params:
            self.agent.set_hyperparams(HyperparamSet({**self.agent.get_hyperparams().params, **params}))
        return read_back(self.agent, params)

    def learn(self, windows: int, context: Context) -> int:
        """Learn from some windows, and return the steps they had.

        Raises:
            NonFiniteError: a loss or a weight is not finite.
        """
        steps = 0
        for number, window in enumerate(self.pipeline.episodes(), start=1):
            told = self.agent.learn(window)
            steps += window.length
            if isinstance(self.agent, ReportsNonFinite) and (name := self.agent.first_non_finite()) is not None:
                raise NonFiniteError(f"{name} is not finite.")
            if any(isinstance(value, float) and not np.isfinite(value) for value in told.values()):
                raise NonFiniteError(f"learn told {told}.")
            context.tell({"windows": number})
            if number == windows or context.is_cancelled:
                break
        return steps

    def _made_validation(self) -> ValidationPipeline:
        """Return a pipeline in which its policy acts greedily."""
        made = self.pipeline.validation_pipeline(self.run.val_episodes, 0)
        if made is None:
            raise InvalidArgumentError(f"{self.run.env} cannot be made anew, so that a population has no scores.")
        made.agent = GreedyAgent(self.agent) if can_be_greedy(self.agent) else self.agent
        made.setup()
        return made

    def played(self, windows: Sequence[Sequence[int]]) -> Tested:
        """Let its policy play greedy episodes, and return what they came to.

        Args:
            windows: seeds of the episodes of each. One is the last where so many steps have been taken as for a long
                test of one run.
        """
        return play(self._validation, EpisodeReturnEvaluator(), windows, max_steps=LEADER_STEPS)

    def save_policy(
        self, folder: Path, evidence: Sequence[PlayedWindow], *, is_final: bool, **more: float
    ) -> PolicySnapshot:
        """Save its policy as the best of the run in a folder.

        Args:
            folder: of the run.
            evidence: episodes that it has played.
            is_final: True where they were played for a last test, not for a choice.
            **more: metrics of the snapshot.
        """
        returns = [one for window in evidence for one in window.returns]
        score, episodes = float(np.mean(returns)), float(len(returns))
        found = {"mean_return": score, "episodes": episodes, "val_score": score, "val_episodes": episodes, **more}
        found |= {"score_std_err": standard_error(returns), **({"final_episodes": episodes} if is_final else {})}
        registry = CheckpointRegistry(folder)
        registry.attach("pipeline", self.pipeline)
        registry.describe = lambda agent: policy_file_of(agent, self.pipeline)
        try:
            hyperparams = self.agent.get_hyperparams()
            return registry.save(self.agent, EvalMetrics(score, found), 0, hyperparams, tuple(evidence))
        finally:
            registry.close()

    def close(self) -> None:
        """Close its environments."""
        self._validation.teardown()
        self.pipeline.teardown()


_GENERATORS = ("agent", "pipeline", "process", "copied")


def _member(item: Payload) -> Member:
    values = item.values
    member = Member(RunDescription(**values["run"]), values["member"])
    seed_process(member.seed("process", values["generation"]))
    if values["state"] is not None:
        member.restore(Payload(values["state"], item.tensors))
    return member


def learn(item: Payload, context: Context) -> Payload:
    """Let a member learn for a generation, and score it.

    Args:
        item: values `run`, `member`, `generation`, `windows`; `state` and the tensors of a member that goes on,
            `stream` its place in the stream; `is_copied` where the state is another member's; `params` to be put in
            force, after the weights; `seeds` of the episodes that score it.
        context: told after each window.

    Returns:
        `score`, None where it has diverged; `returns`, `steps`, `params` in force, `effective` for those that were
        asked for; `state` and tensors, and `stream`, to go on from.
    """
    values, member = item.values, _member(item)
    try:
        if values["is_copied"] and isinstance(member.agent, Seedable):
            member.agent.seed(member.seed("copied", values["generation"]))  # two of a kind would explore alike
        if values["stream"] is not None:
            member.pipeline.restore_stream(values["stream"])
        found: dict[str, object] = {"effective": member.put_in_force(values["params"])}
        found["params"] = jsonable(dict(effective_params(member.agent)))
        try:
            found["steps"] = member.learn(values["windows"], context)
        except NonFiniteError as error:
            return Payload({**found, "score": None, "diverged": str(error), "returns": [], "steps": 0, "state": None})
        found["returns"] = list(member.played([values["seeds"]]).evidence[0].returns)
        state = member.state()
        found |= {"score": float(np.mean(found["returns"])), "state": state.values}
        found["stream"] = jsonable(member.pipeline.stream_state())
        return Payload(found, state.tensors)
    finally:
        member.close()


def play_windows(item: Payload, context: Context) -> Payload:
    """Let a member play greedy episodes; see `multirun.jobs.play_best`."""
    member = _member(item)
    try:
        return played(member.played(item.values["windows"]))
    finally:
        member.close()


def save_policy(folder: Path, run: RunDescription, number: int, state: Payload, test: FinalTest) -> PolicySnapshot:
    """Save the policy of a member as the best of the run in a folder, with what has confirmed it.

    Args:
        folder: of the run.
        run: what the member is made of.
        number: of the member.
        state: values `state`, and tensors, as `learn` returned them.
        test: what it has shown.
    """
    member = Member(run, number)
    member.restore(Payload(state.values["state"], state.tensors))
    try:
        return member.save_policy(folder, test.evidence, is_final=True)
    finally:
        member.close()
