"""Trials of Ray Tune: what a trial learns, reports and saves, whatever searches or schedules it.

    values of the trial  ->  agent and environments
    a checkpoint, its own or that of the trial that PBT copies  ->  weights, moments, statistics
    then the values are put in force, and read back: what the checkpoint has brought along cannot survive
    again and again: windows to learn from, held-out episodes, a report

The random numbers of a trial come from its number and the run's seed, and nothing depends on where it runs.
"""

import dataclasses
import logging
import re
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from tensor_optix._hyperparam_names import refuse_unknown
from tensor_optix._wiring import seed_process
from tensor_optix.cli.config import SETTINGS, checked_settings
from tensor_optix.cli.describing import described
from tensor_optix.core.base_agent import Seedable
from tensor_optix.core.decisions.trend import standard_error
from tensor_optix.core.types import Params
from tensor_optix.errors import HyperparamError, MissingDependencyError, NonFiniteError
from tensor_optix.multirun.member import Member
from tensor_optix.ray.checkpoints import TrialState, load_checkpoint, read_checkpoint, write_checkpoint
from tensor_optix.runs import RunDescription
from tensor_optix.support.arguments import check_count
from tensor_optix.support.commands import file_name_of
from tensor_optix.support.optional import require
from tensor_optix.support.plain import jsonable

logger = logging.getLogger(__name__)

OF_A_TRIAL = ("seed", "net_arch", "cell", "n_envs", "window_size", "normalize_observations", "normalize_rewards")
"""Settings that Tune may choose, beside the hyper-parameters."""
_EVALUATIONS = 4
"""Of one run, between two reports."""
_VALIDATION = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What all trials have in common."""

    run: RunDescription
    windows: int
    """That a trial learns from between two reports."""
    checkpoint_every: int
    """Reports between two checkpoints; 0 = there are none."""


def trainable(
    env: str, *, windows: int | None = None, checkpoint_every: int = 1, **settings: object
) -> Callable[[Params], None]:
    """Return a function that Ray Tune calls for each trial.

        search = tune.Tuner(
            trainable("CartPole-v1", max_steps=100_000),
            param_space={"learning_rate": tune.loguniform(1e-4, 1e-2)},
            tune_config=tune.TuneConfig(metric="score", mode="max", num_samples=8),
        )
        policy = load_policy(search.fit().get_best_result().checkpoint.path)

    A trial trains an agent without tuning of its own: Tune decides. `param_space` may have any hyper-parameter of the
    algorithm, `net_arch`, `n_envs`, `window_size`, `cell`, `seed`, and whether observations and rewards are normalised.

    It reports `score`, the mean return of greedy episodes that all trials play alike, minus infinity once a loss or a
    weight is not finite, with which it ends; `score_std_err`; `steps` and `windows` that the policy has learned from;
    and `effective`, the values that the agent works with, as it tells them itself.

    Args:
        env: a Gymnasium id, or the place of an environment that workers can import, `"my_envs:MyEnv"`.
        windows: that a trial learns from between two reports; None = four evaluations of a run.
        checkpoint_every: reports between two checkpoints; 0 = none. PBT needs them, and the best policy is in one.
        **settings: of the run, as `train --config` takes them: `algorithm`, `framework`, `max_steps`, `val_episodes`,
            `hyperparams={...}`. `max_steps`, `max_episodes` (windows) and `target_score` end a trial; `seed` is 0
            where none is given.

    Raises:
        InvalidArgumentError: a setting that there is not, or out of its bounds.
        HyperparamError: a hyper-parameter that the algorithm does not have, or one that follows a schedule.
        MissingDependencyError: Ray Tune is not installed; the message has the install line.
    """
    _tune()
    check_count("checkpoint_every", checkpoint_every, 0)
    if windows is not None:
        check_count("windows", windows, 1)
    run, *_ = described(checked_settings({"seed": 0, **settings, "env": env}, "trainable"), {}, {}, measures=False)
    _refuse_schedules(run.hyperparams)
    usual = _EVALUATIONS * run.base_interval
    plan = Plan(run=run, windows=int(windows or usual), checkpoint_every=int(checkpoint_every))

    def trial(config: Params) -> None:
        Trial(plan, config, _tune()).train()

    trial.__name__ = f"{file_name_of(run.env)}-{run.algorithm}"
    return trial


class Trial:
    """One of many, from its values or its checkpoint to its end.

    Args:
        plan: what all trials have in common.
        config: its values.
        tune: the module `ray.tune`.
    """

    def __init__(self, plan: Plan, config: Params, tune: ModuleType) -> None:
        self._plan, self._tune = plan, tune
        self.run, params = configured(plan.run, config)
        name = tune.get_context().get_trial_id() or ""
        checkpoint = tune.get_checkpoint()
        if checkpoint is None:
            self.state = TrialState(trial=name, number=0 if "seed" in config else number_of(name))
            self.member = Member(self.run, self.state.number)
        else:
            with checkpoint.as_directory() as folder:
                self._go_on_from(Path(folder), name)
        self._effective = self.member.put_in_force(params)

    def _go_on_from(self, folder: Path, name: str) -> None:
        """Go on from a checkpoint; where it is another trial's, with random numbers and episodes of its own."""
        state = read_checkpoint(folder)
        is_copied = state.trial != name
        if is_copied:
            fresh = np.random.SeedSequence([number_of(name), state.reports]).generate_state(1)
            state = dataclasses.replace(state, trial=name, number=int(fresh[0]), stream=None)
        self.state, self.member = state, Member(self.run, state.number)
        load_checkpoint(folder, self.member, state)
        if is_copied and isinstance(self.member.agent, Seedable):
            self.member.agent.seed(self.member.seed("copied", state.reports))
        if state.stream is not None:
            self.member.pipeline.restore_stream(state.stream)

    def train(self) -> None:
        """Learn and report until a bound or the target is reached, or a loss or a weight is not finite."""
        try:
            while not self._has_ended and self._learns_and_reports():
                continue
        finally:
            self.member.close()

    def _learns_and_reports(self) -> bool:
        """Learn until the next report, and return whether the trial may go on."""
        state, windows = self.state, self._plan.windows
        seed_process(self.member.seed("process", state.reports))
        try:
            steps = self.member.learn(windows, _Alone())
        except NonFiniteError as error:
            logger.warning("The trial has diverged, and ends: %s", error)
            self._tune.report(self._told(-np.inf, 0.0))
            return False
        self.state = dataclasses.replace(
            state, reports=state.reports + 1, steps=state.steps + steps, windows=state.windows + windows
        )
        # The same episodes in all trials, whatever their seed.
        seeds = np.random.default_rng([self._plan.run.seed, _VALIDATION, state.reports])
        evidence = self.member.played([seeds.integers(2**31, size=self.run.val_episodes).tolist()]).evidence
        returns = evidence[0].returns
        score = float(np.mean(returns))
        has_reached = self.run.target_score is not None and score >= self.run.target_score
        told = self._told(score, standard_error(returns))
        if self._saves(is_last=has_reached or self._has_ended):
            with tempfile.TemporaryDirectory() as folder:
                write_checkpoint(Path(folder), self.member, self.state, evidence)
                self._tune.report(told, checkpoint=self._tune.Checkpoint.from_directory(folder))
        else:
            self._tune.report(told)
        return not has_reached

    @property
    def _has_ended(self) -> bool:
        run, state = self.run, self.state
        is_over = run.max_episodes is not None and state.windows >= run.max_episodes
        return is_over or (run.max_steps is not None and state.steps >= run.max_steps)

    def _saves(self, *, is_last: bool) -> bool:
        every = self._plan.checkpoint_every
        return every > 0 and (is_last or self.state.reports % every == 0)

    def _told(self, score: float, std_err: float) -> dict[str, object]:
        state = self.state
        about = {"steps": state.steps, "windows": state.windows, "effective": self._effective}
        return {"score": score, "score_std_err": std_err, **about}


class _Alone:
    """A job that nobody watches: Tune ends the process of a trial that it wants to end."""

    index, attempt, is_cancelled, is_waited_for = 0, 1, False, False

    def tell(self, values: object) -> None:
        """Tell nobody."""


def configured(run: RunDescription, config: Params) -> tuple[RunDescription, Params]:
    """Return the run of a trial, and the hyper-parameters that are its own.

    Args:
        run: what all trials have in common.
        config: the values of this one.

    Raises:
        HyperparamError: a name that is neither a hyper-parameter's nor a setting's, or a schedule.
        InvalidArgumentError: a setting out of its bounds.
    """
    plain = jsonable(config)
    params = {name: value for name, value in plain.items() if name not in OF_A_TRIAL}
    refuse_unknown(params, run.algorithm, "param_space")
    _refuse_schedules(params)
    chosen = {name: SETTINGS[name].checked(plain[name], "param_space") for name in OF_A_TRIAL if name in plain}
    return dataclasses.replace(run, **chosen, hyperparams={**run.hyperparams, **params}), params


def number_of(trial: str) -> int:
    """Return the number of a trial, which its id `"a1b2c_00003"` ends with."""
    found = re.search("_([0-9]+)$", trial)
    return int(found[1]) if found else zlib.crc32(trial.encode())


def _refuse_schedules(params: Params) -> None:
    for name, value in params.items():
        if isinstance(value, str):
            raise HyperparamError(
                f"{name}={value!r} follows a schedule, but in a trial each value is Tune's. Give a number, and let a "
                f"scheduler of Tune change it."
            )


def _tune() -> ModuleType:
    try:
        return require("ray.tune", "trainable", "ray")
    except MissingDependencyError:
        raise
    except ImportError as error:  # Ray is there, and what its Tune is made of is not
        raise MissingDependencyError(
            f"trainable needs Ray Tune, of which something is not installed: {error}. Install it with: "
            f"pip install 'tensor-optix-core[ray]'"
        ) from error
