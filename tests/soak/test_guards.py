"""G13, G14, G15: what is wrong is caught where it enters, counted, and leaves nothing behind."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tensor_optix import BatchPipeline, CheckpointRegistry, RLOptimizer, VectorBatchPipeline, make_agent
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.loop.guard import Health
from tensor_optix.core.loop.learner import learner_slot
from tensor_optix.core.loop.learning import learn_guarded
from tensor_optix.core.loop.tuning import SuggestionError, Tuner
from tensor_optix.core.loop_callback import LoopCallback
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import HyperparamError
from tensor_optix.support.arguments import is_real
from tests.fakes.weights import set_nan, weights_of
from tests.fakes.windows import BAD_SCORES
from tests.helpers import NumpyAgent, ScoreEvaluator, ScriptedPipeline

Goal = Callable[[str, str, str, bool], None]
SLOW = pytest.mark.slow


class Mischief(LoopCallback):
    """Does it in every hook."""

    def __init__(self, act: Callable[..., None]) -> None:
        self._act = act

    def __getattribute__(self, name: str) -> Any:
        return super().__getattribute__("_act") if name.startswith("on_") else super().__getattribute__(name)


def mutate(*arguments: Any) -> None:
    for argument in arguments:
        if isinstance(argument, EvalMetrics):
            argument.metrics["score"] = 1e9
        if isinstance(argument, HyperparamSet):
            argument.params["learning_rate"] = 1e9


def raising(error: type[BaseException]) -> Callable[..., None]:
    def act(*arguments: Any) -> None:
        raise error("mischief")

    return act


@pytest.fixture(params=[False, pytest.param(True, marks=SLOW)], ids=["quick", "full"])
def is_full(request: pytest.FixtureRequest) -> bool:
    return request.param


# --- G13 ---

SHAPE = (3,)
SHARE = 0.15
"""Of steps that are invalid; a third in a row would end the run, so one that is good stands between."""
_NUMBERS = (math.nan, math.inf, -math.inf)
OBSERVATIONS: tuple[Callable[[np.ndarray], Any], ...] = (
    *(lambda o, x=x: np.where(np.arange(3) == 1, np.float32(x), o) for x in _NUMBERS),
    lambda o: o[:2],
    lambda o: o[None],
    lambda o: np.float32(0.0),
    lambda o: o.astype(str),
    lambda o: o.astype(object),
    lambda o: o.astype(complex),
    lambda o: None,
    lambda o: "observation",
    lambda o: [1.0, [2.0], 3.0],
    lambda o: o.astype(np.float64) * 1e300,
)
REWARDS = (*_NUMBERS, 1e39, None, "1.0", np.zeros(2), np.zeros(0), [1.0], {}, 1j, np.array([None]))
FLAGS = (None, 2, -1, math.nan, 0.5, "no", np.array([True, False]), [], 1.0)
RETURNED: tuple[Any, ...] = (None, (), (1, 2, 3, 4), "step", 3.0)


class Generated(gym.Env):
    """Steps by a generator; a share of them is invalid in one of its fields."""

    observation_space = spaces.Box(-math.inf, math.inf, SHAPE, np.float32)
    action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)
    injected = 0
    """By all of them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.is_good = True
        self.actions: list[Any] = []

    def one_of(self, choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def is_hit(self, is_step: bool) -> bool:
        is_invalid = self.is_good and self.rng.random() < SHARE
        Generated.injected += is_invalid
        self.is_good = not is_invalid and (self.is_good or is_step)  # a reset is no step
        return is_invalid

    def observe(self) -> np.ndarray:
        return (1.0 + self.rng.random(SHAPE)).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        observation = self.observe()
        return (self.one_of(OBSERVATIONS)(observation) if self.is_hit(False) else observation), {}

    def step(self, action: Any) -> Any:
        assert np.isfinite(action).all()
        assert self.action_space.contains(action)
        step = [self.observe(), 1.0, bool(self.rng.random() < 0.05), bool(self.rng.random() < 0.02), {}]
        if not self.is_hit(True):
            return tuple(step)
        field = int(self.rng.integers(6))
        if field == 0:
            step[0] = self.one_of(OBSERVATIONS)(step[0])
        elif field == 1:
            step[1] = self.one_of(REWARDS)
        elif field in (2, 3):
            step[field] = self.one_of(FLAGS)
        elif field == 4:
            step[4] = self.one_of(("info", 3.0, [1]))
        else:
            return self.one_of(RETURNED)
        return tuple(step)


class Suspicious(NumpyAgent):
    """Counts what must not reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0
        self.steps = 0

    def look(self, array: Any, shape: tuple[int, ...], dtype: Any) -> None:
        is_right = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype
        self.found += not (is_right and np.isfinite(array).all())

    def act(self, observation: Any) -> Any:
        self.look(observation, SHAPE, np.float32)
        return np.asarray(observation, np.float32).reshape(-1)[:1] - 1.5

    def act_batch(self, observations: Any, *, deterministic: bool = False) -> Any:
        self.look(observations, (len(observations), *SHAPE), np.float32)
        return np.asarray(observations, np.float32)[:, :1] - 1.5

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        length = len(episode_data.rewards)
        for name in ("observations", "next_observations"):
            self.look(getattr(episode_data, name), (length, *SHAPE), np.float32)
        self.look(episode_data.rewards, (length,), np.float32)
        self.look(episode_data.actions, (length, 1), np.float32)
        self.look(episode_data.terminated, (length,), bool)
        self.look(episode_data.truncated, (length,), bool)
        self.found += int((np.asarray(episode_data.rewards) != 1.0).sum())
        self.steps += length
        return super().learn(episode_data)


@pytest.mark.parametrize("kind", ["single", "vector"])
def test_bad_steps_reach_nobody(kind: str, tmp_path: Path, goal: Goal, is_full: bool, fault_seed: int) -> None:
    steps, n_envs = 20_000 if is_full else 2_000, 4
    Generated.injected, agent = 0, Suspicious()
    if kind == "single":
        pipeline: Any = BatchPipeline(Generated(fault_seed), window_size=200)
    else:
        makers = [lambda i=i: Generated(fault_seed + i) for i in range(n_envs)]
        pipeline = VectorBatchPipeline(makers, window_size=200 // n_envs)
    report = RLOptimizer(
        agent,
        pipeline,
        val_pipeline=None,
        checkpoint_dir=tmp_path,
        max_episodes=steps // 200,
        dormant_threshold=steps,
        seed=1,
    ).run()
    control = Suspicious()  # what is invalid does catch its eye
    control.act(np.full(3, math.nan, np.float32))
    measured = f"{kind}: {agent.found} of {agent.steps} steps, {Generated.injected} invalid, counted {report.health}"
    holds = not agent.found and agent.steps == steps and control.found == 1 and Generated.injected > steps // 20
    goal("G13", "0 bad values reach learn or the action", measured, holds)
    assert report.health == {"step": Generated.injected}


# --- G14 ---


class Layers(NumpyAgent):
    """A few arrays, whose state can be copied and restored, and which are searched for invalid values."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays = {f"layer{i}": np.ones((2, 2)) for i in range(6)}
        self.poison: str | None = None

    def snapshot(self) -> object:
        return {name: array.copy() for name, array in self.arrays.items()}

    def restore(self, state: Any) -> None:
        self.arrays = {name: array.copy() for name, array in state.items()}

    def first_non_finite(self) -> str | None:
        return next((name for name, array in self.arrays.items() if not np.isfinite(array).all()), None)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        if self.poison is not None:
            self.arrays[self.poison][1, 1] = math.nan
        return {"loss": 0.5}

    def save_weights(self, path: str) -> None:
        np.savez(path, **self.arrays)

    def load_weights(self, path: str) -> None:
        with np.load(path + ".npz") as saved:
            self.arrays = dict(saved)


def built_in(framework: str, algorithm: str) -> Any:
    env = "Pendulum-v1" if algorithm == "sac" else "CartPole-v1"
    more = None if algorithm == "ppo" else {"learning_starts": 16, "batch_size": 8, "replay_capacity": 100}
    return make_agent(env, algorithm, framework, hyperparams=more, seed=0, net_arch=[4]), env


LATER = ("torch-dqn", "torch-sac", "tf-ppo", "tf-dqn", "tf-sac")
AGENTS = ["numpy", "torch-ppo", *(pytest.param(kind, marks=SLOW) for kind in LATER)]


@pytest.mark.parametrize("kind", AGENTS)
def test_each_tensor_that_is_poisoned_is_caught_and_never_saved(kind: str, tmp_path: Path, goal: Goal) -> None:
    agent: Any = Layers()
    env = "CartPole-v1"
    if kind != "numpy":
        agent, env = built_in(*kind.split("-"))
    stream = BatchPipeline(env, agent, 32, seed=0).episodes()
    first, second = next(stream), next(stream)
    agent.learn(first)
    names = list(agent.arrays if kind == "numpy" else weights_of(agent))
    registry, health = CheckpointRegistry(tmp_path / "run", max_snapshots=1000), Health()
    learn, state = type(agent).learn, agent.snapshot()

    def poisoned(name: str) -> Callable[[EpisodeData], dict[str, Any]]:
        def act(window: EpisodeData) -> dict[str, Any]:
            found = learn(agent, window)
            if kind == "numpy":
                agent.arrays[name][1, 1] = math.nan
            else:
                set_nan(agent, kind.split("-")[0], name)
            return found

        return act

    def is_finite() -> bool:
        return agent.first_non_finite() is None

    caught, saved = 0, 0
    for number, name in enumerate(names):
        agent.learn = poisoned(name)
        caught += learn_guarded(agent, registry, health, second)[1] is not None
        saved += not is_finite()
        registry.save(agent, EvalMetrics(float(number)), number)
        agent.restore(state)
    for snapshot in registry.snapshots():
        registry.load(snapshot, agent)
        saved += not is_finite()
    agent.restore(state)
    agent.learn(second)  # the last one's poison, and no guard
    control = not is_finite()
    registry.close()
    measured = f"{kind}: {caught} of {len(names)} caught, {saved} saved; without the guard it is there: {control}"
    goal(
        "G14", "every tensor caught in its window, none saved", measured, caught == len(names) and not saved and control
    )


# --- G15 ---


def trajectory(path: Path, callbacks: list[LoopCallback], n: int, **validation: Any) -> tuple[str, dict[str, int]]:
    agent = NumpyAgent()
    pipeline = BatchPipeline("CartPole-v1", window_size=40)
    report = RLOptimizer(
        agent, pipeline, checkpoint_dir=path, max_episodes=n, seed=1, callbacks=callbacks, **validation
    ).run()
    found = hashlib.sha256((path / "history.jsonl").read_bytes() + repr((agent.weight, agent.learned)).encode())
    return found.hexdigest(), report.health


HOOKS = [name for name in vars(LoopCallback) if name.startswith("on_")]


class OneHook(LoopCallback):
    """Does its mischief in one of the hooks, and counts how often."""

    def __init__(self, hook: str, act: Callable[..., None]) -> None:
        self.called = 0

        def mischief(*arguments: Any) -> None:
            self.called += 1
            act(*arguments)

        setattr(self, hook, mischief)


@pytest.mark.timeout(900)
def test_callbacks_change_nothing(tmp_path: Path, goal: Goal, is_full: bool) -> None:
    n, validation = (20, {}) if is_full else (6, {"val_pipeline": None})
    without, _ = trajectory(tmp_path / "without", [], n, **validation)
    other, _ = trajectory(tmp_path / "other", [], n - 1, **validation)
    acts = {"Exception": raising(Exception), "SystemExit": raising(SystemExit), "mutation": mutate}
    changed, called, uncounted = 0, 0, 0
    hooks = [*HOOKS, None] if is_full else ["on_episode_end", None]
    for kind, act in acts.items():
        for hook in hooks:
            callback: Any = Mischief(act) if hook is None else OneHook(hook, act)
            found, health = trajectory(tmp_path / f"{kind}-{hook}", [callback], n, **validation)
            changed += found != without
            if hook is not None:
                called += callback.called
                uncounted += health.get("callback", 0) != (callback.called if kind != "mutation" else 0)
    measured = f"{changed} of {len(acts) * len(hooks)} runs differ, {called} calls, {uncounted} counts are wrong"
    goal(
        "G15 callbacks",
        "0 escapes, the trajectory of the run without",
        measured,
        not changed and not uncounted and called > 0 and other != without,
    )


def test_bad_scores_decide_nothing(tmp_path: Path, goal: Goal, is_full: bool) -> None:
    last = 55 if is_full else 8
    places = (0, 1, 50) if is_full else (0, 1)
    wrong = counted = injected = 0
    for number in range(len(BAD_SCORES)):
        for place in places:

            class Bad(ScoreEvaluator):
                def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics:
                    if episode_data.episode_id == place:  # noqa: B023 - it runs within the turn
                        return BAD_SCORES[number]  # noqa: B023
                    return super().score(episode_data, train_diagnostics)

            scores = [1.0] * last + [1e3]
            report = RLOptimizer(
                NumpyAgent(),
                ScriptedPipeline(scores),
                val_pipeline=None,
                evaluator=Bad(),
                checkpoint_dir=tmp_path / f"{number}-{place}",
                max_interval_episodes=1,
                dormant_threshold=last + 2,
            ).run()
            wrong += (report.best_score, report.best_window) != (1e3, last)
            bad = BAD_SCORES[number]
            # A NaN or an infinity is a number, and one that is not usable: no fault, but no score either.
            injected += not (isinstance(bad, EvalMetrics) and type(bad.primary_score) is float)
            counted += report.health.get("evaluator", 0)
    cases = len(BAD_SCORES) * len(places)
    measured = f"{wrong} of {cases} runs decide otherwise, {counted} of {injected} faults counted"
    goal("G15 evaluators", "no bad score decides, a later good one wins", measured, not wrong and counted == injected)


class Suggesting(BaseOptimizer):
    """Suggests by a generator: what is bad and what is good."""

    BAD: tuple[Any, ...] = (math.nan, math.inf, -math.inf, 1e308, -1e308, "fast", None, [], True, {}, 1j, 10**400)
    OTHER = ("missing", "extra", "raise", "nothing")

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.injected = 0

    def suggest(self, hyperparams: HyperparamSet, metrics: EvalMetrics) -> HyperparamSet:
        choices = (*self.BAD, *self.OTHER, "good")
        chosen = choices[int(self.rng.integers(len(choices)))]
        if chosen == "good":
            return HyperparamSet({"learning_rate": float(self.rng.uniform(1e-4, 1e-1))})
        if chosen == "missing":
            return HyperparamSet({})  # what is not named stays as it is
        self.injected += 1
        if chosen == "raise":
            raise RuntimeError("mischief")
        if chosen == "nothing":
            return None  # type: ignore[return-value]
        return HyperparamSet({"learnign_rate": 0.1} if chosen == "extra" else {"learning_rate": chosen})

    def on_improvement(self, metrics: EvalMetrics) -> None:
        pass

    def on_plateau(self, metrics: EvalMetrics) -> None:
        pass


class Bounded(NumpyAgent):
    """Refuses what it cannot learn with, as the contract of an agent says, and counts what else it is given."""

    invalid = 0

    def set_hyperparams(self, hp: HyperparamSet) -> None:
        rate = hp.params["learning_rate"]
        self.invalid += not is_real(rate) or set(hp.params) != {"learning_rate"}
        if not 0.0 < rate <= 1.0:
            raise HyperparamError(f"learning_rate must be in (0, 1], but got {rate!r}.")
        super().set_hyperparams(hp)


def test_bad_suggestions_reach_no_agent(goal: Goal, is_full: bool, fault_seed: int) -> None:
    agent, optimizer, refused, escaped = Bounded(), Suggesting(fault_seed), 0, 0
    tuner, metrics = Tuner(learner_slot(agent), optimizer), EvalMetrics(1.0)
    n = 50_000 if is_full else 5_000
    for window in range(n):
        before = agent.get_hyperparams().params
        try:
            tuner.step(None, metrics, window)
        except SuggestionError:
            refused += 1
            escaped += agent.params != before
        escaped += not 0.0 < agent.params["learning_rate"] <= 0.1
    holds = not agent.invalid and not escaped and refused == optimizer.injected > n // 2
    measured = f"{agent.invalid + escaped} of {n} reached the agent; {refused} refused of {optimizer.injected} bad ones"
    goal("G15 optimizers", "0 bad suggestions reach the agent", measured, holds)


class Raising(NumpyAgent):
    """Raises once in `learn`, half-way through it."""

    def __init__(self, window: int, error: type[BaseException]) -> None:
        super().__init__()
        self.window, self.error, self.left = window, error, 1

    def snapshot(self) -> object:
        return self.weight, list(self.learned)

    def restore(self, state: Any) -> None:
        self.weight, self.learned = state[0], list(state[1])

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        found = super().learn(episode_data)
        if episode_data.episode_id == self.window and self.left:
            self.left -= 1
            self.weight = 1e9
            raise self.error("mischief")
        return found


def test_a_learn_that_raises_leaves_no_trace(tmp_path: Path, goal: Goal, is_full: bool) -> None:
    n = 50 if is_full else 6

    def run(agent: Raising, path: Path) -> tuple[Any, ...]:
        pipeline = ScriptedPipeline([1.0] * n)
        report = RLOptimizer(
            agent,
            pipeline,
            val_pipeline=None,
            evaluator=ScoreEvaluator(),
            checkpoint_dir=path,
            restore_best=False,
            max_interval_episodes=1,
            dormant_threshold=n + 1,
        ).run()
        return report.reason, report.health, agent.weight, agent.learned

    _, _, weight, learned = run(Raising(-1, Exception), tmp_path / "without")
    wrong, counted = 0, 0
    for window in range(n):
        for error in (Exception, MemoryError, KeyboardInterrupt):
            reason, health, *found = run(Raising(window, error), tmp_path / f"{window}-{error.__name__}")
            counted += health.get("learn", 0)
            if error is KeyboardInterrupt:  # the user's, who wants an end
                wrong += reason != "interrupted" or health != {}
            else:
                wrong += found != [weight, learned]
    measured = f"{wrong} of {3 * n} runs are another, {counted} of {2 * n} counted"
    goal("G15 learn", "tried again from what the agent was", measured, not wrong and counted == 2 * n)
