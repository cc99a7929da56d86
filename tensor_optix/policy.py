"""A trained policy as one object: `load_policy(RUN_DIR).predict(observation)`.

Whatever the policy needs comes along: the networks, their weights, the statistics that observations are normalised
with, the range of the actions, and action masks. The environment is not needed.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from gymnasium import spaces

from tensor_optix._policy_file import PolicyFile, check_algorithm, read_policy_file
from tensor_optix.core.base_agent import BaseAgent, SavesNormalization, Seedable
from tensor_optix.core.decisions.ranking import ranked
from tensor_optix.core.normalizers import ObsNormalizer
from tensor_optix.core.storage.atomic import storage_errors
from tensor_optix.core.storage.locating import AGENT, check_run, is_snapshot, nothing_intact
from tensor_optix.core.storage.policy_state import POLICY_FILE, restored_policy_state
from tensor_optix.core.storage.snapshot_folders import LoneSnapshot, SnapshotFolders
from tensor_optix.core.types import Action, Observation, PolicySnapshot
from tensor_optix.errors import (
    BadDataError,
    CheckpointCorruptError,
    ContractError,
    InvalidArgumentError,
    MissingDependencyError,
)
from tensor_optix.factory import build_agent, resolve_device, resolve_framework
from tensor_optix.pipeline._items import MALFORMED, shown
from tensor_optix.pipeline.environment.acting import EpisodeActing
from tensor_optix.pipeline.environment.wiring import Wiring
from tensor_optix.support.arguments import check_seed
from tensor_optix.support.plain import SavedState
from tensor_optix.support.trees import n_rows

logger = logging.getLogger(__name__)


class Policy:
    """A trained policy that takes observations as the environment gives them, and returns actions as it takes them.

    Args:
        agent: who acts, with its weights loaded.
        observation_space: of the environment; None where it is not known: observations go to the agent as they are.
        action_space: of the environment; None where it is not known: actions come as the agent gives them.
        normalizer: what observations are normalised with; None where they are not.
        snapshot: what was loaded, with its score and hyper-parameters.
    """

    def __init__(
        self,
        agent: BaseAgent,
        observation_space: spaces.Space[object] | None = None,
        action_space: spaces.Space[object] | None = None,
        *,
        normalizer: ObsNormalizer | None = None,
        snapshot: PolicySnapshot | None = None,
    ) -> None:
        self.agent = agent
        self.observation_space, self.action_space = observation_space, action_space
        self.normalizer = normalizer
        self.snapshot = snapshot
        self._wiring = Wiring(observation_space, action_space)
        self._wiring.connect(agent)
        self._acting, self._n_episodes = EpisodeActing(wiring=self._wiring), 1

    def predict(self, observation: Observation, deterministic: bool = True, *, action_mask: object = None) -> Action:
        """Return the action for an observation, or one per row for a batch of them.

        Args:
            observation: one of the environment's, or several of them stacked, as a vector environment gives them.
            deterministic: act greedily, where the agent can; False draws an action as in training.
            action_mask: `info["action_mask"]` of the observation, or one row per observation of a batch.

        Raises:
            BadDataError: it is not of the environment's space, or the action is not finite.
        """
        mask = None if action_mask is None else np.asarray(action_mask, bool)
        try:
            seen, n = self._seen(observation)
        except MALFORMED as error:
            raise BadDataError(
                f"An observation must be one of {self.observation_space}, or several of them stacked, but got "
                f"{shown(observation)}: {type(error).__name__}: {error}"
            ) from error
        self._act_in(1 if n is None else n)
        if n is None:
            action = self._acting.one(self.agent, seen, mask, deterministic=deterministic)
            return _plain(self._wiring.to_env(action))
        actions = self._wiring.listed_actions(self._acting.rows(self.agent, seen, mask, deterministic=deterministic))
        return self._wiring.stacked_actions([self._wiring.to_env(action) for action in actions])

    def begin_episode(self) -> None:
        """Say that the next observation is the first of an episode, to an agent with a memory; others need it not.

        In a batch all episodes begin.
        """
        self._acting.begin()

    def _act_in(self, n_episodes: int) -> None:
        if self._n_episodes != n_episodes:
            self._acting, self._n_episodes = EpisodeActing(n_episodes, wiring=self._wiring), n_episodes

    def _seen(self, observation: Observation) -> tuple[Observation, int | None]:
        """Return what the agent sees, and how many rows that is; None for a single observation."""
        space, form = self.observation_space, self._wiring.form
        if isinstance(space, spaces.Box):
            observation = np.asarray(observation)
            if observation.shape[max(observation.ndim - len(space.shape), 0) :] != space.shape:
                raise BadDataError(f"its shape is {observation.shape}")
        n = n_rows(observation) if _is_batch(space, observation) else None
        seen = form.one(observation) if n is None else form.batch(observation, n)
        if isinstance(space, spaces.Box) and not np.isfinite(seen).all():
            raise BadDataError("it is not finite")
        return seen if self.normalizer is None else self.normalizer.normalize(seen), n


def load_policy(
    path: str | os.PathLike[str],
    agent: BaseAgent | Callable[[], BaseAgent] | None = None,
    *,
    framework: str | None = None,
    device: str = "auto",
    seed: int | None = None,
) -> Policy:
    """Load a trained policy, ready to act.

        policy = load_policy("runs/pendulum")
        action = policy.predict(observation)

    Args:
        path: the folder of a run, whose best snapshot is loaded, or that of one snapshot, wherever it was moved to.
        agent: who acts, or a function that makes it. An agent of your own is needed here, and one whose networks you
            built yourself; one of `make_agent` is built again from what was saved.
        framework: `"tf"` or `"torch"`; None = the one that it was trained with, or the other where only that is
            installed, which dense networks move to.
        device: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where the framework finds a GPU, whatever it was trained on. An
            agent of your own stays where it is.
        seed: of the actions that are drawn, with `predict(..., deterministic=False)`.

    Raises:
        CheckpointPathError: the path leads elsewhere; the message says which one was meant.
        CheckpointCorruptError: the snapshot is damaged, or no intact one is left.
        CheckpointMismatchError: it was saved by another agent than the one given, or by one of another algorithm.
        InvalidArgumentError: the agent is needed, and not given.
        MissingDependencyError: no framework is installed.
        DeviceError: the framework finds no GPU.
    """
    folder, build = Path(path), partial(_built, framework=framework, device=device)
    check_seed(seed)
    if is_snapshot(folder):
        lone = LoneSnapshot(folder)
        return _loaded(lone, lone.snapshot(lone.sequence), agent, build, seed)
    check_run(folder)
    folders = SnapshotFolders(folder, ranked)
    scored = ranked(folders.all())
    for snapshot in scored:
        try:
            return _loaded(folders, snapshot, agent, build, seed)
        except CheckpointCorruptError as error:
            logger.warning("Snapshot %s cannot be loaded, trying the next best: %s", snapshot.snapshot_id, error)
    raise nothing_intact(folder, has_scored=bool(scored))


def _loaded(
    folders: SnapshotFolders,
    snapshot: PolicySnapshot,
    agent: BaseAgent | Callable[[], BaseAgent] | None,
    build: Callable[[Path, PolicyFile | None, PolicySnapshot], BaseAgent],
    seed: int | None,
) -> Policy:
    folders.verify(snapshot.sequence)
    folder = folders.folder(snapshot.sequence)
    described = read_policy_file(folder / POLICY_FILE) if (folder / POLICY_FILE).exists() else None
    acting = build(folder, described, snapshot) if agent is None else _given(agent)
    if described is not None:
        check_algorithm(str(folder), described, acting)
    if seed is not None and isinstance(acting, Seedable):
        acting.seed(seed)
    statistics = _Statistics()
    with storage_errors("read", folder), restored_policy_state(folder, {"pipeline": statistics}):
        if isinstance(acting, SavesNormalization):
            acting.set_observation_normalizer(statistics.normalizer)
        acting.load_weights(str(folder / AGENT))
    observation_space, action_space = (None, None) if described is None else described.spaces()
    return Policy(
        acting,
        observation_space,
        action_space,
        normalizer=statistics.normalizer,
        snapshot=snapshot,
    )


def _built(
    folder: Path, file: PolicyFile | None, snapshot: PolicySnapshot, framework: str | None, device: str
) -> BaseAgent:
    """Return the agent that a snapshot describes, with the hyper-parameters of the policy."""
    description = None if file is None else file.description
    if file is None or description is None:
        who = "an agent that it does not describe" if file is None else f"{file.agent_class}, put together by hand"
        raise InvalidArgumentError(
            f"{str(folder)!r} is a policy of {who}. Pass the agent, or a function that makes it: load_policy(path, "
            f"agent=...). Only what make_agent has built is built again."
        )
    observation_space, action_space = file.spaces()
    assert observation_space is not None  # noqa: S101 - an agent that is described has spaces
    hyperparams = {**description.hyperparams, **snapshot.hyperparams.params}
    framework = _installed(description.framework, framework)
    description = replace(description, hyperparams=hyperparams, framework=framework)
    return build_agent(description, observation_space, action_space, device=resolve_device(device, framework))


def _given(agent: BaseAgent | Callable[[], BaseAgent]) -> BaseAgent:
    made = agent if isinstance(agent, BaseAgent) else agent() if callable(agent) else agent
    if not isinstance(made, BaseAgent):
        raise ContractError(f"agent must be a BaseAgent, or a function that makes one, but got {made!r}.")
    return made


def _installed(trained_with: str, wanted: str | None) -> str:
    if wanted is not None:
        return resolve_framework(wanted)
    try:
        return resolve_framework(trained_with)
    except MissingDependencyError:
        return resolve_framework("auto")


class _Statistics:
    """Takes the statistics that a snapshot's observations are normalised with out of its policy state."""

    normalizer: ObsNormalizer | None = None

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: SavedState) -> None:
        saved = state.get("observations")
        self.normalizer = None if saved is None else ObsNormalizer.from_state(saved)


def _is_batch(space: object, observation: Observation) -> bool:
    """Return whether an observation of a space is several of them, by the axes of its first part."""
    if isinstance(space, spaces.Dict) and space.spaces:
        name, member = next(iter(space.spaces.items()))
        return _is_batch(member, observation[name])
    if isinstance(space, spaces.Tuple) and space.spaces:
        return _is_batch(space.spaces[0], observation[0])
    shape = getattr(space, "shape", None)
    return shape is not None and np.ndim(observation) > len(shape)


def _plain(action: Action) -> Action:
    """Return an action as Gymnasium takes it: one choice is an int, and not an array without axes."""
    is_choice = np.ndim(action) == 0 and np.asarray(action).dtype.kind in "iub"
    return int(action) if is_choice else action
